//! Tests the filter of `relay_only` rooms with SDP and candidates of real browsers.
//!
//! chromium.json and firefox.json come from browsers behind a NAT, with a private IPv4 address, an IPv6 address and a
//! TURN server. They contain offers before and after gathering, and answers, with all or only relay candidates, with
//! and without mDNS names.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod generated;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use signalbox_core::relay::{NotRelay, filter_candidate, filter_sdp};

/// What the filter must hide: the browsers' private IPv4 and IPv6 addresses, the NAT's public address, and mDNS names.
const PRIVATE: [&str; 4] = ["10.0.5.2", "2001:db8:5::2", "203.0.113.9", ".local"];
/// The address of the TURN server, which peers may learn.
const RELAY: &str = "198.51.100.7";

/// SDP and candidates of one browser.
#[derive(Deserialize)]
struct Corpus {
    browser: String,
    sdp: BTreeMap<String, String>,
    candidates: Vec<String>,
}

fn corpora() -> [Corpus; 2] {
    [include_str!("chromium.json"), include_str!("firefox.json")].map(|text| serde_json::from_str(text).expect("JSON"))
}

fn lines(sdp: &str) -> Vec<&str> {
    sdp.split("\r\n").filter(|line| !line.is_empty()).collect()
}

fn is_relay(candidate: &str) -> bool {
    candidate.contains(" typ relay")
}

/// Checks that filtered SDP hides private addresses, keeps all relay candidates, and leaves the other lines unchanged.
fn check_sdp(what: &str, before: &str, after: &str) {
    for private in PRIVATE {
        assert!(!after.contains(private), "{what}: {private} got through:\n{after}");
    }
    let (before, after) = (lines(before), lines(after));
    let relays = |lines: &[&str]| lines.iter().filter(|line| is_relay(line)).count();
    assert_eq!(relays(&before), relays(&after), "{what}: relay candidates are kept");
    let may_change = ["o=", "c=", "m=", "a=rtcp:", "a=candidate:"];
    let others = |lines: &[&str]| -> Vec<String> {
        let kept = lines.iter().filter(|line| !may_change.iter().any(|start| line.starts_with(start)));
        kept.map(|line| (*line).to_owned()).collect()
    };
    assert_eq!(others(&before), others(&after), "{what}: the other lines are as they were, in their order");
    for line in after {
        match line.split_at(2) {
            ("c=", _) => assert!(["c=IN IP4 0.0.0.0", "c=IN IP6 ::"].contains(&line), "{line}"),
            ("o=", _) => assert!(line.ends_with(" IN IP4 0.0.0.0") && line.split(' ').count() == 6, "{line}"),
            ("m=", media) => assert!(["0", "9"].contains(&media.split(' ').nth(1).unwrap()), "{line}"),
            _ if line.starts_with("a=rtcp:") => assert_eq!(line, "a=rtcp:9 IN IP4 0.0.0.0"),
            _ if line.starts_with("a=candidate:") => check_candidate(&line[2..]),
            _ => {}
        }
    }
}

fn check_candidate(candidate: &str) {
    let words: Vec<_> = candidate.split(' ').collect();
    assert_eq!((words[4], words[6], words[7]), (RELAY, "typ", "relay"), "{candidate}");
    let of = |name: &str| words.iter().position(|word| *word == name).map(|at| words[at + 1]);
    assert!(["0.0.0.0", "::"].contains(&of("raddr").unwrap()), "{candidate}");
    assert_eq!(of("rport"), Some("9"), "{candidate}");
}

#[test]
fn the_corpus_has_what_must_not_get_through() {
    for Corpus { browser, sdp, candidates } in corpora() {
        let all: String = sdp.values().chain(&candidates).map(String::as_str).collect::<Vec<_>>().join("\n");
        let found: BTreeSet<_> = PRIVATE.into_iter().filter(|private| all.contains(private)).collect();
        assert!(found.len() >= 3 && all.contains(RELAY), "{browser}: {found:?}");
        for part in [
            "a=rtcp:",
            "a=candidate:",
            "c=IN IP4 10.0.5.2",
            " typ host",
            " typ srflx",
            " typ relay",
            " typ host tcptype",
        ] {
            assert!(all.contains(part), "{browser} has no {part}");
        }
    }
}

