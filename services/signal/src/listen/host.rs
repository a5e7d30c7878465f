//! For whom a request is: the names under which a server is reached. A page of a stranger can have its own name point
//! at this machine (DNS rebinding), and its requests then say that name.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use http::{Request, header};

/// A host and, unless it is left out, a port: what `Host`, `:authority` and, after the scheme, `Origin` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// In lower case.
    Name(String),
}

impl FromStr for Authority {
    type Err = ();

    /// Takes the one form that clients send: no user, no empty port, no name that ends with a dot, no number that some
    /// resolvers take for an address.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, rest) = rest.split_once(']').ok_or(())?;
                let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(())?) };
                (Host::Ip(ip.parse::<Ipv6Addr>().map_err(|_| ())?.into()), port)
            }
            None => {
                let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
                (host(name)?, port)
            }
        };
        Ok(Self { host, port: port.map(self::port).transpose()? })
    }
}

fn host(name: &str) -> Result<Host, ()> {
    if let Ok(ip) = name.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // No top-level domain is a number: such a name would be another form of an address.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if name.len() <= 253 && name.split('.').all(is_label) && !is_number {
        Ok(Host::Name(name.to_ascii_lowercase()))
    } else {
        Err(())
    }
}

fn port(text: &str) -> Result<u16, ()> {
    // `parse` would take a sign.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0).ok_or(())
}

impl Authority {
    /// Whether both are the same for a scheme whose own port is `default`.
    pub(crate) fn is(&self, other: &Self, default: u16) -> bool {
        self.host == other.host && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }

    /// Whether both are of one host, at whatever ports.
    pub(super) fn is_of_host(&self, other: &Self) -> bool {
        self.host == other.host
    }

    /// Whether it names a port.
    pub(crate) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => *ip == Ipv4Addr::LOCALHOST || *ip == Ipv6Addr::LOCALHOST,
            Host::Name(name) => name == "localhost",
        }
    }
}

/// A name under which the server can be reached, as `--public-name` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicName {
    name: Authority,
    /// Whatever port a request names, it is for this server.
    any_port: bool,
}

impl FromStr for PublicName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, any_port) = text.strip_suffix(":*").map_or((text, false), |name| (name, true));
        match name.parse::<Authority>() {
            Ok(name) if !(any_port && name.port.is_some()) => Ok(Self { name, any_port }),
            _ => Err("expected HOST, HOST:PORT or HOST:*, such as signal.example.org".to_owned()),
        }
    }
}

impl PublicName {
    /// Whether it is this machine itself.
    pub(crate) fn is_loopback(&self) -> bool {
        self.name.is_loopback()
    }

    /// The name without its port.
    pub(crate) fn host(&self) -> String {
        match &self.name.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// Whether `authority` is this name, for a server that listens on `port`.
    fn covers(&self, authority: &Authority, port: u16) -> bool {
        let is_usual = matches!(authority.port, None | Some(80 | 443)) || authority.port == Some(port);
        authority.host == self.name.host
            && match self.name.port {
                Some(_) => authority.is(&self.name, 443) || authority.is(&self.name, 80),
                None => self.any_port || is_usual,
            }
    }
}

/// The names of a port.
#[derive(Debug, Clone)]
pub struct Hosts {
    bound: SocketAddr,
    names: Vec<PublicName>,
}

impl Hosts {
    /// The names of a port that is bound to that address.
    pub fn new(bound: SocketAddr, names: Vec<PublicName>) -> Self {
        Self { bound: SocketAddr::new(bound.ip().to_canonical(), bound.port()), names }
    }

