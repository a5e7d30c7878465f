//! How many connections there are, in all and from each address.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::config::is_private;

/// Counts connections, up to its limits.
#[derive(Debug)]
pub(super) struct Census {
    most: usize,
    most_per_address: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why there is no place for another connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Full {
    Total(usize),
    Address(usize),
    Memory,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total(most) => write!(f, "there are {most} (--max-connections, or the system's limit on open files)"),
            Self::Address(most) => write!(f, "an address has {most} (--max-connections-per-address)"),
            Self::Memory => f.write_str("the process has as much memory as it may (--max-memory-mib)"),
        }
    }
}

impl Census {
    pub(super) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, counts: Mutex::default() })
    }

    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.counts().total
    }

    /// Takes a place for a connection from that address.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Full> {
        let mut counts = self.counts();
        if counts.total >= self.most {
            return Err(Full::Total(self.most));
        }
        // Behind a loopback or private address a proxy may stand for everybody.
        let from = (!is_private(ip)).then(|| network_of(ip));
        if let Some(from) = from {
            let here = counts.by_address.entry(from).or_default();
            if *here >= self.most_per_address {
                return Err(Full::Address(self.most_per_address));
            }
            *here += 1;
        }
        counts.total += 1;
        Ok(Place { census: self.clone(), from })
    }

    /// Nothing that panics happens under this lock.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one subscriber has: an IPv4 address, or an IPv6 network of 64 bits.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (!0 << 64)).into(),
        ip => ip,
    }
}

/// The place of a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    census: Arc<Census>,
    from: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts();
        counts.total -= 1;
        if let Some(from) = self.from
            && let Some(here) = counts.by_address.get_mut(&from)
        {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(census: &Arc<Census>, ip: &str) -> Result<Place, Full> {
        census.admit(ip.parse().expect("an address"))
    }

    #[test]
    fn places_are_counted_in_all_and_given_back() {
        let census = Census::new(2, 9);
        let (one, two) = (admit(&census, "127.0.0.1"), admit(&census, "192.0.2.1"));
        assert!(one.is_ok() && two.is_ok());
        assert_eq!(admit(&census, "192.0.2.2").err(), Some(Full::Total(2)));
        drop(two);
        assert!(admit(&census, "192.0.2.2").is_ok());
        drop(one);
        let counts = census.counts();
        assert_eq!((counts.total, counts.by_address.len()), (0, 0), "nothing is kept of who is gone");
    }

    #[test]
    fn an_address_has_so_many_and_its_neighbours_as_many() {
        let census = Census::new(100, 2);
        let mut places = Vec::new();
        for same in
            [["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:1::"]]
        {
            places.push(admit(&census, same[0]).expect("a place"));
            places.push(admit(&census, same[1]).expect("a place"));
            assert_eq!(admit(&census, same[2]).err(), Some(Full::Address(2)), "{}", same[2]);
        }
        for other in ["192.0.2.2", "2001:db8:0:1::1"] {
            places.push(admit(&census, other).expect("a place"));
        }
        places.clear();
        assert!(admit(&census, "192.0.2.1").is_ok());
    }

    #[test]
    fn proxies_stand_for_many() {
        let census = Census::new(100, 1);
        for ip in ["127.0.0.1", "::1", "10.0.0.1", "fd00::1"] {
            let places: Vec<_> = (0..5).map(|_| admit(&census, ip)).collect();
            assert!(places.iter().all(Result::is_ok), "{ip}");
        }
    }
}
