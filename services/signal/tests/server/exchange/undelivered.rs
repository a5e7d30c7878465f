//! What is handled and not delivered, and the reason that the sender is told.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use signalbox_proto::v1::{Data, IceCandidate, MemberUpdate, Undelivered, client_message::Body as Said};

use crate::common::{TestServer, body, native::Member, say};

/// Two members who have seen each other join.
async fn pair(server: &TestServer) -> (Member, Member) {
    let mut a = Member::join(server, "demo").await;
    let b = Member::join(server, "demo").await;
    assert_eq!(body!(a.next().await, MemberJoined).member.unwrap().member_id, b.id);
    (a, b)
}

async fn assert_undelivered(member: &mut Member, seq: u64, to: &str, reason: &str) -> Undelivered {
    let message = member.event().await;
    assert_eq!((message.seq, message.from.as_str()), (0, ""), "outcomes are not part of the log");
    let undelivered = body!(message, Undelivered);
    let told = (undelivered.client_seq, undelivered.to.as_str(), undelivered.reason.as_str());
    assert_eq!(told, (seq, to, reason));
    undelivered
}

#[tokio::test]
async fn nobody_oneself_and_members_of_other_rooms_are_no_such_member() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let mut stranger = Member::join(&server, "elsewhere").await;

    let (own, strangers) = (a.id.clone(), stranger.id.clone());
    let upper = b.id.to_uppercase();
    let nobodies = [strangers.as_str(), &own, &upper, "nobody", "é", &"a".repeat(20)];
    let mut seq = 0;
    for to in nobodies {
        for said in [say::offer("o"), say::answer("a"), say::candidate("c"), say::data("d")] {
            seq += 1;
            a.send(say::numbered(seq, to, said)).await;
            let undelivered = assert_undelivered(&mut a, seq, to, "NO_SUCH_MEMBER").await;
            assert_eq!(undelivered.retry_after, None, "trying again does not help");
        }
    }
    a.say("nobody", say::offer("o")).await;
    assert_undelivered(&mut a, 0, "nobody", "NO_SUCH_MEMBER").await;

    // The stream lives, and nobody else got any of it.
    a.say("", say::offer("barrier")).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "barrier");
    let neighbour = Member::join(&server, "elsewhere").await;
    assert_eq!(body!(stranger.next().await, MemberJoined).member.unwrap().member_id, neighbour.id);
}

#[tokio::test]
async fn a_member_that_left_is_no_such_member() {
    let server = TestServer::start(&[]).await;
    let (mut a, b) = pair(&server).await;
    b.say("", say::leave()).await;
    body!(a.next().await, MemberLeft);
    a.send(say::numbered(1, &b.id, say::offer("o"))).await;
    assert_undelivered(&mut a, 1, &b.id, "NO_SUCH_MEMBER").await;
}

#[tokio::test]
async fn a_signal_without_addressee_needs_exactly_one_other() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut seq = 0;
    for others in [0, 2] {
        for said in [say::offer("o"), say::answer("a"), say::candidate("c")] {
            seq += 1;
            a.send(say::numbered(seq, "", said)).await;
            assert_undelivered(&mut a, seq, "", "TARGET_REQUIRED").await;
        }
        if others == 0 {
            // Dropped streams keep their members in the room.
            for _ in 0..2 {
                Member::join(&server, "demo").await.lose();
                body!(a.event().await, MemberJoined);
                body!(a.event().await, MemberUpdated);
            }
        }
    }
}

#[tokio::test]
async fn each_field_is_refused_from_one_over_its_limit() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let a_of = |n: usize| "a".repeat(n);
    let update =
        |attributes: HashMap<String, String>| Said::Update(MemberUpdate { attributes, ..MemberUpdate::default() });
    let mid = |n| Said::Candidate(IceCandidate { sdp_mid: Some(a_of(n)), ..IceCandidate::default() });
    let ufrag = |n| Said::Candidate(IceCandidate { username_fragment: Some(a_of(n)), ..IceCandidate::default() });
    type Make<'a> = Box<dyn Fn(usize) -> Said + 'a>;
    let entries = |n: usize| (0..n).map(|entry| (entry.to_string(), String::new())).collect();
    let cases: [(&str, usize, Make<'_>); 11] = [
        ("offer", 64 * 1024, Box::new(|n| say::offer(&a_of(n)))),
        ("answer", 64 * 1024, Box::new(|n| say::answer(&a_of(n)))),
        ("candidate", 4096, Box::new(|n| say::candidate(&a_of(n)))),
        ("sdp_mid", 256, Box::new(mid)),
        ("username_fragment", 256, Box::new(ufrag)),
        ("topic", 128, Box::new(|n| Said::Data(Data { topic: a_of(n), ..Data::default() }))),
        ("display name", 256, Box::new(|n| say::display_name(&a_of(n)))),
        // Keys and values count together.
        ("attributes", 4096, Box::new(|n| update(HashMap::from([("key".to_owned(), a_of(n - 3))])))),
        ("attribute key", 4096, Box::new(|n| update(HashMap::from([(a_of(n - 1), "b".to_owned())])))),
        ("attributes by number", 64, Box::new(|n| update(entries(n)))),
        // Bytes of UTF-8, not characters.
        ("offer in UTF-8", 64 * 1024, Box::new(|n| say::offer(&format!("{}{}", "é".repeat(n / 2), a_of(n % 2))))),
    ];
    let mut seq = 0;
    for (name, limit, make) in cases {
        for size in [limit - 1, limit, limit + 1] {
            seq += 1;
            let is_update = matches!(make(size), Said::Update(_));
            let to = if is_update { "" } else { &b.id };
            a.send(say::numbered(seq, to, make(size))).await;
            if size > limit {
                assert_undelivered(&mut a, seq, to, "TOO_LARGE").await;
            } else {
                assert!(b.next().await.body.is_some(), "{name} of {size} bytes");
                a.await_ack(seq).await;
            }
        }
    }
    a.say(&b.id, say::data("barrier")).await;
    assert_eq!(body!(b.next().await, Data).text, "barrier", "what was too large was not relayed");
}

