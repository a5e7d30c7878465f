//! Host names with ports, as they appear in `Host`, `:authority`, `Origin` and `--public-name`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A host and an optional port, as in `Host`, `:authority` and after the scheme of `Origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: Host,
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    /// A host name in lower case.
    Name(String),
}

impl FromStr for HostPort {
    type Err = ();

    /// Accepts only the form that clients send. Rejects user info, empty ports, trailing dots, and numbers that some
    /// resolvers treat as addresses.
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
    // No top-level domain is numeric, so a name with a numeric last label is another spelling of an IP address.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if name.len() <= 253 && name.split('.').all(is_label) && !is_number {
        Ok(Host::Name(name.to_ascii_lowercase()))
    } else {
        Err(())
    }
}

fn port(text: &str) -> Result<u16, ()> {
    // `u16::from_str` would also accept a leading `+`.
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0).ok_or(())
}

impl HostPort {
    /// Returns whether both are equal if a missing port means `default`.
    pub(crate) fn is(&self, other: &Self, default: u16) -> bool {
        self.host == other.host && self.port.unwrap_or(default) == other.port.unwrap_or(default)
    }

    /// Returns whether the host is a loopback name or address.
    pub(crate) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => *ip == Ipv4Addr::LOCALHOST || *ip == Ipv6Addr::LOCALHOST,
            Host::Name(name) => name == "localhost",
        }
    }
}

/// A name under which clients reach the server, parsed from `--public-name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicName {
    name: HostPort,
    /// Whether the name covers every port of the host.
    pub(crate) any_port: bool,
}

impl FromStr for PublicName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, any_port) = text.strip_suffix(":*").map_or((text, false), |name| (name, true));
        match name.parse::<HostPort>() {
            Ok(name) if !(any_port && name.port.is_some()) => Ok(Self { name, any_port }),
            _ => Err("expected HOST, HOST:PORT or HOST:*, such as signal.example.org".to_owned()),
        }
    }
}

impl PublicName {
    /// Returns whether the host is a loopback name or address.
    pub(crate) fn is_loopback(&self) -> bool {
        self.name.is_loopback()
    }

    /// Returns the host without its port.
    pub(crate) fn host(&self) -> String {
        match &self.name.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// Returns whether `name` is allowed as the host of a request to a server that listens on `port`.
    pub(crate) fn covers(&self, name: &HostPort, port: u16) -> bool {
        let is_usual = matches!(name.port, None | Some(80 | 443)) || name.port == Some(port);
        name.host == self.name.host
            && match self.name.port {
                Some(_) => name.is(&self.name, 443) || name.is(&self.name, 80),
                None => self.any_port || is_usual,
            }
    }
}
