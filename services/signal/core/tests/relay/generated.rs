//! Property tests of the relay filter, with addresses in every position of generated SDP and candidates.

use proptest::prelude::*;
use signalbox_core::relay::{filter_candidate, filter_sdp};

/// Generates an address in one of its text forms.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 3]>().prop_map(|[b, c, d]| format!("10.{b}.{c}.{d}")),
        any::<[u8; 3]>().prop_map(|[b, c, d]| format!("::ffff:10.{b}.{c}.{d}")),
        any::<[u16; 6]>().prop_map(|[a, b, c, d, e, f]| format!("fd00:{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:1")),
        any::<[u16; 2]>().prop_map(|[a, b]| format!("fe80::{a:x}:{b:x}")),
        any::<[u16; 2]>().prop_map(|[a, b]| format!("FE80::{a:X}:{b:X}")),
        any::<[u8; 2]>().prop_map(|[c, d]| format!("2001:db8:1:2:3:4:192.168.{c}.{d}")),
    ]
}

/// Generates an SDP line that contains the address, in a position that RFC 8866, RFC 8839, RFC 3605 or RFC 4570 allows,
/// or in an invalid one.
fn line(address: &str) -> impl Strategy<Value = String> + use<> {
    let family = if address.contains(':') { "IP6" } else { "IP4" };
    let places = [
        format!("o=- 1 2 IN {family} {address}"),
        format!("o={address} 1 2 IN {family} {address}"),
        format!("o=- {address}"),
        format!("c=IN {family} {address}"),
        format!("c=IN {family} {address}/127"),
        format!("c={address}"),
        format!("m=audio 4000 RTP/AVP 0 {address}"),
        format!("m=audio {address}"),
        format!("a=rtcp:4001 IN {family} {address}"),
        format!("a=candidate:1 1 udp 1 {address} 4000 typ host"),
        format!("a=candidate:1 1 udp 1 {address} 4000 typ srflx raddr {address} rport 4000"),
        format!("a=candidate:1 1 udp 1 198.51.100.7 4000 typ relay raddr {address} rport 4000"),
        format!("a=candidate:1 1 udp 1 198.51.100.7 4000 typ relay x {address} ufrag {address}"),
        format!("a=candidate:{address} 1 udp 1 198.51.100.7 4000 typ relay"),
        format!("A=CANDIDATE:1 1 udp 1 {address} 4000 typ host"),
        format!("a=Candidate:1 1 udp 1 {address} 4000 typ host"),
        format!("a=remote-candidates:1 {address} 4000"),
        format!("a=source-filter: incl IN {family} * {address}"),
        format!("a=ssrc:1 cname:user@{address}"),
        format!("a=ssrc:1 cname:{address}"),
        format!("a=x-host:{address}"),
        format!("a=x-host:[{address}]:4000"),
        format!("a=x {address}, {address};{address}"),
        format!("u=http://{address}/"),
        format!("u=http://[{address}]:4000/"),
        format!("s={address}"),
        format!("i=({address})"),
        format!("b={address}."),
        format!("k=clear:{address}"),
        address.to_owned(),
        format!("={address}"),
        format!("{address}={address}"),
    ];
    prop::sample::select(places.to_vec())
}

/// Generates a candidate in the form of RFC 8839, in which a few words are wrong.
fn candidate() -> impl Strategy<Value = String> {
    let word = |right: &[&'static str]| {
        let odd = ["", "typ", "relay", "host", "0", "-1", "RELAY", "x"];
        prop_oneof![12 => prop::sample::select(right.to_vec()), 1 => prop::sample::select(odd.to_vec())]
    };
    let start = (word(&["1", "a+/"]), word(&["1", "2"]), word(&["udp", "tcp", "UDP"]), word(&["1", "2122260223"]));
    let address = (word(&["192.0.2.1", "2001:db8::1", "a.local", "turn.example"]), word(&["9", "50000"]));
    let kind = (word(&["typ"]), word(&["relay", "host", "srflx", "prflx"]));
    let end = word(&["", "raddr 192.0.2.9 rport 9", "generation 0 typ relay", "ufrag x network-id 1", "typ host"]);
    (start, address, kind, end)
        .prop_map(|((a, b, c, d), (e, f), (g, h), i)| format!("{a} {b} {c} {d} {e} {f} {g} {h} {i}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_address_gets_through_wherever_it_stands(
        said in prop::collection::vec(address().prop_flat_map(|a| (Just(a.clone()), line(&a))), 1..8),
        end in prop::sample::select(vec!["\r\n", "\n", "\r", "\n\n"]),
    ) {
        let sdp: String = said.iter().map(|(_, line)| format!("{line}{end}")).collect();
        let filtered = filter_sdp(&sdp);
        for (address, line) in &said {
            prop_assert!(!filtered.contains(address.as_str()), "{} of {:?} is in {:?}", address, line, filtered);
            // If the filter blanks only the IPv6 part of a mixed address, its IPv4 part must not remain either.
            let tail = address.rsplit([':']).next().filter(|tail| tail.matches('.').count() == 3);
            let is_gone = tail.is_none_or(|tail| !filtered.contains(tail));
            prop_assert!(is_gone, "{:?} of {:?} is in {:?}", tail, line, filtered);
        }
    }

    #[test]
    fn whatever_is_written_only_relay_candidates_are_left(
        text in prop_oneof![9 => candidate(), 1 => "\\PC{0,200}"],
        around in any::<String>(),
    ) {
        let said = format!("candidate:{text}");
        // The seventh and eighth words are the type. Only relay candidates may pass, and they keep their type.
        let is_relay = |candidate: &str| candidate.split_ascii_whitespace().skip(6).take(2).eq(["typ", "relay"]);
        if let Ok(candidate) = filter_candidate(&said) {
            prop_assert!(is_relay(&said) && is_relay(&candidate), "{:?} of {:?}", candidate, said);
        }
        let filtered = filter_sdp(&format!("{around}\r\na={said}\r\n{around}"));
        for line in filtered.split("\r\n").filter(|line| line.starts_with("a=candidate:")) {
            prop_assert!(is_relay(&said) && is_relay(line), "{:?} of {:?}", line, said);
        }
    }
}