#[tokio::test]
async fn a_message_is_refused_from_one_byte_over_its_limit() {
    let limit = 128 * 1024;
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    for size in [limit - 1, limit, limit + 1] {
        let of = |payload: usize| {
            let data = Data { payload: vec![7; payload].into(), ..Data::default() };
            say::unnumbered(&b.id, Said::Data(data))
        };
        let around = of(limit).encoded_len() - limit;
        let message = of(size - around);
        assert_eq!(message.encoded_len(), size);
        a.send(message).await;
        if size > limit {
            assert_undelivered(&mut a, 0, &b.id, "TOO_LARGE").await;
        } else {
            assert_eq!(body!(b.next().await, Data).payload.len(), size - around);
        }
    }
}

#[tokio::test]
async fn too_many_signals_are_refused_until_the_time_that_is_told() {
    // Slow enough that the burst is over long before the next signal is allowed.
    let server = TestServer::start(&["--signal-burst", "3", "--max-signals-per-second", "2"]).await;
    let (mut a, mut b) = pair(&server).await;
    for seq in 1..=5 {
        a.send(say::numbered(seq, "", say::offer(&seq.to_string()))).await;
    }
    // What is no signal costs nothing.
    a.send(say::numbered(6, "", say::heartbeat())).await;
    assert_undelivered(&mut a, 4, "", "RATE_LIMITED").await;
    let undelivered = assert_undelivered(&mut a, 5, "", "RATE_LIMITED").await;
    a.await_ack(6).await;
    let retry_after = Duration::try_from(undelivered.retry_after.expect("when to go on")).unwrap();
    assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_millis(500), "{retry_after:?}");

    // This sleep is the promise itself: what is sent after the time that was told is delivered.
    tokio::time::sleep(retry_after).await;
    a.send(say::numbered(7, "", say::offer("7"))).await;
    // Updates are signals, and each session has a bucket of its own.
    a.send(say::numbered(8, "", say::display_name("Ann"))).await;
    for text in ["1", "2", "3", "7"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
    assert_undelivered(&mut a, 8, "", "RATE_LIMITED").await;
    b.say("", say::offer("mine")).await;
    assert_eq!(body!(a.event().await, Offer).sdp, "mine");
}

#[tokio::test]
async fn what_a_suspended_member_has_no_room_for_is_undelivered_and_the_rest_waits_for_it() {
    let server = TestServer::start(&["--mailbox-entries", "3"]).await;
    let (mut a, b) = pair(&server).await;
    let b = b.lose();
    body!(a.next().await, MemberUpdated);

    for seq in 1..=5 {
        a.send(say::numbered(seq, &b.id, say::offer(&seq.to_string()))).await;
    }
    for seq in 4..=5 {
        assert_undelivered(&mut a, seq, &b.id, "MAILBOX_FULL").await;
    }
    // Of data to all, it is told who did not get it; the others did.
    let mut c = Member::join(&server, "demo").await;
    body!(a.event().await, MemberJoined);
    a.send(say::numbered(6, "", say::data("all"))).await;
    assert_undelivered(&mut a, 6, &b.id, "MAILBOX_FULL").await;
    assert_eq!(body!(c.next().await, Data).text, "all");

    let mut b = Member::resume(&server, &b).await;
    for text in ["1", "2", "3"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
    body!(b.next().await, MemberJoined);
    body!(a.event().await, MemberUpdated);
    a.send(say::numbered(7, &b.id, say::offer("7"))).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "7", "there is room again");
}
