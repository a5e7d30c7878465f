//! Limits how often the server logs a warning.

use std::time::Duration;

use tokio::time::Instant;

/// Minimum interval between warnings about the same problem.
const WARN_EVERY: Duration = Duration::from_secs(3);

/// Limits how often the server logs a warning.
#[derive(Default)]
pub(super) struct Rarely(Option<Instant>);

impl Rarely {
    pub(super) fn is_time(&mut self) -> bool {
        let now = Instant::now();
        let is_time = self.0.is_none_or(|last| now - last >= WARN_EVERY);
        if is_time {
            self.0 = Some(now);
        }
        is_time
    }
}
