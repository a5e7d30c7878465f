//! Groups remote addresses by subscriber of an internet provider.

use std::net::{IpAddr, Ipv6Addr};

/// The IPv4 address or IPv6 /64 network that an internet provider assigns to one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subscriber(IpAddr);

impl From<IpAddr> for Subscriber {
    fn from(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (!0 << 64)).into(),
            ip => ip,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_subscriber() {
        let subscriber = |text: &str| Subscriber::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(subscriber("2001:db8:1:2::1"), subscriber("2001:db8:1:2:ffff::9"));
        assert_ne!(subscriber("2001:db8:1:2::1"), subscriber("2001:db8:1:3::1"));
        assert_ne!(subscriber("192.0.2.1"), subscriber("192.0.2.2"));
        assert_eq!(subscriber("::ffff:192.0.2.1"), subscriber("192.0.2.1"));
        // 1.2.3.4 and the network 0:0:0:102::/64 must not share a record.
        assert_ne!(subscriber("0.0.1.2"), subscriber("0:0:0:102::1"));
    }
}
