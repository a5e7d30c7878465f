//! Circuit breaker: while the database does not answer, store calls fail immediately instead of waiting for their
//! timeouts.

use std::time::{Duration, Instant};

/// Number of consecutive failures that opens the circuit breaker.
const THRESHOLD: u32 = 5;
/// How long the breaker stays open before it lets one call through as a probe.
const PAUSE: Duration = Duration::from_secs(2);

/// Counts consecutive failures. The caller passes the time, so that tests need no clock.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Returns whether a store call may be made now.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        match self.open_until {
            Some(until) if now < until => false,
            // Half-open: this call is the probe. If it gets no answer, the next probe follows after another pause.
            Some(_) => {
                self.open_until = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }

    /// Records an answer and closes the breaker. Returns whether the breaker was open.
    pub(super) fn answered(&mut self) -> bool {
        let was_open = self.open_until.is_some();
        *self = Self::default();
        was_open
    }

    /// Records a failure. Returns whether the breaker was open before, and whether it is open now.
    pub(super) fn failed(&mut self, now: Instant) -> (bool, bool) {
        let was_open = self.open_until.is_some();
        self.failures = self.failures.saturating_add(1);
        if self.failures >= THRESHOLD {
            self.open_until = Some(now + PAUSE);
        }
        (was_open, self.open_until.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_five_consecutive_failures_and_an_answer_closes_it() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        for _ in 0..THRESHOLD - 1 {
            assert_eq!(breaker.failed(start), (false, false));
        }
        assert!(!breaker.answered() && breaker.admits(start), "not consecutive");
        for n in 1..=THRESHOLD {
            assert!(breaker.admits(start));
            assert_eq!(breaker.failed(start), (false, n == THRESHOLD), "failure {n}");
        }
        assert!(!breaker.admits(start) && !breaker.admits(later(1999)));
        // One probe per pause, whether the probe fails or never returns.
        assert!(breaker.admits(later(2000)));
        assert!(!breaker.admits(later(2001)));
        assert_eq!(breaker.failed(later(3500)), (true, true));
        assert!(!breaker.admits(later(5499)) && breaker.admits(later(5500)) && !breaker.admits(later(5501)));
        assert!(breaker.admits(later(7500)));
        assert!(breaker.answered());
        assert!(breaker.admits(later(7501)) && breaker.admits(later(7502)));
    }
}
