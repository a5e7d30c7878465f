//! Sessions of pages: responses of `Send`, and moves between transports.

use signalbox_proto::v1::{Action, MemberState, server_message::Body as ServerBody, subscribe_request::Open};
use tonic::Code;
use tonic_types::StatusExt;

use crate::common::{
    TestServer, assert_error, body, messages,
    native::Member,
    web::{WebClient, WebMember},
};

/// A native member and a page in one room; the native one has seen the page join.
async fn pair(server: &TestServer) -> (Member, WebMember) {
    let mut native = Member::join(server, "demo").await;
    let page = WebMember::join(WebClient::new(server.addr), messages::join("demo")).await;
    body!(native.next().await, MemberJoined);
    (native, page)
}

async fn assert_state(native: &mut Member, id: &str, state: MemberState) {
    let updated = body!(native.event().await, MemberUpdated).member.unwrap();
    assert_eq!((updated.member_id.as_str(), updated.state()), (id, state));
}

#[tokio::test]
async fn a_response_reports_the_undelivered_messages_of_the_batch() {
    let server = TestServer::start(&[]).await;
    let (mut native, mut page) = pair(&server).await;
    let batch = vec![
        messages::numbered(1, &native.id, messages::offer("1")),
        messages::numbered(2, "unknown", messages::offer("2")),
        messages::unnumbered("unknown-too", messages::offer("unnumbered")),
        messages::numbered(3, &native.id, messages::offer("3")),
    ];
    let response = page.send(batch).await.unwrap();
    assert_eq!(response.ack, 3);
    let reported: Vec<_> =
        response.undelivered.iter().map(|u| (u.client_seq, u.to.as_str(), u.reason.as_str())).collect();
    assert_eq!(reported, [(2, "unknown", "NO_SUCH_MEMBER"), (0, "unknown-too", "NO_SUCH_MEMBER")]);
    for text in ["1", "3"] {
        assert_eq!(body!(native.next().await, Offer).sdp, text);
    }
    // Outcomes are in the response only.
    native.send("", messages::data("barrier")).await;
    assert_eq!(body!(page.next().await, Data).text, "barrier");
}

#[tokio::test]
async fn a_resent_batch_gets_the_same_response_and_is_not_delivered_again() {
    let server = TestServer::start(&[]).await;
    let (mut native, page) = pair(&server).await;
    let batch = || {
        vec![
            messages::numbered(1, &native.id, messages::offer("1")),
            messages::numbered(2, "unknown", messages::offer("2")),
            messages::numbered(3, &native.id, messages::offer("3")),
        ]
    };
    let first = page.send(batch()).await.unwrap();
    let again = page.send(batch()).await.unwrap();
    assert_eq!(first, again);
    // A part of it again, and a new message.
    let mut more = batch().split_off(1);
    more.push(messages::numbered(4, &native.id, messages::offer("4")));
    let response = page.send(more).await.unwrap();
    assert_eq!((response.ack, response.undelivered.len()), (4, 1));
    for text in ["1", "3", "4"] {
        assert_eq!(body!(native.next().await, Offer).sdp, text);
    }
}

#[tokio::test]
async fn messages_before_a_gap_in_a_batch_are_delivered() {
    let server = TestServer::start(&[]).await;
    let (mut native, mut page) = pair(&server).await;
    let of = |seq: u64| messages::numbered(seq, "", messages::offer(&seq.to_string()));
    let status = page.send(vec![of(1), of(2), of(4)]).await.expect_err("3 is missing");
    assert_error(&status, Code::FailedPrecondition, "SEQ_GAP");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata.get("expected_seq").map(String::as_str), Some("3"));

    let response = page.send(vec![of(2), of(3), of(4)]).await.unwrap();
    assert_eq!((response.ack, response.undelivered), (4, vec![]));
    for text in ["1", "2", "3", "4"] {
        assert_eq!(body!(native.next().await, Offer).sdp, text);
    }
    // The stream continues.
    native.send("", messages::data("barrier")).await;
    assert_eq!(body!(page.next().await, Data).text, "barrier");
}

#[tokio::test]
async fn messages_before_an_invalid_one_in_a_batch_are_delivered() {
    let server = TestServer::start(&[]).await;
    let (mut native, page) = pair(&server).await;
    let of = |seq: u64| messages::numbered(seq, "", messages::offer(&seq.to_string()));
    let join = signalbox_proto::v1::client_message::Body::Join(messages::join("demo"));
    let status =
        page.send(vec![of(1), messages::unnumbered("", join), of(2)]).await.expect_err("a Send must not have a join");
    assert_error(&status, Code::InvalidArgument, "ALREADY_JOINED");
    assert_eq!(page.send(vec![of(2)]).await.unwrap().ack, 2);
    for text in ["1", "2"] {
        assert_eq!(body!(native.next().await, Offer).sdp, text);
    }
}

