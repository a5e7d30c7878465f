//! Addresses and host names.

mod host_port;
mod subscriber;

use std::net::{IpAddr, SocketAddr};

pub(crate) use self::host_port::{Host, HostPort};
pub use self::{host_port::PublicName, subscriber::Subscriber};

/// The remote address of a connection. The transport adds it to the extensions of each request.
#[derive(Debug, Clone, Copy)]
pub struct RemoteAddr(pub IpAddr);

/// The local address of a connection. The transport adds it to the extensions of each request.
#[derive(Debug, Clone, Copy)]
pub struct LocalAddr(pub SocketAddr);

/// Returns whether only this machine or its private network can reach an address: loopback, private (RFC 1918), unique
/// local (RFC 4193) or link-local.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_recognised() {
        let is_private = |ip: &str| is_private(ip.parse().expect("an address"));
        for ip in ["127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1"] {
            assert!(is_private(ip), "{ip}");
        }
        for ip in ["::1", "fd00::1", "fe80::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1"] {
            assert!(is_private(ip), "{ip}");
        }
        for ip in
            ["0.0.0.0", "::", "172.32.0.1", "100.64.0.1", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "224.0.0.1"]
        {
            assert!(!is_private(ip), "{ip}");
        }
    }
}
