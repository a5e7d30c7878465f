//! A token-bucket rate limiter.

use std::time::{Duration, Instant};

/// A rate limit: `burst` tokens at once, then one per `interval`.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// Allows `count` tokens per second on average.
    pub fn per_second(count: u32, burst: u32) -> Self {
        Self::every(Duration::from_secs(1) / count.max(1), burst)
    }

    /// Allows one token per `interval` on average.
    pub fn every(interval: Duration, burst: u32) -> Self {
        Self { interval, burst: burst.max(1) }
    }

    /// Returns how long an empty bucket takes to refill.
    pub fn window(&self) -> Duration {
        self.interval * self.burst
    }
}

/// A token bucket, implemented as GCRA: it stores one instant instead of a token count and a timestamp.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    /// When the bucket will be full again.
    full_at: Instant,
}

impl TokenBucket {
    /// Creates a full bucket.
    pub fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes a token. `Err` holds the time until one is available.
    pub fn take(&mut self, now: Instant, rate: Rate) -> Result<(), Duration> {
        match self.wait(now, rate) {
            Duration::ZERO => {
                self.full_at = self.full_at.max(now) + rate.interval;
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// Takes a token even if the bucket is empty. Returns the time until the token would have been available.
    pub fn take_on_credit(&mut self, now: Instant, rate: Rate) -> Duration {
        let wait = self.wait(now, rate);
        self.full_at = self.full_at.max(now) + rate.interval;
        wait
    }

    /// Returns a token to the bucket.
    pub fn refund(&mut self, rate: Rate) {
        self.full_at = self.full_at.checked_sub(rate.interval).unwrap_or(self.full_at);
    }

    /// Returns the time until a token is available.
    pub fn wait(&self, now: Instant, rate: Rate) -> Duration {
        let used = self.full_at.saturating_duration_since(now);
        used.saturating_sub(rate.interval * (rate.burst - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_yields_its_burst_then_its_rate() {
        let (start, rate) = (Instant::now(), Rate::per_second(50, 512));
        let mut bucket = TokenBucket::full(start);
        for n in 0..512 {
            assert_eq!(bucket.take(start, rate), Ok(()), "token {n} of the burst");
        }
        let wait = bucket.take(start, rate).expect_err("the burst is used up");
        assert_eq!(wait, Duration::from_millis(20));
        assert_eq!(bucket.take(start + wait, rate), Ok(()));
        assert!(bucket.take(start + wait, rate).is_err());
        // A full bucket never holds more than its burst.
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| bucket.take(later, rate).is_ok()).count(), 512);
    }

    #[test]
    fn a_refund_restores_one_token() {
        let (start, rate) = (Instant::now(), Rate::every(Duration::from_secs(4), 2));
        let mut bucket = TokenBucket::full(start);
        assert_eq!((bucket.take(start, rate), bucket.take(start, rate)), (Ok(()), Ok(())));
        assert_eq!(bucket.take(start, rate), Err(Duration::from_secs(4)));
        bucket.refund(rate);
        assert_eq!(bucket.take(start, rate), Ok(()));
        assert_eq!(bucket.take(start, rate), Err(Duration::from_secs(4)));
    }

    #[test]
    fn tokens_on_credit_are_each_one_interval_later() {
        let (start, rate) = (Instant::now(), Rate::per_second(100, 2));
        let mut bucket = TokenBucket::full(start);
        let waits = [0; 4].map(|_| bucket.take_on_credit(start, rate).as_millis());
        assert_eq!(waits, [0, 0, 10, 20]);
    }
}