    /// For whom a request is, if it is for this server. `arrived_at` is the address at which its connection arrived,
    /// where that is known.
    pub(super) fn accept<B>(&self, request: &Request<B>, arrived_at: Option<SocketAddr>) -> Option<Authority> {
        let mut said = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().ok());
        let host = said.next();
        if said.next().is_some() {
            return None;
        }
        // HTTP/2 has no Host but an authority; a request in absolute form has both, and may mean either.
        let mut said =
            [host, request.uri().authority().map(|authority| Some(authority.as_str()))].into_iter().flatten();
        let first: Authority = said.next()??.parse().ok()?;
        let agrees = match said.next() {
            Some(second) => second?.parse() == Ok(first.clone()),
            None => true,
        };
        (agrees && self.is_ours(&first, arrived_at)).then_some(first)
    }

    fn is_ours(&self, authority: &Authority, arrived_at: Option<SocketAddr>) -> bool {
        if self.names.iter().any(|name| name.covers(authority, self.bound.port())) {
            return true;
        }
        // A scheme's own port is left out.
        let here = authority.port == Some(self.bound.port())
            || (authority.port.is_none() && matches!(self.bound.port(), 80 | 443));
        let ip = self.bound.ip();
        let is_local = ip.is_loopback() || ip.is_unspecified();
        let is_address = |address: IpAddr| !address.is_unspecified() && authority.host == Host::Ip(address);
        here && ((is_local && authority.is_loopback())
            || is_address(ip)
            || arrived_at.is_some_and(|address| is_address(address.ip().to_canonical())))
    }

