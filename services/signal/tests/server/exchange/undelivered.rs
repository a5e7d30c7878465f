//! Messages that are not delivered, and the reason that their sender gets.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use signalbox_proto::v1::{Data, IceCandidate, MemberUpdate, Undelivered, client_message::Body as ClientBody};

use crate::common::{TestServer, body, messages, native::Member};

/// Two members; the first has received the join of the second.
async fn pair(server: &TestServer) -> (Member, Member) {
    let mut a = Member::join(server, "demo").await;
    let b = Member::join(server, "demo").await;
    assert_eq!(body!(a.next().await, MemberJoined).member.unwrap().member_id, b.id);
    (a, b)
}

async fn assert_undelivered(member: &mut Member, seq: u64, to: &str, reason: &str) -> Undelivered {
    let message = member.event().await;
    assert_eq!((message.seq, message.from.as_str()), (0, ""), "outcomes have no sequence number");
    let undelivered = body!(message, Undelivered);
    let reported = (undelivered.client_seq, undelivered.to.as_str(), undelivered.reason.as_str());
    assert_eq!(reported, (seq, to, reason));
    undelivered
}

#[tokio::test]
async fn unknown_ids_the_sender_and_members_of_other_rooms_are_no_such_member() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let mut stranger = Member::join(&server, "elsewhere").await;

    let (own, strangers) = (a.id.clone(), stranger.id.clone());
    let upper = b.id.to_uppercase();
    let unknown = [strangers.as_str(), &own, &upper, "unknown", "é", &"a".repeat(20)];
    let mut seq = 0;
    for to in unknown {
        for body in [messages::offer("o"), messages::answer("a"), messages::candidate("c"), messages::data("d")] {
            seq += 1;
            a.send_message(messages::numbered(seq, to, body)).await;
            let undelivered = assert_undelivered(&mut a, seq, to, "NO_SUCH_MEMBER").await;
            assert_eq!(undelivered.retry_after, None, "a retry does not help");
        }
    }
    a.send("unknown", messages::offer("o")).await;
    assert_undelivered(&mut a, 0, "unknown", "NO_SUCH_MEMBER").await;

    // The stream continues, and no other member got any of it.
    a.send("", messages::offer("barrier")).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "barrier");
    let neighbour = Member::join(&server, "elsewhere").await;
    assert_eq!(body!(stranger.next().await, MemberJoined).member.unwrap().member_id, neighbour.id);
}

#[tokio::test]
async fn a_member_that_left_is_no_such_member() {
    let server = TestServer::start(&[]).await;
    let (mut a, b) = pair(&server).await;
    b.send("", messages::leave()).await;
    body!(a.next().await, MemberLeft);
    a.send_message(messages::numbered(1, &b.id, messages::offer("o"))).await;
    assert_undelivered(&mut a, 1, &b.id, "NO_SUCH_MEMBER").await;
}

#[tokio::test]
async fn a_signal_without_addressee_needs_exactly_one_other_member() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut seq = 0;
    for others in [0, 2] {
        for body in [messages::offer("o"), messages::answer("a"), messages::candidate("c")] {
            seq += 1;
            a.send_message(messages::numbered(seq, "", body)).await;
            assert_undelivered(&mut a, seq, "", "TARGET_REQUIRED").await;
        }
        if others == 0 {
            // Suspended members count.
            for _ in 0..2 {
                Member::join(&server, "demo").await.disconnect();
                body!(a.event().await, MemberJoined);
                body!(a.event().await, MemberUpdated);
            }
        }
    }
}

#[tokio::test]
async fn fields_beyond_their_limits_are_too_large() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let a_of = |n: usize| "a".repeat(n);
    let update = |attributes: HashMap<String, String>| {
        ClientBody::Update(MemberUpdate { attributes, ..MemberUpdate::default() })
    };
    let mid = |n| ClientBody::Candidate(IceCandidate { sdp_mid: Some(a_of(n)), ..IceCandidate::default() });
    let ufrag = |n| ClientBody::Candidate(IceCandidate { username_fragment: Some(a_of(n)), ..IceCandidate::default() });
    type Make<'a> = Box<dyn Fn(usize) -> ClientBody + 'a>;
    let entries = |n: usize| (0..n).map(|entry| (entry.to_string(), String::new())).collect();
    let cases: [(&str, usize, Make<'_>); 11] = [
        ("offer", 64 * 1024, Box::new(|n| messages::offer(&a_of(n)))),
        ("answer", 64 * 1024, Box::new(|n| messages::answer(&a_of(n)))),
        ("candidate", 4096, Box::new(|n| messages::candidate(&a_of(n)))),
        ("sdp_mid", 256, Box::new(mid)),
        ("username_fragment", 256, Box::new(ufrag)),
        ("topic", 128, Box::new(|n| ClientBody::Data(Data { topic: a_of(n), ..Data::default() }))),
        ("display name", 256, Box::new(|n| messages::display_name(&a_of(n)))),
        // Keys and values count together.
        ("attributes", 4096, Box::new(|n| update(HashMap::from([("key".to_owned(), a_of(n - 3))])))),
        ("attribute key", 4096, Box::new(|n| update(HashMap::from([(a_of(n - 1), "b".to_owned())])))),
        ("attributes by number", 64, Box::new(|n| update(entries(n)))),
        // Bytes of UTF-8, not characters.
        ("offer in UTF-8", 64 * 1024, Box::new(|n| messages::offer(&format!("{}{}", "é".repeat(n / 2), a_of(n % 2))))),
    ];
    let mut seq = 0;
    for (name, limit, make) in cases {
        for size in [limit - 1, limit, limit + 1] {
            seq += 1;
            let is_update = matches!(make(size), ClientBody::Update(_));
            let to = if is_update { "" } else { &b.id };
            a.send_message(messages::numbered(seq, to, make(size))).await;
            if size > limit {
                assert_undelivered(&mut a, seq, to, "TOO_LARGE").await;
            } else {
                assert!(b.next().await.body.is_some(), "{name} of {size} bytes");
                a.await_ack(seq).await;
            }
        }
    }
    a.send(&b.id, messages::data("barrier")).await;
    assert_eq!(body!(b.next().await, Data).text, "barrier", "nothing that was too large was delivered");
}

