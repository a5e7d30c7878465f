//! Throttles callers that guess. After too many failed attempts a caller must wait, and each further failure doubles
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

/// Maximum number of callers in the table. A further one evicts the least recently seen caller.
const MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How many failed attempts a caller may make.
#[derive(Debug, Clone, Copy)]
pub struct ThrottlePolicy {
    /// Failed attempts that a caller may make within `window`.
    pub failures: u32,
    /// Time window of `failures`, and the longest wait of a throttled caller.
    pub window: Duration,
}

/// The key under which the throttle counts failed attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A caller without a valid token, by IPv4 address or IPv6 /64 network.
    Subscriber(Subscriber),
    /// A caller with a valid token, by its subject.
    Subject(Box<str>),
}

/// Counts failed attempts per caller.
#[derive(Debug)]
pub struct Throttle {
    policy: ThrottlePolicy,
    callers: Mutex<LruCache<Caller, Record>>,
}

/// A leaky bucket, which loses one failure per `window / failures`.
#[derive(Debug)]
struct Record {
    /// When the bucket is empty again.
    empty_at: Instant,
    /// Failures beyond `ThrottlePolicy::failures`. Each doubles the wait.
    excess: u32,
}

impl Throttle {
    /// Creates a throttle without recorded failures.
    pub fn new(policy: ThrottlePolicy) -> Self {
        Self { policy, callers: Mutex::new(LruCache::new(MAX)) }
    }

    /// Checks whether a caller may make an attempt. The error is the time that the caller must wait.
    pub fn check(&self, now: Instant, caller: &Caller) -> Result<(), Duration> {
        self.callers.lock().get(caller).map_or(Ok(()), |record| self.wait(record, now))
    }

    /// Counts a failed attempt of a caller.
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

    /// Returns the time in which the bucket loses one failure.
    fn share(&self) -> Duration {
        self.policy.window / self.policy.failures.max(1)
    }

    fn wait(&self, record: &Record, now: Instant) -> Result<(), Duration> {
        let left = record.empty_at.saturating_duration_since(now);
        let allowed = self.policy.window - self.share();
        if left > allowed { Err(left - allowed) } else { Ok(()) }
    }
}
