//! The connection of one stream, which closes with it.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinSet, time::sleep};
use tonic::transport::{Channel, Endpoint};

/// How long a dropped connection may take to send pending frames.
const LINGER: Duration = Duration::from_millis(250);

/// A channel and the tasks behind it.
///
/// Dropping a channel does not close its connection while a request body waits for flow control: hyper keeps it open even
/// after the response is dropped. If window updates are lost, the member would stay connected until keep-alive times out.
/// So dropping this aborts the tasks.
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    tasks: Option<Tasks>,
}

impl Connection {
    pub(crate) fn open(endpoint: &Endpoint) -> Self {
        let tasks = Tasks::default();
        Self { channel: endpoint.clone().executor(tasks.clone()).connect_lazy(), tasks: Some(tasks) }
    }

    /// Wraps a channel of the application, which keeps control of its connection.
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

/// Runs the tasks of one connection. `None` once they are aborted.
#[derive(Clone)]
struct Tasks(Arc<Mutex<Option<JoinSet<()>>>>);

impl Default for Tasks {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }
}

impl Tasks {
    fn abort(&self) {
        // Dropped without the lock, since tasks hold this too.
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
