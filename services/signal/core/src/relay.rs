//! The filter of `relay_only` rooms. It removes every address except those of relay candidates (RFC 8828 explains why
//! to hide addresses).
//!
//! SDP is line-based (RFC 8866, section 5), so the filter works on one line at a time. It drops malformed candidates
//! and blanks everything that looks like an address in other lines.

use std::{fmt::Write, net::IpAddr};

use signalbox_proto::v1::{IceCandidate, SessionDescription, server_message::Body};

/// The port of a blanked address, which means that no default destination is known yet (RFC 8839, section 4.3.1).
const DISCARD_PORT: &str = "9";
/// Candidate extensions (RFC 8839, section 5.1) that reveal no address. The filter removes all others.
const EXTENSIONS: [&str; 5] = ["generation", "network-cost", "network-id", "tcptype", "ufrag"];

/// The candidate is not a relay candidate.
#[derive(Debug, PartialEq, Eq)]
pub struct NotRelay;

/// Filters a signal for a `relay_only` room.
pub(crate) fn filter(signal: Body) -> Result<Body, NotRelay> {
    Ok(match signal {
        Body::Offer(offer) => Body::Offer(SessionDescription { sdp: filter_sdp(&offer.sdp) }),
        Body::Answer(answer) => Body::Answer(SessionDescription { sdp: filter_sdp(&answer.sdp) }),
        Body::Candidate(candidate) => {
            Body::Candidate(IceCandidate { candidate: filter_candidate(&candidate.candidate)?, ..candidate })
        }
        other => other,
    })
}

/// Filters a candidate-attribute (RFC 8839, section 5.1). A relay candidate passes with a blanked related address, and
/// the empty end-of-candidates marker passes unchanged.
pub fn filter_candidate(candidate: &str) -> Result<String, NotRelay> {
    if candidate.is_empty() {
        return Ok(String::new());
    }
    let attribute = candidate.strip_prefix("a=").unwrap_or(candidate);
    let attribute = attribute.strip_prefix("candidate:").ok_or(NotRelay)?;
    let mut words = attribute.split(' ').filter(|word| !word.is_empty());
    let mut word = || words.next().ok_or(NotRelay);
    let [foundation, component, transport, priority, address, port] =
        [word()?, word()?, word()?, word()?, word()?, word()?];
    let (typ, relay) = (word()?, word()?);
    let well_formed = [foundation, component, transport, priority, port].into_iter().all(is_plain);
    let address: IpAddr = address.parse().map_err(|_| NotRelay)?;
    if !well_formed || typ != "typ" || relay != "relay" {
        return Err(NotRelay);
    }
    let mut filtered = format!("candidate:{foundation} {component} {transport} {priority} {address} {port} typ relay");
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let blank = if value.contains(':') { "::" } else { "0.0.0.0" };
        let kept = match name {
            "raddr" => blank,
            "rport" => DISCARD_PORT,
            _ if EXTENSIONS.contains(&name) && is_plain(value) => value,
            _ => continue,
        };
        // Writing to a `String` cannot fail.
        let _ = write!(filtered, " {name} {kept}");
    }
    Ok(filtered)
}

/// Accepts `ice-char` of RFC 8839 and `-`. Without `.` and `:` a word cannot contain an address.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-".contains(&b))
}

/// Filters SDP: keeps only relay candidates and blanks every other address. Ends lines with CRLF, as RFC 8866 requires.
pub fn filter_sdp(sdp: &str) -> String {
    let mut filtered = String::with_capacity(sdp.len());
    for line in sdp.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        if let Some(kept) = filter_line(line) {
            filtered.push_str(&kept);
            filtered.push_str("\r\n");
        }
    }
    filtered
}

/// Filters one line. Returns `None` if the filter drops the line.
fn filter_line(line: &str) -> Option<String> {
    let (field, value) = line.split_once('=').unwrap_or((line, ""));
    let (attribute, rest) = value.split_once(':').unwrap_or((value, ""));
    // Attribute names are case-sensitive (RFC 8866, section 6), but a receiver may be lenient.
    match (field, attribute.to_ascii_lowercase().as_str()) {
        ("a", "candidate") => filter_candidate(&format!("candidate:{rest}")).ok().map(|kept| format!("a={kept}")),
        // These attributes contain nothing but addresses (RFC 8839, section 5.2; RFC 4570).
        ("a", "remote-candidates" | "source-filter") => None,
        ("a", "rtcp") => Some(format!("a=rtcp:{DISCARD_PORT} IN IP4 0.0.0.0")),
        ("c", _) => Some(if value.contains("IP6") { "c=IN IP6 ::" } else { "c=IN IP4 0.0.0.0" }.to_owned()),
        ("o", _) => {
            let origin: Vec<_> = value.split(' ').take(3).collect();
            Some(scrub(&format!("o={} IN IP4 0.0.0.0", origin.join(" "))))
        }
        ("m", _) => {
            let (media, rest) = value.split_once(' ')?;
            let (port, rest) = rest.split_once(' ')?;
            // Port 0 rejects a media section, so keep it.
            let port = if port == "0" { port } else { DISCARD_PORT };
            Some(scrub(&format!("m={media} {port} {rest}")))
        }
        _ => Some(scrub(line)),
    }
}

/// Blanks everything that looks like an address: four dotted numbers, `::`, or 6 to 9 colons (a fingerprint has more).
/// A version number may match as well, but nothing depends on it.
fn scrub(line: &str) -> String {
    let is_ipv6 = |run: &str| run.contains("::") || (6..=9).contains(&run.matches(':').count());
    let is_ipv4 = |run: &str| run.split('.').filter(|part| !part.is_empty()).count() >= 4;
    let line = replace_runs(line, |c| c.is_ascii_hexdigit() || c == ':' || c == '.', is_ipv6, "::");
    replace_runs(&line, |c| c.is_ascii_digit() || c == '.', is_ipv4, "0.0.0.0")
}

/// Replaces each maximal run of characters that satisfy `belongs`, if the run satisfies `is_match`.
fn replace_runs(text: &str, belongs: impl Fn(char) -> bool, is_match: impl Fn(&str) -> bool, by: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&belongs) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !belongs(c)).unwrap_or(from.len()));
        replaced.push_str(before);
        replaced.push_str(if is_match(run) { by } else { run });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}
