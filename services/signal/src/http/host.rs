//! The host names of a listener. Rejecting other names protects against DNS rebinding, where a foreign site makes its
//! own name resolve to this machine.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use http::{Request, header};

use crate::net::{Host, HostPort, PublicName};

/// The host names that a listener accepts.
#[derive(Debug, Clone)]
pub struct Hosts {
    bound: SocketAddr,
    names: Vec<PublicName>,
}

impl Hosts {
    /// Creates the host names of a listener that is bound to `bound`.
    pub fn new(bound: SocketAddr, names: Vec<PublicName>) -> Self {
        Self { bound: SocketAddr::new(bound.ip().to_canonical(), bound.port()), names }
    }

    /// Returns the host of a request if it is a name of this server. `local` is the local address of the connection, if
    /// known.
    pub(super) fn accept<B>(&self, request: &Request<B>, local: Option<SocketAddr>) -> Option<HostPort> {
        let mut names = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().ok());
        let host = names.next();
        if names.next().is_some() {
            return None;
        }
        // HTTP/2 has `:authority` instead of `Host`. A request in absolute form has both, and they must agree.
        let mut names =
            [host, request.uri().authority().map(|authority| Some(authority.as_str()))].into_iter().flatten();
        let first: HostPort = names.next()??.parse().ok()?;
        let agrees = match names.next() {
            Some(second) => second?.parse() == Ok(first.clone()),
            None => true,
        };
        (agrees && self.is_ours(&first, local)).then_some(first)
    }

    fn is_ours(&self, name: &HostPort, local: Option<SocketAddr>) -> bool {
        if self.names.iter().any(|public| public.covers(name, self.bound.port())) {
            return true;
        }
        // Clients omit the default port of the scheme.
        let here =
            name.port == Some(self.bound.port()) || (name.port.is_none() && matches!(self.bound.port(), 80 | 443));
        let ip = self.bound.ip();
        let is_local = ip.is_loopback() || ip.is_unspecified();
        let is_address = |address: IpAddr| !address.is_unspecified() && name.host == Host::Ip(address);
        here && ((is_local && name.is_loopback())
            || is_address(ip)
            || local.is_some_and(|address| is_address(address.ip().to_canonical())))
    }

    /// Returns whether a page's origin is a public name of this server. A name for every port does not count, because
    /// other servers on its host may serve pages too.
    pub(super) fn is_named(&self, origin: &HostPort) -> bool {
        self.names.iter().any(|name| !name.any_port && name.covers(origin, self.bound.port()))
    }
}
