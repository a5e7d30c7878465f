//! Sequence numbers of clients: acknowledged, handled once, without gaps.

use signalbox_proto::v1::{
    Action, ClientMessage, client_message::Body as ClientBody, server_message::Body as ServerBody,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::common::{TestServer, assert_error, body, messages, native::Member};

async fn pair(server: &TestServer) -> (Member, Member) {
    let mut a = Member::join(server, "demo").await;
    let b = Member::join(server, "demo").await;
    body!(a.next().await, MemberJoined);
    (a, b)
}

#[tokio::test]
async fn numbered_messages_of_each_kind_are_acknowledged() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let report = ClientBody::Report(signalbox_proto::v1::ConnectionReport { peer: b.id.clone(), ..Default::default() });
    let bodies = [
        messages::offer("o"),
        messages::answer("a"),
        messages::candidate(""),
        messages::data("d"),
        messages::display_name("Ann"),
        messages::heartbeat(),
        report,
    ];
    let count = bodies.len() as u64;
    for (seq, body) in (1..).zip(bodies) {
        // Awaited one by one, so that no ack covers two.
        a.send_message(messages::numbered(seq, "", body)).await;
        a.await_ack(seq).await;
    }
    for _ in 0..5 {
        assert!(b.next().await.body.is_some());
    }
    // Heartbeats and reports are not relayed.
    a.send_message(messages::numbered(count + 1, "", messages::data("barrier"))).await;
    assert_eq!(body!(b.next().await, Data).text, "barrier");
}

#[tokio::test]
async fn a_burst_is_acknowledged_to_its_end() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    for seq in 1..=200 {
        a.send_message(messages::numbered(seq, "", messages::candidate(&seq.to_string()))).await;
    }
    for seq in 1..=200 {
        assert_eq!(body!(b.next().await, Candidate).candidate, seq.to_string());
    }
    a.await_ack(200).await;
}

#[tokio::test]
async fn a_duplicate_is_acknowledged_again_and_not_delivered_again() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    for seq in 1..=3 {
        a.send_message(messages::numbered(seq, "", messages::offer(&seq.to_string()))).await;
    }
    a.await_ack(3).await;

    a.send_message(messages::numbered(2, "", messages::offer("2 again"))).await;
    a.acked = 0;
    a.await_ack(3).await;
    a.send_message(messages::numbered(4, "", messages::offer("4"))).await;
    for text in ["1", "2", "3", "4"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
}

#[tokio::test]
async fn a_duplicate_of_an_undelivered_message_is_reported_again() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    a.send_message(messages::numbered(1, "", messages::offer("too early"))).await;
    let first = body!(a.event().await, Undelivered);
    a.await_ack(1).await;

    // There is an addressee by now, but the message was handled.
    let mut b = Member::join(&server, "demo").await;
    body!(a.event().await, MemberJoined);
    a.send_message(messages::numbered(1, "", messages::offer("too early"))).await;
    assert_eq!(body!(a.event().await, Undelivered), first);
    a.acked = 0;
    a.await_ack(1).await;
    a.send_message(messages::numbered(2, "", messages::offer("now"))).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "now");
}

#[tokio::test]
async fn a_leave_is_acknowledged_after_pending_outcomes() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    a.send_message(messages::numbered(1, "unknown", messages::offer("1"))).await;
    a.send_message(messages::numbered(2, "", messages::leave())).await;
    let message = a.next().await;
    assert_eq!(message.ack, 0);
    assert_eq!(body!(message, Undelivered).client_seq, 1);
    a.await_ack(2).await;
    assert!(a.end().await.is_ok());
}

#[tokio::test]
async fn undelivered_comes_before_the_first_ack_that_covers_it() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    // More than the 32 messages after which an ack is due, with messages of the other member in between.
    for seq in 1..=100 {
        let to = if seq % 3 == 0 { "unknown" } else { b.id.as_str() };
        a.send_message(messages::numbered(seq, to, messages::offer(&seq.to_string()))).await;
        if seq % 10 == 0 {
            b.send(&a.id, messages::data("back")).await;
        }
    }
    let mut reported = 0;
    while a.acked < 100 {
        let message = a.next().await;
        if let Some(ServerBody::Undelivered(undelivered)) = &message.body {
            reported += 3;
            assert_eq!((undelivered.client_seq, undelivered.reason.as_str()), (reported, "NO_SUCH_MEMBER"));
        }
        assert!(message.ack < reported + 3, "ack {} came when {reported} was the last reported", message.ack);
    }
    assert_eq!(reported, 99);
    for seq in (1..=100).filter(|seq| seq % 3 != 0) {
        assert_eq!(body!(b.next().await, Offer).sdp, seq.to_string());
    }
}

#[tokio::test]
async fn a_gap_ends_the_stream_and_keeps_the_session() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    a.send_message(messages::numbered(1, "", messages::offer("1"))).await;
    a.send_message(messages::numbered(3, "", messages::offer("3"))).await;
    let (go_away, status) = a.expect_go_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("SEQ_GAP", Action::Resume));
    assert_error(&status, Code::FailedPrecondition, "SEQ_GAP");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata.get("expected_seq").map(String::as_str), Some("2"));

    assert_eq!(body!(b.next().await, Offer).sdp, "1");
    body!(b.next().await, MemberUpdated);
    let a = Member::resume(&server, &a.disconnect()).await;
    assert_eq!(a.resumed().1, 1, "what came before the gap was handled");
    a.send_message(messages::numbered(2, "", messages::offer("2"))).await;
    body!(b.next().await, MemberUpdated);
    assert_eq!(body!(b.next().await, Offer).sdp, "2");
}

#[tokio::test]
async fn the_first_number_is_one_and_unnumbered_messages_do_not_count() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    a.send("", messages::offer("unnumbered")).await;
    a.send_message(messages::numbered(1, "", messages::offer("1"))).await;
    a.send("", messages::offer("unnumbered")).await;
    a.await_ack(1).await;
    for text in ["unnumbered", "1", "unnumbered"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
    b.send_message(messages::numbered(2, "", messages::offer("2"))).await;
    let (_, status) = b.expect_go_away().await;
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata.get("expected_seq").map(String::as_str), Some("1"));
}

#[tokio::test]
async fn an_ack_of_the_client_needs_no_body_and_frees_what_it_covers() {
    let server = TestServer::start(&[]).await;
    let (a, mut b) = pair(&server).await;
    let start = b.seq;
    a.send("", messages::offer("1")).await;
    a.send("", messages::offer("2")).await;
    body!(b.next().await, Offer);
    let first = b.seq;
    body!(b.next().await, Offer);
    b.send_message(ClientMessage { ack: first, ..ClientMessage::default() }).await;
    b.send_message(messages::numbered(1, "", messages::heartbeat())).await;
    b.await_ack(1).await;

    // Only what follows the acknowledgement is replayed.
    let mut ticket = b.disconnect();
    ticket.seq = first;
    let mut b = Member::resume(&server, &ticket).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "2");
    // What was acknowledged cannot be replayed.
    let mut ticket = b.disconnect();
    ticket.seq = start;
    let gone = Member::try_resume(server.addr, &ticket).await.err().expect("an incomplete replay is refused");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");
}
