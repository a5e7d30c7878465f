//! Parsers for the URLs of STUN and TURN servers. They accept what every browser accepts, because one refused URL makes
//! `new RTCPeerConnection` throw in each page that receives it.

use crate::net::HostPort;

/// Parses a STUN URL (RFC 7064). Returns it with its scheme in lower case.
pub(super) fn stun_url(text: &str) -> Result<String, String> {
    let (scheme, server) = split(text);
    match scheme.as_str() {
        "stun" => {}
        "stuns" => return Err("use stun: instead, because Firefox does not support stuns:".to_owned()),
        "turn" | "turns" => return Err("list TURN servers with --turn-url".to_owned()),
        _ => return Err("use stun:HOST or stun:HOST:PORT".to_owned()),
    }
    if server.contains('?') {
        return Err("remove ? and what follows: a STUN URL has no query".to_owned());
    }
    check_server(&scheme, server)?;
    Ok(format!("{scheme}:{server}"))
}

/// Parses a TURN URL (RFC 7065). Returns it with its scheme and transport in lower case.
pub(super) fn turn_url(text: &str) -> Result<String, String> {
    let (scheme, rest) = split(text);
    match scheme.as_str() {
        "turn" | "turns" => {}
        "stun" | "stuns" => return Err("list STUN servers with --ice-server".to_owned()),
        _ => return Err("use turn:HOST[:PORT] or turns:HOST[:PORT]".to_owned()),
    }
    let Some((server, query)) = rest.split_once('?') else {
        check_server(&scheme, rest)?;
        return Ok(format!("{scheme}:{rest}"));
    };
    check_server(&scheme, server)?;
    let query = query.to_ascii_lowercase();
    if !matches!(query.as_str(), "transport=udp" | "transport=tcp") {
        return Err("after ? use transport=udp or transport=tcp, and nothing else".to_owned());
    }
    Ok(format!("{scheme}:{server}?{query}"))
}

/// Splits a URL into its scheme, in lower case, and the rest.
fn split(text: &str) -> (String, &str) {
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    (scheme.to_ascii_lowercase(), rest)
}

fn check_server(scheme: &str, server: &str) -> Result<(), String> {
    if server.starts_with('/') {
        return Err(format!("use {scheme}:HOST[:PORT], without slashes"));
    }
    if server.contains('@') {
        return Err("remove the user name: the server creates credentials with --turn-secret".to_owned());
    }
    // Names may be absolute, that is, end with a dot.
    let host = server.split(':').next().unwrap_or_default();
    let relative = match host.strip_suffix('.') {
        Some(name) => server.replacen(host, name, 1),
        None => server.to_owned(),
    };
    match relative.parse::<HostPort>() {
        Ok(_) => Ok(()),
        Err(()) => Err(format!(
            "use {scheme}:HOST or {scheme}:HOST:PORT, with a host name, an IPv4 address or an IPv6 address in brackets, \
             and a port of 1 to 65535"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_every_browser_accepts_are_accepted() {
        for (given, told) in [
            ("stun:h", "stun:h"),
            ("stun:h:3478", "stun:h:3478"),
            ("stun:h:1", "stun:h:1"),
            ("stun:h:65535", "stun:h:65535"),
            ("stun:h_st:3478", "stun:h_st:3478"),
            ("stun:stun.example.org.", "stun:stun.example.org."),
            ("stun:stun.example.org.:3478", "stun:stun.example.org.:3478"),
            ("STUN:h", "stun:h"),
            ("Stun:Stun.Example.org", "stun:Stun.Example.org"),
            ("stun:192.0.2.1:3478", "stun:192.0.2.1:3478"),
            ("stun:[2001:db8::1]", "stun:[2001:db8::1]"),
            ("stun:[::1]:3478", "stun:[::1]:3478"),
        ] {
            assert_eq!(stun_url(given).as_deref(), Ok(told), "{given}");
        }
        for (given, told) in [
            ("turn:h", "turn:h"),
            ("turns:h:5349", "turns:h:5349"),
            ("turn:h?transport=udp", "turn:h?transport=udp"),
            ("turn:h:3478?transport=tcp", "turn:h:3478?transport=tcp"),
            ("turns:h?transport=udp", "turns:h?transport=udp"),
            ("turns:h?transport=tcp", "turns:h?transport=tcp"),
            ("TURN:h?Transport=UDP", "turn:h?transport=udp"),
            ("turn:[::1]:3478?transport=udp", "turn:[::1]:3478?transport=udp"),
        ] {
            assert_eq!(turn_url(given).as_deref(), Ok(told), "{given}");
        }
    }

    #[test]
    fn urls_that_a_browser_refuses_are_refused_with_advice() {
        for (url, advice) in [
            ("stun:h:3478?transport=udp", "no query"),
            ("stun:h?", "no query"),
            ("stun:h:99999", "1 to 65535"),
            ("stun:h:65536", "1 to 65535"),
            ("stun:h:0", "1 to 65535"),
            ("stun:h:", "1 to 65535"),
            ("stun:h:+1", "1 to 65535"),
            ("stun:h:port", "1 to 65535"),
            ("stun:user@host", "user name"),
            ("stun:[::1", "brackets"),
            ("stun:::1", "brackets"),
            ("stun:[::1%25eth0]", "brackets"),
            ("stun:a b", "host name"),
            ("stun:h#f", "host name"),
            ("stun:h/x", "host name"),
            (r"stun:h\x", "host name"),
            ("stun:h..x", "host name"),
            ("stun:.", "host name"),
            ("stun:", "stun:HOST"),
            ("stun", "stun:HOST"),
            ("h:3478", "stun:HOST"),
            ("http://h", "stun:HOST"),
            (" stun:h", "stun:HOST"),
            ("stun://h", "without slashes"),
            ("stuns:h", "Firefox"),
            ("turn:h", "--turn-url"),
        ] {
            let error = stun_url(url).expect_err(url);
            assert!(error.contains(advice) && !error.contains('\n'), "{url}: {error}");
        }
        for (url, advice) in [
            ("turn:h?transport=sctp", "transport=udp"),
            ("turn:h?transport=tls", "transport=udp"),
            ("turn:h?transport=", "transport=udp"),
            ("turn:h?", "transport=udp"),
            ("turn:h?transport=udp&x=1", "transport=udp"),
            ("turn:h?transport=udp#f", "transport=udp"),
            ("turn:h?transport=udp?transport=udp", "transport=udp"),
            ("turn:user:pw@h", "user name"),
            ("turn:user@h:3478", "user name"),
            ("turn:?transport=udp", "host name"),
            ("turn:", "turn:HOST"),
            ("turns:[::1", "brackets"),
            ("turns:h:65536", "1 to 65535"),
            ("turn://h", "without slashes"),
            ("stun:h", "--ice-server"),
            ("https://h", "turn:HOST"),
        ] {
            let error = turn_url(url).expect_err(url);
            assert!(error.contains(advice) && !error.contains('\n'), "{url}: {error}");
        }
    }
}
