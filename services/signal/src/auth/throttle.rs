//! Slows down whoever guesses: after too many failed attempts, more are refused unseen for a time that doubles with each
//! further failure.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most callers that are remembered; beyond it the one that has least to answer for is forgotten.
const MAX: usize = 10_000;

/// How much failing is let pass.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Failures that are let pass...
    pub failures: u32,
    /// ... in this time; also the longest that a caller has to wait.
    pub window: Duration,
}

/// Who fails.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// An address: all of IPv4, of IPv6 the 64 bits that a network has.
    Address(u64),
    /// The subject of a valid token.
    Subject(Box<str>),
}

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::Address(u32::from(v4).into()),
            // No network of IPv6 is that of an IPv4 address: its first bits are not all zero.
            IpAddr::V6(v6) => Self::Address((u128::from(v6) >> 64) as u64),
        }
    }
}

/// Counts failures.
#[derive(Debug)]
pub(super) struct Throttle {
    patience: Patience,
    callers: Mutex<HashMap<Caller, Record>>,
}

/// A leaky count: it drains by one failure each `window / failures`.
#[derive(Debug)]
struct Record {
    /// When nothing would be left of it.
    forgotten_at: Instant,
    /// Failures while too many were there already.
    beyond: u32,
}

impl Throttle {
    /// Nobody has failed yet.
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, callers: Mutex::default() }
    }

    /// Whether a caller may try; else how long it has to wait.
    pub(super) fn check(&self, now: Instant, caller: &Caller) -> Result<(), Duration> {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.get(caller).map_or(Ok(()), |record| self.wait(record, now))
    }

    /// Remembers a failure.
    pub(super) fn failed(&self, now: Instant, caller: Caller) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX && !callers.contains_key(&caller) {
            callers.retain(|_, record| record.forgotten_at > now);
            let least = callers.iter().min_by_key(|(_, record)| record.forgotten_at).map(|(caller, _)| caller.clone());
            if let Some(least) = least.filter(|_| callers.len() >= MAX) {
                callers.remove(&least);
            }
        }
        let record = callers.entry(caller).or_insert(Record { forgotten_at: now, beyond: 0 });
        if record.forgotten_at <= now {
            *record = Record { forgotten_at: now, beyond: 0 };
        }
        let factor = 1 << record.beyond.min(16);
        let longest = now + 2 * self.patience.window - self.share();
        record.forgotten_at = (record.forgotten_at + self.share() * factor).min(longest);
        if self.wait(record, now).is_err() {
            record.beyond += 1;
        }
    }

    /// The time in which one failure is forgotten.
    fn share(&self) -> Duration {
        self.patience.window / self.patience.failures.max(1)
    }

    fn wait(&self, record: &Record, now: Instant) -> Result<(), Duration> {
        let left = record.forgotten_at.saturating_duration_since(now);
        let allowed = self.patience.window - self.share();
        if left > allowed { Err(left - allowed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn throttle() -> Throttle {
        Throttle::new(Patience { failures: 10, window: 30 * MINUTE })
    }

    #[test]
    fn ten_failures_pass_and_then_waits_double() {
        let (throttle, start) = (throttle(), Instant::now());
        let ann = Caller::Subject("ann".into());
        for _ in 0..10 {
            assert_eq!(throttle.check(start, &ann), Ok(()));
            throttle.failed(start, ann.clone());
        }
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..6 {
            let wait = throttle.check(now, &ann).expect_err("it has to wait");
            waits.push(wait.as_secs().div_ceil(60));
            assert!(throttle.check(now + wait, &ann).is_ok());
            now += wait;
            throttle.failed(now, ann.clone());
        }
        assert_eq!(waits, [3, 6, 12, 24, 30, 30]);
        assert_eq!(throttle.check(now, &Caller::Subject("bob".into())), Ok(()));
        // A day later all is forgotten.
        now += 24 * 60 * MINUTE;
        for _ in 0..10 {
            assert_eq!(throttle.check(now, &ann), Ok(()));
            throttle.failed(now, ann.clone());
        }
        assert_eq!(throttle.check(now, &ann).expect_err("again"), 3 * MINUTE);
    }

    #[test]
    fn honest_mistakes_now_and_then_are_never_held_back() {
        let (throttle, mut now) = (throttle(), Instant::now());
        for _ in 0..100 {
            now += 3 * MINUTE;
            assert_eq!(throttle.check(now, &Caller::Address(1)), Ok(()));
            throttle.failed(now, Caller::Address(1));
        }
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_worst() {
        let (throttle, now) = (throttle(), Instant::now());
        for _ in 0..10 {
            throttle.failed(now, Caller::Address(0));
        }
        for n in 1..2 * MAX as u64 {
            throttle.failed(now, Caller::Address(n));
        }
        assert_eq!(throttle.callers.lock().expect("no panic").len(), MAX);
        assert!(throttle.check(now, &Caller::Address(0)).is_err());
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let caller = |text: &str| Caller::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(caller("2001:db8:1:2::1"), caller("2001:db8:1:2:ffff::9"));
        assert_ne!(caller("2001:db8:1:2::1"), caller("2001:db8:1:3::1"));
        assert_ne!(caller("192.0.2.1"), caller("192.0.2.2"));
        assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
    }
}