#[tokio::test]
async fn a_session_moves_between_exchange_and_subscribe() {
    let server = TestServer::start(&[]).await;
    let web = WebClient::new(server.addr);
    let mut other = Member::join(&server, "demo").await;
    let mut native = Member::join(&server, "demo").await;
    body!(other.next().await, MemberJoined);
    native.send_message(messages::numbered(1, "", messages::offer("1"))).await;
    native.await_ack(1).await;

    let id = native.id.clone();
    let ticket = native.disconnect();
    assert_eq!(body!(other.event().await, Offer).sdp, "1");
    assert_state(&mut other, &id, MemberState::Suspended).await;
    other.send("", messages::data("to the page")).await;

    let mut page = WebMember::resume(web, &ticket).await;
    assert_state(&mut other, &id, MemberState::Connected).await;
    assert_eq!(page.first.ack, 1, "sequence numbers continue");
    assert_eq!(body!(page.next().await, Data).text, "to the page");
    assert_eq!(page.send(vec![messages::numbered(2, "", messages::offer("2"))]).await.unwrap().ack, 2);
    assert_eq!(body!(other.next().await, Offer).sdp, "2");

    let ticket = page.disconnect();
    assert_state(&mut other, &id, MemberState::Suspended).await;
    other.send("", messages::data("to the native client")).await;
    let mut native = Member::resume(&server, &ticket).await;
    assert_state(&mut other, &id, MemberState::Connected).await;
    assert_eq!(native.resumed().1, 2);
    assert_eq!(body!(native.event().await, Data).text, "to the native client");
    native.send_message(messages::numbered(3, "", messages::offer("3"))).await;
    native.await_ack(3).await;
    let received = other.next().await;
    assert_eq!(received.from, id);
    assert_eq!(body!(received, Offer).sdp, "3");
}

#[tokio::test]
async fn a_resume_on_the_other_transport_fences_the_old_stream() {
    let server = TestServer::start(&[]).await;
    let (mut other, mut page) = pair(&server).await;
    let ticket = crate::common::native::Ticket { id: page.id.clone(), token: page.token.clone(), seq: page.seq };
    let native = Member::resume(&server, &ticket).await;
    let (go_away, status) = page.expect_go_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("FENCED", Action::Stop));
    assert_error(&status, Code::Aborted, "FENCED");
    native.send("", messages::data("barrier")).await;
    assert_eq!(body!(other.next().await, Data).text, "barrier", "the others see no change");
}

#[tokio::test]
async fn a_send_of_a_suspended_session_is_delivered_without_a_resume() {
    let server = TestServer::start(&[]).await;
    let (mut native, page) = pair(&server).await;
    let ticket = page.disconnect();
    assert_state(&mut native, &ticket.id, MemberState::Suspended).await;
    let web = WebClient::new(server.addr);
    let batch = vec![messages::numbered(1, &native.id, messages::data("without a stream"))];
    assert_eq!(web.send(&ticket.token, batch).await.unwrap().ack, 1);
    assert_eq!(body!(native.next().await, Data).text, "without a stream");
    let late = Member::join(&server, "demo").await;
    let page = late.welcome().members.iter().find(|member| member.member_id == ticket.id).unwrap();
    assert_eq!(page.state(), MemberState::Suspended);
}

/// Takes 7 s: two heartbeats of 1 s, which is the minimum, and 5 s.
#[tokio::test]
async fn a_silent_page_is_suspended_and_may_resume() {
    let server = TestServer::start(&["--heartbeat", "1s"]).await;
    let (mut native, mut page) = pair(&server).await;
    let busy = WebMember::join(WebClient::new(server.addr), messages::join("demo")).await;
    body!(native.next().await, MemberJoined);
    body!(page.next().await, MemberJoined);

    loop {
        // The heartbeats of the native stream pace those of the other page.
        let message = native.next().await;
        match message.body {
            Some(ServerBody::Heartbeat(_)) => {
                busy.send(vec![messages::unnumbered("", messages::heartbeat())]).await.unwrap();
            }
            _ => {
                let updated = body!(message, MemberUpdated).member.unwrap();
                assert_eq!((&updated.member_id, updated.state()), (&page.id, MemberState::Suspended));
                break;
            }
        }
    }
    let go_away = loop {
        let message = page.next().await;
        if !matches!(message.body, Some(ServerBody::Heartbeat(_))) {
            break body!(message, GoAway);
        }
    };
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("HEARTBEAT_TIMEOUT", Action::Resume));
    let status = page.try_next().await.expect_err("the stream ends");
    assert_error(&status, Code::Unavailable, "HEARTBEAT_TIMEOUT");

    native.send(&page.id, messages::data("meanwhile")).await;
    let mut page = WebMember::resume(WebClient::new(server.addr), &page.disconnect()).await;
    assert_eq!(body!(page.next().await, Data).text, "meanwhile");
}

#[tokio::test]
async fn a_subscribe_without_join_or_resume_is_refused() {
    let server = TestServer::start(&[]).await;
    let web = WebClient::new(server.addr);
    let request = signalbox_proto::v1::SubscribeRequest { open: None };
    let status = web
        .unary::<signalbox_proto::v1::ServerMessage>("/signalbox.v1.Signal/Subscribe", &request)
        .await
        .expect_err("it has neither join nor resume");
    crate::common::assert_field_error(&status, "INVALID_MESSAGE", "open");
    let status = web.subscribe(Open::Resume(messages::resume("garbage", 0))).await.err().expect("no such session");
    assert_error(&status, Code::NotFound, "SESSION_GONE");
}
