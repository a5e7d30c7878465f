//! Descriptions and candidates of real browsers in a `relay_only` room.

use std::collections::BTreeMap;

use serde::Deserialize;
use signalbox_proto::v1::{Room, client_message::Body as ClientBody};

use super::{create, named};
use crate::common::{
    TestServer, body,
    internals::{filter_candidate, filter_sdp},
    messages,
    native::Member,
};

/// Gathered by a browser on a network with the private addresses below, a NAT and a TURN server.
#[derive(Deserialize)]
struct Corpus {
    browser: String,
    sdp: BTreeMap<String, String>,
    candidates: Vec<String>,
}

/// Addresses of the browsers' machine and its NAT, and the domain of mDNS names.
const PRIVATE: [&str; 4] = ["10.0.5.2", "2001:db8:5::2", "203.0.113.9", ".local"];

fn corpora() -> [Corpus; 2] {
    [include_str!("../../../core/tests/relay/chromium.json"), include_str!("../../../core/tests/relay/firefox.json")]
        .map(|text| serde_json::from_str(text).expect("JSON"))
}

/// What arrives is what the relay filter makes of what was sent, and names no private address.
fn assert_filtered(what: &str, arrived: &str, filtered: &str) {
    assert_eq!(arrived, filtered, "{what}");
    for private in PRIVATE {
        assert!(!arrived.contains(private), "{what}: {private} passes in\n{arrived}");
    }
}

#[tokio::test]
async fn only_relay_addresses_pass() {
    let server = TestServer::start(&[]).await;
    let room = Room { relay_only: true, ..named("demo") };
    server.rooms().await.create_room(create(room)).await.expect("a room");
    let mut a = Member::join(&server, "demo").await;
    assert!(a.welcome().room.as_ref().unwrap().relay_only);
    let mut b = Member::join(&server, "demo").await;
    body!(a.next().await, MemberJoined);

    let mut seq = 0;
    for Corpus { browser, sdp, candidates } in corpora() {
        for (what, sdp) in &sdp {
            let what = format!("{browser} {what}");
            seq += 1;
            a.send_message(messages::numbered(seq, &b.id, messages::offer(sdp))).await;
            assert_filtered(&what, &body!(b.next().await, Offer).sdp, &filter_sdp(sdp));
            seq += 1;
            a.send_message(messages::numbered(seq, &b.id, messages::answer(sdp))).await;
            assert_filtered(&what, &body!(b.next().await, Answer).sdp, &filter_sdp(sdp));
        }
        let (mut passed, mut stopped) = (0, 0);
        for candidate in &candidates {
            seq += 1;
            let mut sent = messages::candidate(candidate);
            if let ClientBody::Candidate(candidate) = &mut sent {
                candidate.sdp_mid = Some("0".to_owned());
            }
            a.send_message(messages::numbered(seq, &b.id, sent)).await;
            if let Ok(filtered) = filter_candidate(candidate) {
                let arrived = body!(b.next().await, Candidate);
                assert_eq!(arrived.sdp_mid.as_deref(), Some("0"));
                assert_filtered(&browser, &arrived.candidate, &filtered);
                assert!(candidate.is_empty() || candidate.contains(" typ relay"), "{candidate}");
                passed += usize::from(!candidate.is_empty());
            } else {
                let undelivered = body!(a.event().await, Undelivered);
                assert_eq!((undelivered.client_seq, undelivered.reason.as_str()), (seq, "FORBIDDEN"));
                assert!(!candidate.is_empty() && !candidate.contains(" typ relay"), "{candidate}");
                stopped += 1;
            }
        }
        assert!(passed > 3 && stopped > 10, "{browser}: {passed} passed, {stopped} were stopped");
    }
    // Nothing else arrived in between, and data is the application's own.
    a.send(&b.id, messages::data("10.0.5.2")).await;
    assert_eq!(body!(b.next().await, Data).text, "10.0.5.2");
}
