//! The origins whose pages may call the server (`--cors-origin`).

use std::str::FromStr;

use crate::net::HostPort;

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
        if text == "null" {
            return Err(
                "null cannot be listed: browsers send it for files and sandboxed pages of every site".to_owned()
            );
        }
        let Some((scheme, authority)) = text.split_once("://") else {
            return Err("use scheme://host or scheme://host:port, such as https://app.example.org".to_owned());
        };
        if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) {
            return Err("start with a scheme, such as https://app.example.org".to_owned());
        }
        if authority.contains(['/', '?', '#']) {
            return Err("remove what follows the host and port, also a slash: an origin has no path".to_owned());
        }
        if authority.contains('@') {
            return Err("remove the user name: an origin has none".to_owned());
        }
        // Browsers send schemes in lower case, and also the hosts of http and https.
        let default_port = match scheme.to_ascii_lowercase().as_str() {
            "https" => Some("443"),
            "http" => Some("80"),
            _ => None,
        };
        let sent = if default_port.is_some() {
            text.to_ascii_lowercase()
        } else {
            text.replacen(scheme, &scheme.to_ascii_lowercase(), 1)
        };
        if sent != text {
            return Err(format!("use {sent}: browsers send origins in lower case"));
        }
        let (authority, every_port) = match (default_port, authority.strip_suffix(":*")) {
            (Some(_), Some(host)) => (host, true),
            _ => (authority, false),
        };
        if authority.contains('*') {
            return Err("list each origin: patterns are not supported, except :* for every port of an http or https \
                        host"
                .to_owned());
        }
        if let Some(default) = default_port
            && let Some((host, port)) = authority.rsplit_once(':')
            && port == default
        {
            return Err(format!("use {scheme}://{host}: browsers omit the default port"));
        }
        let is_valid = match default_port {
            Some(_) => authority.parse::<HostPort>().is_ok_and(|a| !every_port || a.port.is_none()),
            // Applications choose the hosts of custom schemes freely, for example `.` or names in mixed case.
            None => is_custom(authority),
        };
        if !is_valid {
            return Err(
                "use a host name, an IPv4 address or an IPv6 address in brackets, and a port of 1 to 65535 if \
                        it is not the default"
                    .to_owned(),
            );
        }
        Ok(Self { text: text.strip_suffix(":*").unwrap_or(text).to_owned(), every_port })
    }
}

/// Accepts the host, and port if any, of an origin that is not http or https.
fn is_custom(authority: &str) -> bool {
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !host.is_empty() && host.bytes().all(is_host) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_listed_as_browsers_send_them() {
        for origin in [
            "https://app.example.org",
            "http://localhost:5173",
            "https://app.example.org:8443",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "http://tauri.localhost",
            "https://app_1.example.org",
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "app://obsidian.md",
            "app://.",
            "app://localhost:3000",
            "vscode-webview://0a1b2c3d-0000-4000-8000-0a1b2c3d4e5f",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "moz-extension://0a1b2c3d-0000-4000-8000-0a1b2c3d4e5f",
            "safari-web-extension://0A1B2C3D-0000-4000-8000-0A1B2C3D4E5F",
        ] {
            let listed: Origin = origin.parse().expect(origin);
            assert!(listed.admits(origin), "{origin}");
            assert!(!listed.admits(&format!("{origin}.evil.example")), "{origin}");
            assert_eq!(listed.every_port(), None);
        }
        let listed: Origin = "https://app.example.org:*".parse().expect("every port");
        assert_eq!(listed.every_port(), Some("https://app.example.org"));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (origin, wrong) in [
            ("https://App.example.org", "use https://app.example.org:"),
            ("HTTPS://app.example.org", "use https://app.example.org:"),
            ("https://App.example.org:*", "use https://app.example.org:*:"),
            ("Capacitor://localhost", "use capacitor://localhost:"),
            ("https://*.example.org", "patterns are not supported"),
            ("https://*", "patterns are not supported"),
            ("https://*:*", "patterns are not supported"),
            ("https://app.example.org:4*", "patterns are not supported"),
            ("capacitor://*", "patterns are not supported"),
            ("app://localhost:*", "patterns are not supported"),
            ("*", "scheme://host"),
            ("app.example.org", "scheme://host"),
            ("app.example.org:*", "scheme://host"),
            ("localhost:5173", "scheme://host"),
            ("", "scheme://host"),
            ("null", "null cannot be listed"),
            ("://host", "a scheme"),
            ("https://app.example.org/", "no path"),
            ("https://app.example.org/page", "no path"),
            ("https://app.example.org:*/", "no path"),
            ("chrome-extension://abcdefghijklmnopabcdefghijklmnop/page.html", "no path"),
            ("file:///page.html", "no path"),
            ("https://app.example.org?x", "no path"),
            ("https://ada@app.example.org", "user name"),
            ("https://app.example.org:443", "use https://app.example.org:"),
            ("http://app.example.org:80", "use http://app.example.org:"),
            ("https://app.example.org:443:*", "use https://app.example.org:"),
            ("https://app.example.org:8443:*", "a host name"),
            ("https://app.example.org:0", "a host name"),
            ("https://app.example.org:99999", "a host name"),
            ("https://app example.org", "a host name"),
            ("https://app.example.org;script-src:*", "a host name"),
            ("https://", "a host name"),
            ("https://:*", "a host name"),
            ("capacitor://", "a host name"),
            ("capacitor://local host", "a host name"),
        ] {
            let error = origin.parse::<Origin>().expect_err(origin);
            assert!(error.contains(wrong), "{origin}: {error}");
        }
    }
}
