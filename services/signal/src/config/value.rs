//! Parsers for structured settings, such as URLs and times, and their error texts.

use std::{ffi::OsStr, fmt::Display, str::FromStr, time::Duration};

use clap::{Arg, Command, builder::TypedValueParser, error::ErrorKind};

use crate::{net::HostPort, store::StoreUrl};

/// Formats the error for a value that parses but is not allowed. Errors of parsers contain only the advice, because
/// clap prepends the flag and the value.
pub(super) fn invalid(flag: &str, value: impl Display, advice: impl Display) -> String {
    format!(r#"invalid {flag} "{value}": use {advice}"#)
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("use a time such as 30s, 5m or 12h ({error})"))
}

pub(super) fn stun_url(text: &str) -> Result<String, String> {
    ice_url(text, ["stun:", "stuns:"])
}

pub(super) fn turn_url(text: &str) -> Result<String, String> {
    ice_url(text, ["turn:", "turns:"])
}

/// Parses a STUN or TURN URI (RFC 7064, RFC 7065): a scheme and a host, without `//`.
fn ice_url(text: &str, schemes: [&str; 2]) -> Result<String, String> {
    match schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(text.to_owned()),
        _ => Err(format!("use {}HOST[:PORT] or {}HOST[:PORT]", schemes[0], schemes[1])),
    }
}

/// An origin (RFC 6454) in the form that browsers send: scheme, host and, unless it is the default, port. Port `*`
/// covers every port of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The origin, without a port if `every_port` is set.
    text: String,
    every_port: bool,
}

impl Origin {
    /// Returns whether pages of `origin` may call the server.
    pub fn admits(&self, origin: &str) -> bool {
        match origin.strip_prefix(&self.text) {
            Some("") => true,
            Some(rest) => self.every_port && rest.strip_prefix(':').is_some_and(is_port),
            None => false,
        }
    }

    /// Returns scheme and host if the setting covers every port of the host.
    pub fn every_port(&self) -> Option<&str> {
        self.every_port.then_some(self.text.as_str())
    }
}

/// Accepts a port in the form that browsers send, without leading zeros or a sign.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port != 0 && port.to_string() == text)
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || {
            "use scheme://host, scheme://host:port or scheme://host:*, in lower case and without a path, such as \
             https://app.example.org"
                .to_owned()
        };
        let (text, every_port) = text.strip_suffix(":*").map_or((text, false), |text| (text, true));
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(fail)?;
        let authority: http::uri::Authority = rest.parse().map_err(|_| fail())?;
        let plain = authority.as_str() == rest && !rest.contains('@') && !rest.contains('*') && !rest.contains('/');
        // An origin with port `*` becomes part of a Content-Security-Policy, so its host must be strictly valid.
        let is_host = rest.parse::<HostPort>().is_ok_and(|authority| authority.port.is_none());
        if plain && rest == rest.to_ascii_lowercase() && (is_host || !every_port) {
            Ok(Self { text: text.to_owned(), every_port })
        } else {
            Err(fail())
        }
    }
}

/// Parses `--store`. The error does not contain the value, which may hold credentials.
#[derive(Debug, Clone)]
pub(super) struct SecretUrl;

impl TypedValueParser for SecretUrl {
    type Value = StoreUrl;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<StoreUrl, clap::Error> {
        let text = value.to_str().ok_or_else(|| "use UTF-8".to_owned());
        text.and_then(str::parse).map_err(|problem| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("invalid --store: {problem}\n")).with_cmd(command)
        })
    }
}
