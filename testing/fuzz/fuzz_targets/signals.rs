//! SDP and candidates: their limits, and the filter of `relay_only` rooms, which passes no address but those of relays.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use signalbox_fuzz::stage::{Stage, id, limits};
use signalbox_proto::{
    undelivered,
    v1::{ClientMessage, IceCandidate, SessionDescription, client_message::Body as Said, server_message::Body as Told},
};

fuzz_target!(|data: &[u8]| {
    let Some((flags, text)) = data.split_first() else { return };
    let (relay_only, text) = (flags & 1 != 0, String::from_utf8_lossy(text).into_owned());
    let limits = limits();
    let (body, most) = match flags >> 1 & 3 {
        0 => (Said::Offer(SessionDescription { sdp: text.clone() }), limits.sdp_bytes),
        1 => (Said::Answer(SessionDescription { sdp: text.clone() }), limits.sdp_bytes),
        _ => (candidate(&text), limits.candidate_bytes),
    };
    let mut stage = Stage::new(relay_only);
    let message = ClientMessage { seq: 1, to: id(1).to_string(), body: Some(body.clone()), ..ClientMessage::default() };
    let handled = stage.say(message).expect("a signal does not end a session");
    let heard = stage.hear(1);
    assert!(stage.hear(2).is_empty(), "it was for somebody else");
    if let [failed] = &handled.undelivered[..] {
        assert!(heard.is_empty());
        let expected = match failed.reason.as_str() {
            undelivered::TOO_LARGE => text.len() > most,
            // Blanks can be longer than what they stand for.
            undelivered::MAILBOX_FULL => relay_only,
            undelivered::FORBIDDEN => relay_only && matches!(body, Said::Candidate(_)),
            _ => false,
        };
        assert!(expected, "{failed:?} for {} bytes", text.len());
        return;
    }
    assert!(text.len() <= most, "{} bytes pass", text.len());
    let [heard] = &heard[..] else { panic!("one signal, not {}", heard.len()) };
    match (heard.body.as_ref().expect("a body"), body) {
        (Told::Offer(got), Said::Offer(sent)) | (Told::Answer(got), Said::Answer(sent)) => {
            if relay_only {
                check_sdp(&got.sdp);
            } else {
                assert_eq!(*got, sent);
            }
        }
        (Told::Candidate(got), Said::Candidate(sent)) => {
            if relay_only {
                check_candidate(&got.candidate);
            } else {
                assert_eq!(*got, sent);
            }
        }
        other => panic!("{other:?}"),
    }
});

fn candidate(text: &str) -> Said {
    Said::Candidate(IceCandidate { candidate: text.to_owned(), ..IceCandidate::default() })
}

/// All lines are whole, and say no address unless they are candidates of a relay.
fn check_sdp(sdp: &str) {
    assert!(sdp.is_empty() || sdp.ends_with("\r\n"));
    for line in sdp.split_terminator("\r\n") {
        assert!(!line.is_empty() && !line.contains(['\r', '\n']));
        match line.strip_prefix("a=").filter(|attribute| attribute.to_ascii_lowercase().starts_with("candidate")) {
            Some(candidate) if candidate.starts_with("candidate:") => check_candidate(candidate),
            _ => check_text(line),
        }
    }
}

/// A relay's candidate, which says the relay's address and no other.
fn check_candidate(candidate: &str) {
    if candidate.is_empty() {
        return;
    }
    let words: Vec<_> = candidate.split(' ').collect();
    assert!(words[0].starts_with("candidate:") && words[6..8] == ["typ", "relay"], "{candidate}");
    assert!(words[4].parse::<IpAddr>().is_ok(), "{candidate}");
    for (index, word) in words.iter().enumerate() {
        if index != 4 {
            check_text(word);
        }
    }
}

/// Looks for addresses in another way than the filter does: every run of characters that addresses are made of is
/// tried as one. Digits alone make runs for IPv4 only: with colons they may be a part of a fingerprint.
fn check_text(text: &str) {
    let hexadecimal = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'));
    let decimal = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let all = hexadecimal.flat_map(|run| [run, run.trim_matches(':')]).chain(decimal);
    for run in all {
        let address = run.trim_matches('.').parse::<IpAddr>();
        assert!(address.is_err() || address.is_ok_and(|ip| ip.is_unspecified()), "{run} passes in {text:?}");
    }
}