#[test]
fn filtering_again_changes_nothing() {
    for corpus in corpora() {
        for sdp in corpus.sdp.values() {
            let once = filter_sdp(sdp);
            assert_eq!(filter_sdp(&once), once);
        }
        for candidate in corpus.candidates.iter().filter(|candidate| is_relay(candidate)) {
            let once = filter_candidate(candidate).unwrap();
            assert_eq!(filter_candidate(&once).unwrap(), once);
        }
    }
}

#[test]
fn filtered_corpora_hold_relay_addresses_only() {
    for Corpus { browser, sdp, candidates } in corpora() {
        for (what, sdp) in &sdp {
            check_sdp(&format!("{browser} {what}"), sdp, &filter_sdp(sdp));
        }
        let (mut passed, mut stopped) = (0, 0);
        for candidate in candidates.iter().filter(|candidate| !candidate.is_empty()) {
            match filter_candidate(candidate) {
                Ok(filtered) => {
                    assert!(is_relay(candidate), "{candidate}");
                    check_candidate(&filtered);
                    passed += 1;
                }
                Err(NotRelay) => {
                    assert!(!is_relay(candidate), "{candidate}");
                    stopped += 1;
                }
            }
        }
        assert!(passed > 3 && stopped > 10, "{browser}: {passed} passed, {stopped} were stopped");
    }
}

#[test]
fn a_relay_candidate_keeps_what_others_need() {
    for (candidate, filtered) in [
        (
            "candidate:4173025719 1 udp 58662911 198.51.100.7 49274 typ relay raddr 2001:db8:5::2 rport 54638 generation 0 ufrag dMLr network-id 2",
            "candidate:4173025719 1 udp 58662911 198.51.100.7 49274 typ relay raddr :: rport 9 generation 0 ufrag dMLr network-id 2",
        ),
        (
            "candidate:5 2 UDP 92216574 2001:DB8:77::7 49276 typ relay raddr 10.0.5.2 rport 49276",
            "candidate:5 2 UDP 92216574 2001:db8:77::7 49276 typ relay raddr 0.0.0.0 rport 9",
        ),
        (
            "a=candidate:1 1 tcp 1 198.51.100.7 9 typ relay tcptype passive",
            "candidate:1 1 tcp 1 198.51.100.7 9 typ relay tcptype passive",
        ),
        (
            "candidate:1 1 udp 1 198.51.100.7 9 typ relay  x-at 10.0.5.2 ufrag a.b raddr",
            "candidate:1 1 udp 1 198.51.100.7 9 typ relay",
        ),
        ("", ""),
    ] {
        assert_eq!(filter_candidate(candidate).as_deref(), Ok(filtered));
    }
}

#[test]
fn what_is_not_a_relay_candidate_is_none() {
    for candidate in [
        "candidate:1 1 udp 1 10.0.5.2 9 typ host",
        "candidate:1 1 udp 1 203.0.113.9 9 typ srflx raddr 10.0.5.2 rport 9",
        "candidate:1 1 udp 1 203.0.113.9 9 typ prflx raddr 10.0.5.2 rport 9",
        // The type must be the eighth word, in lower case.
        "candidate:1 1 udp 1 10.0.5.2 9 typ host typ relay",
        "candidate:1 1 udp 1 10.0.5.2 9 typ RELAY",
        "candidate:1 1 udp 1 10.0.5.2 9 typ",
        "candidate:1 1 udp 1 10.0.5.2 9",
        "candidate:1 1 udp 1 turn.example 9 typ relay",
        "candidate:1 1 udp 1 198.51.100.7 9 typ relayed",
        "candidate:1.1.1.1 1 udp 1 198.51.100.7 9 typ relay",
        "candidate:1 1 10.0.5.2 1 198.51.100.7 9 typ relay",
        "candidate:1 1 udp 1 198.51.100.7 10.0.5.2 typ relay",
        "candidate:1 1 udp 1 198.51.100.7 9\r\na=x typ relay",
        "candidate:1\t1 udp 1 198.51.100.7 9 typ relay",
        " candidate:1 1 udp 1 198.51.100.7 9 typ relay",
        "Candidate:1 1 udp 1 198.51.100.7 9 typ relay",
        "1 1 udp 1 198.51.100.7 9 typ relay",
        "end-of-candidates",
        " ",
    ] {
        assert_eq!(filter_candidate(candidate), Err(NotRelay), "{candidate:?}");
    }
}