    /// Whether a page's origin is a name that was given for this server. Not where any port will do: other servers of
    /// that host have pages, too.
    pub(super) fn is_named(&self, origin: &Authority) -> bool {
        self.names.iter().any(|name| !name.any_port && name.covers(origin, self.bound.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(bound: &str, names: &[&str]) -> Hosts {
        let names = names.iter().map(|name| name.parse().expect("a name")).collect();
        Hosts::new(bound.parse().expect("an address"), names)
    }

    fn is_accepted(hosts: &Hosts, arrived_at: Option<&str>, host: &str) -> bool {
        let request = Request::post("/").header("host", host).body(()).expect("a valid request");
        hosts.accept(&request, arrived_at.map(|address| address.parse().expect("an address"))).is_some()
    }

    #[test]
    fn a_loopback_port_has_loopback_names() {
        for bound in ["127.0.0.1:50051", "[::1]:50051", "[::ffff:127.0.0.1]:50051"] {
            let hosts = hosts(bound, &[]);
            for host in ["127.0.0.1:50051", "localhost:50051", "LOCALHOST:50051", "LocalHost:50051", "[::1]:50051"] {
                assert!(is_accepted(&hosts, None, host), "{host} at {bound}");
            }
            assert!(is_accepted(&hosts, None, "[0:0:0:0:0:0:0:1]:50051"));
        }
    }

    #[test]
    fn other_names_are_foreign() {
        let hosts = hosts("127.0.0.1:50051", &[]);
        for host in [
            "",
            "evil.example",
            "evil.example:50051",
            "localhost",
            "127.0.0.1",
            "localhost:50052",
            "127.0.0.1:80",
            "localhost.:50051",
            "127.0.0.1.:50051",
            "localhost.evil.example:50051",
            "evil-localhost:50051",
            "user@localhost:50051",
            "localhost:50051@evil.example",
            "user:pw@127.0.0.1:50051",
            "0.0.0.0:50051",
            "[::]:50051",
            "[::ffff:127.0.0.1]:50051",
            "127.1:50051",
            "2130706433:50051",
            "0x7f000001:50051",
            "0177.0.0.1:50051",
            "127.0.0.2:50051",
            "localhost:050051x",
            "localhost:+50051",
            "localhost:",
            "localhost:0",
            "localhost:115587",
            ":50051",
            "[::1]",
            "[::1:50051",
            "::1:50051",
            "localhost:50051, evil.example",
            "localhost:50051 ",
            "localhost:50051/",
            "*:50051",
            "localhost:*",
        ] {
            assert!(!is_accepted(&hosts, None, host), "{host:?}");
        }
    }

    #[test]
    fn an_address_is_a_name_where_connections_arrive_at_it() {
        let every = hosts("0.0.0.0:50051", &[]);
        assert!(is_accepted(&every, Some("192.168.1.5:50051"), "192.168.1.5:50051"));
        assert!(is_accepted(&every, Some("127.0.0.1:50051"), "localhost:50051"));
        for host in ["192.168.1.6:50051", "192.168.1.5:80", "192.168.1.5", "0.0.0.0:50051"] {
            assert!(!is_accepted(&every, Some("192.168.1.5:50051"), host), "{host}");
        }
        let every = hosts("[::]:50051", &[]);
        assert!(is_accepted(&every, Some("[::ffff:192.168.1.5]:50051"), "192.168.1.5:50051"));
        assert!(is_accepted(&every, Some("[fd00::5]:50051"), "[fd00::5]:50051"));

        let one = hosts("192.168.1.5:50051", &[]);
        assert!(is_accepted(&one, None, "192.168.1.5:50051"));
        assert!(!is_accepted(&one, None, "localhost:50051"));
        assert!(is_accepted(&hosts("192.168.1.5:443", &[]), None, "192.168.1.5"));
        assert!(is_accepted(&hosts("127.0.0.1:80", &[]), None, "localhost"));
    }

    #[test]
    fn public_names_have_the_port_that_was_said_or_a_usual_one() {
        let named = hosts("127.0.0.1:50051", &["signal.example.org", "other.example.org:8443", "127.0.0.1:*"]);
        for host in [
            "signal.example.org",
            "Signal.Example.ORG",
            "signal.example.org:443",
            "signal.example.org:80",
            "signal.example.org:50051",
            "other.example.org:8443",
            "127.0.0.1:1",
            "127.0.0.1",
        ] {
            assert!(is_accepted(&named, None, host), "{host}");
        }
        for host in [
            "signal.example.org:8443",
            "signal.example.org.",
            "signal.example.org.evil.example",
            "evil.signal.example.org",
            "other.example.org",
            "other.example.org:443",
            "localhost:1",
            "example.org",
        ] {
            assert!(!is_accepted(&named, None, host), "{host}");
        }
        for (name, is_named) in [("signal.example.org", true), ("127.0.0.1:1", false), ("localhost:50051", false)] {
            assert_eq!(named.is_named(&name.parse().expect("an authority")), is_named, "{name}");
        }
        // The port of https, said and left out.
        let named = hosts("127.0.0.1:1", &["signal.example.org:443"]);
        assert!(is_accepted(&named, None, "signal.example.org"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "*", "*.example.org", "https://x.example", "x.example/", "u@x.example", "x:y", "x:1:*", "x."] {
            assert!(name.parse::<PublicName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn all_that_a_request_says_must_agree() {
        let hosts = hosts("127.0.0.1:50051", &[]);
        let (ours, foreign) = ("localhost:50051", "evil.example:50051");
        let accepts = |uri: &str, said: &[&str]| {
            let mut request = Request::post(uri);
            for host in said {
                request = request.header("host", *host);
            }
            hosts.accept(&request.body(()).expect("a valid request"), None).is_some()
        };
        let absolute = |host: &str| format!("http://{host}/a");
        assert!(accepts("/a", &[ours]));
        assert!(accepts(&absolute(ours), &[]));
        assert!(accepts(&absolute(ours), &["LOCALHOST:50051"]));
        assert!(!accepts("/a", &[]));
        assert!(!accepts("/a", &[ours, ours]));
        assert!(!accepts("/a", &[ours, foreign]));
        assert!(!accepts(&absolute(ours), &[foreign]));
        assert!(!accepts(&absolute(foreign), &[ours]));
        assert!(!accepts(&absolute(ours), &["127.0.0.1:50051"]));
        assert!(!accepts(&absolute("user@localhost:50051"), &[]));
    }
}
