//! The limits that a room enforces, and the token bucket behind the one that is a rate. Time is an argument.

use std::time::{Duration, Instant};

/// Limits of one room's live state; the defaults are those of signal.proto. Sizes are bytes of UTF-8.
#[derive(Debug, Clone)]
pub struct Limits {
    /// One encoded `ClientMessage`.
    pub message_bytes: usize,
    /// One SDP.
    pub sdp_bytes: usize,
    /// One candidate-attribute.
    pub candidate_bytes: usize,
    /// A member's attributes, keys and values together; also a room's labels.
    pub attributes_bytes: usize,
    /// Entries of a member's attributes or a room's labels.
    pub attributes: usize,
    /// Identity, display name, passcode, each.
    pub name_bytes: usize,
    /// Topic of a `Data`.
    pub topic_bytes: usize,
    /// Signals a second per session, averaged.
    pub signals_per_second: u32,
    /// Signals that may come at once.
    pub signal_burst: u32,
    /// Entries that may wait for one session before signals to it are refused.
    pub mailbox_entries: usize,
    /// Bytes that may wait for one session before signals to it are refused.
    pub mailbox_bytes: usize,
    /// How long a connected session may leave entries waiting without taking any.
    pub stall_timeout: Duration,
    /// How long a session may be without a stream.
    pub resume_window: Duration,
    /// The server is never silent for longer on a stream.
    pub heartbeat_interval: Duration,
    /// Numbered client messages in flight; outcomes of at least this many are remembered.
    pub max_unacked: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 128 * 1024,
            sdp_bytes: 64 * 1024,
            candidate_bytes: 4 * 1024,
            attributes_bytes: 4 * 1024,
            attributes: 64,
            name_bytes: 256,
            topic_bytes: 128,
            signals_per_second: 50,
            signal_burst: 512,
            mailbox_entries: 1024,
            mailbox_bytes: 512 * 1024,
            stall_timeout: Duration::from_secs(10),
            resume_window: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(15),
            max_unacked: 256,
        }
    }
}

impl Limits {
    /// Silence after which a session on `Subscribe`, which no HTTP/2 PING watches, counts as lost.
    pub fn silence_timeout(&self) -> Duration {
        2 * self.heartbeat_interval + Duration::from_secs(5)
    }

    /// How long what a stream has taken is kept for a replay: as long as a dead stream may go unnoticed, and then the
    /// resume window.
    pub fn retention(&self) -> Duration {
        self.silence_timeout() + self.resume_window
    }
}

/// A token bucket in the form of GCRA: one instant instead of a count and a time.
#[derive(Debug)]
pub struct Bucket {
    /// When the bucket would be full again.
    full_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one token of a bucket that holds `burst` and refills at `rate` a second; else says when to try again.
    pub fn take(&mut self, now: Instant, rate: u32, burst: u32) -> Result<(), Duration> {
        let interval = Duration::from_secs(1) / rate.max(1);
        let full_at = self.full_at.max(now);
        let used = full_at - now;
        let allowed = interval * (burst.max(1) - 1);
        if used > allowed {
            return Err(used - allowed);
        }
        self.full_at = full_at + interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_gives_its_burst_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        for n in 0..512 {
            assert_eq!(bucket.take(start, 50, 512), Ok(()), "token {n} of the burst");
        }
        let wait = bucket.take(start, 50, 512).expect_err("the burst is used up");
        assert_eq!(wait, Duration::from_millis(20));
        assert_eq!(bucket.take(start + wait, 50, 512), Ok(()));
        assert!(bucket.take(start + wait, 50, 512).is_err());
        // An hour later it holds a burst again, not more.
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| bucket.take(later, 50, 512).is_ok()).count(), 512);
    }
}
