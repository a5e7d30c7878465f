//! Values that are parsed from files and replaced when the files change: token keys and certificates.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::time::{self, MissedTickBehavior};
use tracing::{info, warn};

/// How often files are read. Content is compared, since links and copies keep their times.
const POLL: Duration = Duration::from_secs(1);

/// Where a value comes from.
pub(crate) trait Source: Send + Sync + 'static {
    /// What the files hold, or a digest of it.
    type Contents: PartialEq + Send;
    /// What is made of them.
    type Value: Send + Sync;
    /// What it is, for the log.
    const NAME: &'static str;

    /// Reads the files.
    fn read(&self) -> Result<Self::Contents, String>;

    /// Makes the value.
    fn parse(&self, contents: &Self::Contents) -> Result<Self::Value, String>;
}

/// A value that follows its files.
pub(crate) struct Reloaded<S: Source> {
    source: S,
    current: RwLock<Arc<S::Value>>,
    state: Mutex<State<S::Contents>>,
}

struct State<C> {
    /// What the last read found.
    seen: Result<C, String>,
    /// Whether that was parsed, or reported as unusable.
    is_handled: bool,
}

impl<S: Source> Reloaded<S> {
    /// Reads the files for the first time.
    pub(crate) fn load(source: S) -> Result<Self, String> {
        let contents = source.read()?;
        let current = RwLock::new(Arc::new(source.parse(&contents)?));
        Ok(Self { source, current, state: Mutex::new(State { seen: Ok(contents), is_handled: true }) })
    }

    /// The value as it is now.
    pub(crate) fn current(&self) -> Arc<S::Value> {
        self.current.read().clone()
    }

    /// Reads the files again. A change counts once two reads agree, since several files are not replaced at once. If the
    /// new contents are unusable, the current value stays.
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

    /// Follows the files for as long as the server runs.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut tick = time::interval(POLL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let this = self.clone();
            // A panic is in the log, and the next read comes in any case.
            let _ = tokio::task::spawn_blocking(move || this.refresh()).await;
        }
    }
}
