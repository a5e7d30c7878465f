//! When to try again.

use std::time::Duration;

/// Waits between attempts; the last goes on.
const WAITS: [u64; 6] = [0, 300, 1200, 2700, 4800, 7000];
/// Each wait may be longer by up to this part of it, so that clients of one server do not return together.
const JITTER: f64 = 0.25;

/// Counts attempts, and says how long to wait before each.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: usize,
}

impl Backoff {
    /// The wait before the next attempt; `random` is from 0 to 1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let wait = WAITS[self.attempts.min(WAITS.len() - 1)];
        self.attempts += 1;
        Duration::from_millis(wait).mul_f64(1.0 + JITTER * random)
    }
}

/// A random number from 0 to 1.
pub(crate) fn system_random() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_then_stay() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits, [0, 300, 1200, 2700, 4800, 7000, 7000, 7000]);
        assert_eq!(backoff.next(1.0).as_millis(), 8750);
    }
}
