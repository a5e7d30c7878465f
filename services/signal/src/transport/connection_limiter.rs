//! Limits connections, in total and per client network (IPv4 address or IPv6 /64).

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, atomic::AtomicUsize},
};

use parking_lot::Mutex;

use crate::net::{Subscriber, is_private};

/// Limits connections, in total and per client network.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    max: usize,
    max_per_subscriber: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_subscriber: HashMap<Subscriber, Use>,
}

/// The open connections and streams of one client network.
#[derive(Debug, Default)]
struct Use {
    connections: usize,
    /// Open streams on all connections of the network.
    streams: Arc<AtomicUsize>,
}

/// Why the server rejects a connection.
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

    /// Returns the number of open connections.
    pub(super) fn total(&self) -> usize {
        self.counts.lock().total
    }

    /// Acquires a permit for a connection. A private address counts toward the total only.
    pub(super) fn acquire(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionPermit, LimitReached> {
        let mut counts = self.counts.lock();
        if counts.total >= self.max {
            return Err(LimitReached::Total(self.max));
        }
        // A loopback or private address may belong to a proxy for many clients.
        let from = (!is_private(ip)).then(|| Subscriber::from(ip));
        let from = match from {
            Some(from) => {
                let here = counts.by_subscriber.entry(from).or_default();
                if here.connections >= self.max_per_subscriber {
                    return Err(LimitReached::Subscriber(self.max_per_subscriber));
                }
                here.connections += 1;
                Some((from, here.streams.clone()))
            }
            None => None,
        };
        counts.total += 1;
        Ok(ConnectionPermit { limiter: self.clone(), from })
    }
}

/// The permit of one connection. Dropping it frees the capacity.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    /// The client network and its open streams; `None` for a private address.
    from: Option<(Subscriber, Arc<AtomicUsize>)>,
}

impl ConnectionPermit {
    /// Returns the number of open streams of the client network, or `None` for a private address.
    pub(super) fn streams(&self) -> Option<Arc<AtomicUsize>> {
        self.from.as_ref().map(|(_, streams)| streams.clone())
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts.lock();
        counts.total -= 1;
        if let Some((from, _)) = &self.from
            && let Some(here) = counts.by_subscriber.get_mut(from)
        {
            here.connections -= 1;
            if here.connections == 0 {
                counts.by_subscriber.remove(from);
            }
        }
    }
}
