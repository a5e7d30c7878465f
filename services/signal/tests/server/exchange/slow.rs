//! A member that stops reading: its session ends, and the others are not affected.

use std::collections::BTreeSet;

use signalbox_proto::v1::{Action, LeaveReason, server_message::Body as ServerBody};
use tonic::Code;

use crate::common::{TestServer, assert_error, body, messages, native::Member};

#[tokio::test]
async fn a_member_that_stops_reading_ends_as_slow_consumer() {
    let server = TestServer::start(&["--stall-timeout", "5s"]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut slow = Member::join(&server, "demo").await;
    let mut c = Member::join(&server, "demo").await;
    body!(a.next().await, MemberJoined);
    body!(a.next().await, MemberJoined);
    body!(slow.next().await, MemberJoined);

    // 5 MB: more than the 2 MB of the client's windows and the mailbox. In between, messages for a bystander.
    let large = "x".repeat(63 * 1024);
    let offers = || (1..160).step_by(2);
    for seq in offers() {
        a.send_message(messages::numbered(seq, &slow.id, messages::offer(&format!("{seq} {large}")))).await;
        a.send_message(messages::numbered(seq + 1, &c.id, messages::data(&seq.to_string()))).await;
        assert_eq!(body!(c.event().await, Data).text, seq.to_string(), "bystanders are served in order");
    }
    let mut refused = BTreeSet::new();
    let left = loop {
        match a.event().await.body {
            Some(ServerBody::Undelivered(undelivered)) => {
                assert_eq!((&undelivered.to, undelivered.reason.as_str()), (&slow.id, "MAILBOX_FULL"));
                refused.insert(undelivered.client_seq);
            }
            Some(ServerBody::MemberLeft(left)) => break left,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert!(!refused.is_empty(), "5 MB were kept for a member that does not read");
    assert_eq!((&left.member_id, left.reason()), (&slow.id, LeaveReason::SlowConsumer));
    assert_eq!(body!(c.event().await, MemberLeft), left);
    a.send_message(messages::numbered(161, &c.id, messages::data("afterwards, too"))).await;
    assert_eq!(body!(c.event().await, Data).text, "afterwards, too");
    a.await_ack(161).await;
    let gone = Member::try_resume(server.addr, &slow.ticket()).await.err().expect("its session is over");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");

    // When it reads again, it gets a prefix of the accepted offers and the reason of the end.
    let accepted = offers().filter(|seq| !refused.contains(seq));
    let mut accepted = accepted.map(|seq: u64| seq.to_string());
    let go_away = loop {
        match slow.next().await.body {
            Some(ServerBody::Offer(offer)) => assert_eq!(offer.sdp.split(' ').next(), accepted.next().as_deref()),
            Some(ServerBody::GoAway(go_away)) => break go_away,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("SLOW_CONSUMER", Action::Rejoin));
    assert_error(&slow.end().await.unwrap_err(), Code::ResourceExhausted, "SLOW_CONSUMER");
}
