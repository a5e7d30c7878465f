//! A member that stopped reading: bounded, found and ended, while the others go on.

use std::collections::BTreeSet;

use signalbox_proto::v1::{Action, LeaveReason, server_message::Body};
use tonic::Code;

use crate::common::{TestServer, assert_error, body, native::Member, say};

#[tokio::test]
async fn a_member_that_does_not_read_is_ended_and_both_sides_are_told() {
    let server = TestServer::start(&["--stall-timeout", "5s"]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut slow = Member::join(&server, "demo").await;
    let mut c = Member::join(&server, "demo").await;
    body!(a.next().await, MemberJoined);
    body!(a.next().await, MemberJoined);
    body!(slow.next().await, MemberJoined);

    // 5 MB: the 2 MB that a client's own windows take, the mailbox, and more. Between them something for a bystander.
    let large = "x".repeat(63 * 1024);
    let offers = || (1..160).step_by(2);
    for seq in offers() {
        a.send(say::numbered(seq, &slow.id, say::offer(&format!("{seq} {large}")))).await;
        a.send(say::numbered(seq + 1, &c.id, say::data(&seq.to_string()))).await;
        assert_eq!(body!(c.event().await, Data).text, seq.to_string(), "bystanders are served, at once and in order");
    }
    let mut refused = BTreeSet::new();
    let left = loop {
        match a.event().await.body {
            Some(Body::Undelivered(undelivered)) => {
                assert_eq!((&undelivered.to, undelivered.reason.as_str()), (&slow.id, "MAILBOX_FULL"));
                refused.insert(undelivered.client_seq);
            }
            Some(Body::MemberLeft(left)) => break left,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert!(!refused.is_empty(), "5 MB were kept for one who does not read");
    assert_eq!((&left.member_id, left.reason()), (&slow.id, LeaveReason::SlowConsumer));
    assert_eq!(body!(c.event().await, MemberLeft), left);
    a.send(say::numbered(161, &c.id, say::data("afterwards, too"))).await;
    assert_eq!(body!(c.event().await, Data).text, "afterwards, too");
    a.await_ack(161).await;
    let gone = Member::try_resume(server.addr, &slow.ticket()).await.err().expect("its session is over");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");

    // When it reads again it finds a prefix of what was accepted, and why there is no more.
    let accepted = offers().filter(|seq| !refused.contains(seq));
    let mut accepted = accepted.map(|seq: u64| seq.to_string());
    let go_away = loop {
        match slow.next().await.body {
            Some(Body::Offer(offer)) => assert_eq!(offer.sdp.split(' ').next(), accepted.next().as_deref()),
            Some(Body::GoAway(go_away)) => break go_away,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("SLOW_CONSUMER", Action::Rejoin));
    assert_error(&slow.end().await.unwrap_err(), Code::ResourceExhausted, "SLOW_CONSUMER");
}
