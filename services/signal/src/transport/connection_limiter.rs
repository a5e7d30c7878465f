//! Limits connections, in total and per subscriber.

use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

use crate::net::{Subscriber, is_private};

/// Limits connections, in total and per subscriber.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    max: usize,
    max_per_subscriber: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_subscriber: HashMap<Subscriber, usize>,
}

/// Why another connection is rejected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LimitReached {
    Total(usize),
    Subscriber(usize),
    Memory,
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(max) => write!(f, "{max} connections are open (--max-connections, or the limit on open files)"),
            Self::Subscriber(max) => {
                write!(f, "{max} connections of one address are open (--max-connections-per-address)")
            }
            Self::Memory => f.write_str("the memory limit is reached (--max-memory-mib)"),
        }
    }
}

impl ConnectionLimiter {
    pub(super) fn new(max: usize, max_per_subscriber: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_subscriber, counts: Mutex::default() })
    }

    /// Number of connections.
    pub(super) fn total(&self) -> usize {
        self.counts.lock().total
    }

    /// Acquires a permit for a connection from an address.
    pub(super) fn acquire(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionPermit, LimitReached> {
        let mut counts = self.counts.lock();
        if counts.total >= self.max {
            return Err(LimitReached::Total(self.max));
        }
        // A loopback or private address may be that of a proxy for all clients.
        let from = (!is_private(ip)).then(|| Subscriber::from(ip));
        if let Some(from) = from {
            let here = counts.by_subscriber.entry(from).or_default();
            if *here >= self.max_per_subscriber {
                return Err(LimitReached::Subscriber(self.max_per_subscriber));
            }
            *here += 1;
        }
        counts.total += 1;
        Ok(ConnectionPermit { limiter: self.clone(), from })
    }
}

/// The permit of a connection. Dropping it releases the permit.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    from: Option<Subscriber>,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts.lock();
        counts.total -= 1;
        if let Some(from) = self.from
            && let Some(here) = counts.by_subscriber.get_mut(&from)
        {
            *here -= 1;
            if *here == 0 {
                counts.by_subscriber.remove(&from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(limiter: &Arc<ConnectionLimiter>, ip: &str) -> Result<ConnectionPermit, LimitReached> {
        limiter.acquire(ip.parse().expect("an address"))
    }

    #[test]
    fn permits_are_limited_in_total_and_released() {
        let limiter = ConnectionLimiter::new(2, 9);
        let (one, two) = (acquire(&limiter, "127.0.0.1"), acquire(&limiter, "192.0.2.1"));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(acquire(&limiter, "192.0.2.2").err(), Some(LimitReached::Total(2)));
        drop(two);
        assert!(acquire(&limiter, "192.0.2.2").is_ok());
        drop(one);
        let counts = limiter.counts.lock();
        assert_eq!((counts.total, counts.by_subscriber.len()), (0, 0), "closed connections leave nothing");
    }

    #[test]
    fn each_subscriber_has_its_own_limit() {
        let limiter = ConnectionLimiter::new(100, 2);
        let mut permits = Vec::new();
        for same in
            [["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:1::"]]
        {
            permits.push(acquire(&limiter, same[0]).expect("a permit"));
            permits.push(acquire(&limiter, same[1]).expect("a permit"));
            assert_eq!(acquire(&limiter, same[2]).err(), Some(LimitReached::Subscriber(2)), "{}", same[2]);
        }
        for other in ["192.0.2.2", "2001:db8:0:1::1"] {
            permits.push(acquire(&limiter, other).expect("a permit"));
        }
        permits.clear();
        assert!(acquire(&limiter, "192.0.2.1").is_ok());
    }

    #[test]
    fn private_addresses_have_no_limit_of_their_own() {
        let limiter = ConnectionLimiter::new(100, 1);
        for ip in ["127.0.0.1", "::1", "10.0.0.1", "fd00::1"] {
            let permits: Vec<_> = (0..5).map(|_| acquire(&limiter, ip)).collect();
            assert!(permits.iter().all(Result::is_ok), "{ip}");
        }
    }
}
