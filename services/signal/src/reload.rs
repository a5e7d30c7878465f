//! Values that are parsed from files and reloaded when the files change: token keys and certificates.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::time::{self, MissedTickBehavior};
use tracing::{info, warn};

/// Interval between reads. Each read compares file contents, since links and copies may keep modification times.
const POLL: Duration = Duration::from_secs(1);

/// Reads a value from its files.
pub(crate) trait Source: Send + Sync + 'static {
    /// The contents of the files, or a digest of them.
    type Contents: PartialEq + Send;
    /// The value that the contents parse to.
    type Value: Send + Sync;
    /// Name of the value in log lines.
    const NAME: &'static str;

    /// Reads the contents of the files.
    fn read(&self) -> Result<Self::Contents, String>;

    /// Parses the value from the contents.
    fn parse(&self, contents: &Self::Contents) -> Result<Self::Value, String>;
}

/// A value that is reloaded when its files change.
pub(crate) struct Reloaded<S: Source> {
    source: S,
    current: RwLock<Arc<S::Value>>,
    state: Mutex<State<S::Contents>>,
}

struct State<C> {
    /// The result of the last read.
    seen: Result<C, String>,
    /// Whether `seen` was parsed, or reported as unusable.
    is_handled: bool,
}

impl<S: Source> Reloaded<S> {
    /// Reads and parses the files for the first time.
    pub(crate) fn load(source: S) -> Result<Self, String> {
        let contents = source.read()?;
        let current = RwLock::new(Arc::new(source.parse(&contents)?));
        Ok(Self { source, current, state: Mutex::new(State { seen: Ok(contents), is_handled: true }) })
    }

    /// Returns the current value.
    pub(crate) fn current(&self) -> Arc<S::Value> {
        self.current.read().clone()
    }

    /// Reads the files again, and applies a change once two reads agree, since several files cannot be replaced
    /// atomically. If the new contents are unusable, the current value stays.
    pub(crate) fn refresh(&self) {
        let found = self.source.read();
        let mut state = self.state.lock();
        if state.seen != found {
            *state = State { seen: found, is_handled: false };
            return;
        }
        if std::mem::replace(&mut state.is_handled, true) {
            return;
        }
        match state.seen.as_ref().map_err(Clone::clone).and_then(|contents| self.source.parse(contents)) {
            Ok(value) => {
                *self.current.write() = Arc::new(value);
                info!("{} reloaded", S::NAME);
            }
            Err(error) => warn!(error, "reload failed, keeping the current {}", S::NAME),
        }
    }

    /// Watches the files for as long as the server runs.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut tick = time::interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let this = self.clone();
            // The panic is already in the log, and the next read tries again.
            let _ = tokio::task::spawn_blocking(move || this.refresh()).await;
        }
    }
}