#[tokio::test]
async fn messages_beyond_the_limit_are_too_large() {
    let limit = 128 * 1024;
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    for size in [limit - 1, limit, limit + 1] {
        let of = |payload: usize| {
            let data = Data { payload: vec![7; payload].into(), ..Data::default() };
            messages::unnumbered(&b.id, ClientBody::Data(data))
        };
        let overhead = of(limit).encoded_len() - limit;
        let message = of(size - overhead);
        assert_eq!(message.encoded_len(), size);
        a.send_message(message).await;
        if size > limit {
            assert_undelivered(&mut a, 0, &b.id, "TOO_LARGE").await;
        } else {
            assert_eq!(body!(b.next().await, Data).payload.len(), size - overhead);
        }
    }
}

#[tokio::test]
async fn signals_beyond_the_rate_are_refused_until_retry_after() {
    // So slow that the burst ends long before the next signal is allowed.
    let server = TestServer::start(&["--signal-burst", "3", "--max-signals-per-second", "2"]).await;
    let (mut a, mut b) = pair(&server).await;
    for seq in 1..=5 {
        a.send_message(messages::numbered(seq, "", messages::offer(&seq.to_string()))).await;
    }
    // Other messages do not count.
    a.send_message(messages::numbered(6, "", messages::heartbeat())).await;
    assert_undelivered(&mut a, 4, "", "RATE_LIMITED").await;
    let undelivered = assert_undelivered(&mut a, 5, "", "RATE_LIMITED").await;
    a.await_ack(6).await;
    let retry_after = Duration::try_from(undelivered.retry_after.expect("it has retry_after")).unwrap();
    assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_millis(500), "{retry_after:?}");

    // The sleep is the promise: a signal sent after that time is delivered.
    tokio::time::sleep(retry_after).await;
    a.send_message(messages::numbered(7, "", messages::offer("7"))).await;
    // Updates count, and each session has its own rate limit.
    a.send_message(messages::numbered(8, "", messages::display_name("Ann"))).await;
    for text in ["1", "2", "3", "7"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
    assert_undelivered(&mut a, 8, "", "RATE_LIMITED").await;
    b.send("", messages::offer("mine")).await;
    assert_eq!(body!(a.event().await, Offer).sdp, "mine");
}

#[tokio::test]
async fn a_full_mailbox_of_a_suspended_member_refuses_signals_and_keeps_the_rest() {
    let server = TestServer::start(&["--mailbox-entries", "3"]).await;
    let (mut a, b) = pair(&server).await;
    let b = b.disconnect();
    body!(a.next().await, MemberUpdated);

    for seq in 1..=5 {
        a.send_message(messages::numbered(seq, &b.id, messages::offer(&seq.to_string()))).await;
    }
    for seq in 4..=5 {
        assert_undelivered(&mut a, seq, &b.id, "MAILBOX_FULL").await;
    }
    // Data to all reports the members that did not get it; the others did.
    let mut c = Member::join(&server, "demo").await;
    body!(a.event().await, MemberJoined);
    a.send_message(messages::numbered(6, "", messages::data("all"))).await;
    assert_undelivered(&mut a, 6, &b.id, "MAILBOX_FULL").await;
    assert_eq!(body!(c.next().await, Data).text, "all");

    let mut b = Member::resume(&server, &b).await;
    for text in ["1", "2", "3"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
    body!(b.next().await, MemberJoined);
    body!(a.event().await, MemberUpdated);
    a.send_message(messages::numbered(7, &b.id, messages::offer("7"))).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "7", "the mailbox has space again");
}
