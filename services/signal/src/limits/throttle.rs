//! Slows down callers that guess. After too many failed attempts a caller must wait, and each further failure doubles
//! the wait.

#[cfg(test)]
mod tests;

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;
use parking_lot::Mutex;

use crate::net::Subscriber;

/// Most callers that are remembered. Beyond it the one that was seen least recently is forgotten.
const MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How many failed attempts are allowed.
#[derive(Debug, Clone, Copy)]
pub struct ThrottlePolicy {
    /// Failures that are allowed...
    pub failures: u32,
    /// ... in this time, which is also the longest wait.
    pub window: Duration,
}

/// Whose attempts are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A subscriber of an internet provider.
    Subscriber(Subscriber),
    /// The subject of a valid token.
    Subject(Box<str>),
}

/// Counts failed attempts.
#[derive(Debug)]
pub struct Throttle {
    policy: ThrottlePolicy,
    callers: Mutex<LruCache<Caller, Record>>,
}

/// A leaky counter: it loses one failure per `window / failures`.
#[derive(Debug)]
struct Record {
    /// When the counter is empty.
    empty_at: Instant,
    /// Failures beyond the allowed ones.
    excess: u32,
}

impl Throttle {
    /// No failures yet.
    pub fn new(policy: ThrottlePolicy) -> Self {
        Self { policy, callers: Mutex::new(LruCache::new(MAX)) }
    }

    /// Whether a caller may make an attempt. `Err`: how long it must wait.
    pub fn check(&self, now: Instant, caller: &Caller) -> Result<(), Duration> {
        self.callers.lock().get(caller).map_or(Ok(()), |record| self.wait(record, now))
    }

    /// Counts a failed attempt.
    pub fn add_failure(&self, now: Instant, caller: Caller) {
        let mut callers = self.callers.lock();
        let record = callers.get_or_insert_mut(caller, || Record { empty_at: now, excess: 0 });
        if record.empty_at <= now {
            *record = Record { empty_at: now, excess: 0 };
        }
        let factor = 1 << record.excess.min(16);
        let longest = now + 2 * self.policy.window - self.share();
        record.empty_at = (record.empty_at + self.share() * factor).min(longest);
        if self.wait(record, now).is_err() {
            record.excess += 1;
        }
    }

    /// The time in which the counter loses one failure.
    fn share(&self) -> Duration {
        self.policy.window / self.policy.failures.max(1)
    }

    fn wait(&self, record: &Record, now: Instant) -> Result<(), Duration> {
        let left = record.empty_at.saturating_duration_since(now);
        let allowed = self.policy.window - self.share();
        if left > allowed { Err(left - allowed) } else { Ok(()) }
    }
}
