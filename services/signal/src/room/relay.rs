//! What a `relay_only` room lets through: relay candidates, without the address that they stand for, and SDP without
//! any other address (RFC 8828 says why somebody may want that).
//!
//! SDP is a sequence of lines (RFC 8866, section 5), so it is filtered line by line. What is not understood is dropped
//! or blanked, never passed on.

use std::{fmt::Write, net::IpAddr};

use signalbox_proto::v1::{IceCandidate, SessionDescription, server_message::Body};

/// The port of what is blanked (RFC 8839, section 4.3.1: no default destination is known yet).
const DISCARD_PORT: &str = "9";
/// Extensions of a candidate (RFC 8839, section 5.1) that say nothing about addresses; the others are left out.
const EXTENSIONS: [&str; 5] = ["generation", "network-cost", "network-id", "tcptype", "ufrag"];

/// The candidate is not one of a relay.
#[derive(Debug, PartialEq, Eq)]
pub struct NotRelay;

/// Makes a signal fit for a `relay_only` room.
pub(super) fn filter(signal: Body) -> Result<Body, NotRelay> {
    Ok(match signal {
        Body::Offer(offer) => Body::Offer(SessionDescription { sdp: filter_sdp(&offer.sdp) }),
        Body::Answer(answer) => Body::Answer(SessionDescription { sdp: filter_sdp(&answer.sdp) }),
        Body::Candidate(candidate) => {
            Body::Candidate(IceCandidate { candidate: filter_candidate(&candidate.candidate)?, ..candidate })
        }
        other => other,
    })
}

/// A candidate-attribute (RFC 8839, section 5.1) of a relay, with a blank related address. The end of candidates
/// passes.
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
        // Writing to a string cannot fail.
        let _ = write!(filtered, " {name} {kept}");
    }
    Ok(filtered)
}

/// Letters, digits, `+`, `/` and `-`: the characters of tokens (RFC 8839, `ice-char`) that cannot make an address.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-".contains(&b))
}

/// SDP in which only relay candidates are left, and every other address is blank. Lines end with CRLF afterwards, as
/// they should have before.
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

/// What is left of a line; `None`: nothing.
fn filter_line(line: &str) -> Option<String> {
    let (field, value) = line.split_once('=').unwrap_or((line, ""));
    let (attribute, rest) = value.split_once(':').unwrap_or((value, ""));
    // Attributes are case-sensitive (RFC 8866, section 6), but a reader may be lenient.
    match (field, attribute.to_ascii_lowercase().as_str()) {
        ("a", "candidate") => filter_candidate(&format!("candidate:{rest}")).ok().map(|kept| format!("a={kept}")),
        // Addresses are all that these say (RFC 8839, section 5.2; RFC 4570).
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
            // Port 0 says that the medium is off.
            let port = if port == "0" { port } else { DISCARD_PORT };
            Some(scrub(&format!("m={media} {port} {rest}")))
        }
        _ => Some(scrub(line)),
    }
}

/// Blanks what looks like an address, wherever it stands: four numbers with dots, or as many colons as only IPv6
/// addresses have (a fingerprint has more). Version numbers may be hit; nothing depends on them.
fn scrub(line: &str) -> String {
    let is_ipv6 = |run: &str| run.contains("::") || (6..=9).contains(&run.matches(':').count());
    let is_ipv4 = |run: &str| run.split('.').filter(|part| !part.is_empty()).count() >= 4;
    let line = replace_runs(line, |c| c.is_ascii_hexdigit() || c == ':' || c == '.', is_ipv6, "::");
    replace_runs(&line, |c| c.is_ascii_digit() || c == '.', is_ipv4, "0.0.0.0")
}

/// Replaces the longest runs of such characters that are what is sought.
fn replace_runs(text: &str, belongs: impl Fn(char) -> bool, sought: impl Fn(&str) -> bool, by: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&belongs) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !belongs(c)).unwrap_or(from.len()));
        replaced.push_str(before);
        replaced.push_str(if sought(run) { by } else { run });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}
