//! The two clocks: the runtime's monotonic clock, which tests can pause, and the system's wall clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns the time of the runtime's clock, which tests can pause.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Returns the wall-clock time in milliseconds since 1970, UTC.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
