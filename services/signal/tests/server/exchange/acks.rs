//! Numbers of client messages: acknowledged, not handled twice, and never with a gap.

use signalbox_proto::v1::{Action, ClientMessage, client_message::Body as Said, server_message::Body};
use tonic::Code;
use tonic_types::StatusExt;

use crate::common::{TestServer, assert_error, body, native::Member, say};

async fn pair(server: &TestServer) -> (Member, Member) {
    let mut a = Member::join(server, "demo").await;
    let b = Member::join(server, "demo").await;
    body!(a.next().await, MemberJoined);
    (a, b)
}

#[tokio::test]
async fn every_numbered_message_is_acknowledged_whatever_it_says() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    let report = Said::Report(signalbox_proto::v1::ConnectionReport { peer: b.id.clone(), ..Default::default() });
    let said = [
        say::offer("o"),
        say::answer("a"),
        say::candidate(""),
        say::data("d"),
        say::display_name("Ann"),
        say::heartbeat(),
        report,
    ];
    let count = said.len() as u64;
    for (seq, said) in (1..).zip(said) {
        // One by one, so that each has to be acknowledged by itself.
        a.send(say::numbered(seq, "", said)).await;
        a.await_ack(seq).await;
    }
    for _ in 0..5 {
        assert!(b.next().await.body.is_some());
    }
    // Heartbeats and reports are not relayed.
    a.send(say::numbered(count + 1, "", say::data("barrier"))).await;
    assert_eq!(body!(b.next().await, Data).text, "barrier");
}

#[tokio::test]
async fn a_flood_is_acknowledged_to_its_end() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    for seq in 1..=200 {
        a.send(say::numbered(seq, "", say::candidate(&seq.to_string()))).await;
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
        a.send(say::numbered(seq, "", say::offer(&seq.to_string()))).await;
    }
    a.await_ack(3).await;

    a.send(say::numbered(2, "", say::offer("2 again"))).await;
    a.acked = 0;
    a.await_ack(3).await;
    a.send(say::numbered(4, "", say::offer("4"))).await;
    for text in ["1", "2", "3", "4"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
}

#[tokio::test]
async fn a_duplicate_of_what_was_not_delivered_has_the_same_outcome_again() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    a.send(say::numbered(1, "", say::offer("too early"))).await;
    let first = body!(a.event().await, Undelivered);
    a.await_ack(1).await;

    // Somebody is there by now, but the message was handled.
    let mut b = Member::join(&server, "demo").await;
    body!(a.event().await, MemberJoined);
    a.send(say::numbered(1, "", say::offer("too early"))).await;
    assert_eq!(body!(a.event().await, Undelivered), first);
    a.acked = 0;
    a.await_ack(1).await;
    a.send(say::numbered(2, "", say::offer("now"))).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "now");
}

#[tokio::test]
async fn a_leave_is_acknowledged_after_what_was_owed_before_it() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    a.send(say::numbered(1, "nobody", say::offer("1"))).await;
    a.send(say::numbered(2, "", say::leave())).await;
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
    // More than the 32 messages after which an ack is due, and some to come back with on the same stream.
    for seq in 1..=100 {
        let to = if seq % 3 == 0 { "nobody" } else { b.id.as_str() };
        a.send(say::numbered(seq, to, say::offer(&seq.to_string()))).await;
        if seq % 10 == 0 {
            b.say(&a.id, say::data("back")).await;
        }
    }
    let mut told = 0;
    while a.acked < 100 {
        let message = a.next().await;
        if let Some(Body::Undelivered(undelivered)) = &message.body {
            told += 3;
            assert_eq!((undelivered.client_seq, undelivered.reason.as_str()), (told, "NO_SUCH_MEMBER"));
        }
        assert!(message.ack < told + 3, "ack {} came when undelivered was told up to {told}", message.ack);
    }
    assert_eq!(told, 99);
    for seq in (1..=100).filter(|seq| seq % 3 != 0) {
        assert_eq!(body!(b.next().await, Offer).sdp, seq.to_string());
    }
}

#[tokio::test]
async fn a_gap_ends_the_stream_and_keeps_the_session() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    a.send(say::numbered(1, "", say::offer("1"))).await;
    a.send(say::numbered(3, "", say::offer("3"))).await;
    let (go_away, status) = a.sent_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("SEQ_GAP", Action::Resume));
    assert_error(&status, Code::FailedPrecondition, "SEQ_GAP");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata.get("expected_seq").map(String::as_str), Some("2"));

    assert_eq!(body!(b.next().await, Offer).sdp, "1");
    body!(b.next().await, MemberUpdated);
    let a = Member::resume(&server, &a.lose()).await;
    assert_eq!(a.resumed().1, 1, "what came before the gap was handled");
    a.send(say::numbered(2, "", say::offer("2"))).await;
    body!(b.next().await, MemberUpdated);
    assert_eq!(body!(b.next().await, Offer).sdp, "2");
}

#[tokio::test]
async fn the_first_number_is_one_and_unnumbered_messages_do_not_count() {
    let server = TestServer::start(&[]).await;
    let (mut a, mut b) = pair(&server).await;
    a.say("", say::offer("unnumbered")).await;
    a.send(say::numbered(1, "", say::offer("1"))).await;
    a.say("", say::offer("unnumbered")).await;
    a.await_ack(1).await;
    for text in ["unnumbered", "1", "unnumbered"] {
        assert_eq!(body!(b.next().await, Offer).sdp, text);
    }
    b.send(say::numbered(2, "", say::offer("2"))).await;
    let (_, status) = b.sent_away().await;
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata.get("expected_seq").map(String::as_str), Some("1"));
}

#[tokio::test]
async fn an_ack_of_the_client_may_come_by_itself_and_lets_the_server_forget() {
    let server = TestServer::start(&[]).await;
    let (a, mut b) = pair(&server).await;
    let start = b.seq;
    a.say("", say::offer("1")).await;
    a.say("", say::offer("2")).await;
    body!(b.next().await, Offer);
    let first = b.seq;
    body!(b.next().await, Offer);
    b.send(ClientMessage { ack: first, ..ClientMessage::default() }).await;
    b.send(say::numbered(1, "", say::heartbeat())).await;
    b.await_ack(1).await;

    // What was acknowledged is not repeated; what came after it is.
    let mut ticket = b.lose();
    ticket.seq = first;
    let mut b = Member::resume(&server, &ticket).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "2");
    // To go back before the acknowledgement is to ask for what is gone.
    let mut ticket = b.lose();
    ticket.seq = start;
    let gone = Member::try_resume(server.addr, &ticket).await.err().expect("an incomplete replay is refused");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");
}
