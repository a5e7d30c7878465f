//! Delays between reconnection attempts.

use std::time::Duration;

/// Delays before successive attempts, in milliseconds, as in LiveKit's client. The last delay repeats.
const DELAYS_MS: [u64; 6] = [0, 300, 1200, 2700, 4800, 7000];
/// Maximum fraction by which a delay grows at random, so that the clients of one server do not reconnect together.
const JITTER: f64 = 0.25;

/// Counts reconnection attempts and computes their delays.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: usize,
}

impl Backoff {
    /// Returns the delay before the next attempt. `random` is between 0 and 1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let delay = DELAYS_MS[self.attempts.min(DELAYS_MS.len() - 1)];
        self.attempts += 1;
        Duration::from_millis(delay).mul_f64(1.0 + JITTER * random)
    }
}

/// Returns a random number between 0 and 1.
pub(crate) fn system_random() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_maximum() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..8).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(delays, [0, 300, 1200, 2700, 4800, 7000, 7000, 7000]);
        assert_eq!(backoff.next(1.0).as_millis(), 8750);
    }
}
