//! The connection of one stream, which closes when the stream is dropped.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinSet, time::sleep};
use tonic::transport::{Channel, Endpoint};

/// How long a dropped connection may take to send pending frames.
const LINGER: Duration = Duration::from_millis(250);

/// A channel and the tasks that drive its connection. Dropping this aborts the tasks.
///
/// Dropping the channel alone does not close the connection: hyper keeps it open while a request body waits for flow
/// control. If window updates are lost, the member would stay connected until keep-alive times out.
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    tasks: Option<Tasks>,
}

impl Connection {
    pub(crate) fn open(endpoint: &Endpoint) -> Self {
        let tasks = Tasks::default();
        Self { channel: endpoint.clone().executor(tasks.clone()).connect_lazy(), tasks: Some(tasks) }
    }

    /// Wraps a channel of the application. The application controls when its connection closes.
    pub(crate) fn foreign(channel: Channel) -> Self {
        Self { channel, tasks: None }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(tasks) = self.tasks.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                sleep(LINGER).await;
                tasks.abort();
            })),
            Err(_) => tasks.abort(),
        }
    }
}

/// The tasks of one connection; `None` after they are aborted.
#[derive(Clone)]
struct Tasks(Arc<Mutex<Option<JoinSet<()>>>>);

impl Default for Tasks {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }
}

impl Tasks {
    fn abort(&self) {
        // Drop the tasks outside the lock, because they hold clones of this executor and may lock it.
        let tasks = self.0.lock().take();
        drop(tasks);
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.lock().as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }
}
