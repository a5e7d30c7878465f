//! Sessions of pages: what `Send` answers, and how they move between streams and transports.

use std::time::{Duration, Instant};

use signalbox_proto::v1::{Action, MemberState, subscribe_request::Open};
use tonic::Code;
use tonic_types::StatusExt;

use crate::common::{
    TestServer, assert_error, body,
    native::Member,
    say,
    web::{Web, WebMember},
};

/// A native member and a page in one room; the native one has seen the page join.
async fn pair(server: &TestServer) -> (Member, WebMember) {
    let mut native = Member::join(server, "demo").await;
    let page = WebMember::join(Web::new(server.addr), say::join("demo")).await;
    body!(native.next().await, MemberJoined);
    (native, page)
}

async fn assert_state(native: &mut Member, id: &str, state: MemberState) {
    let shown = body!(native.event().await, MemberUpdated).member.unwrap();
    assert_eq!((shown.member_id.as_str(), shown.state()), (id, state));
}

#[tokio::test]
async fn a_batch_is_answered_with_what_was_not_delivered_of_it() {
    let server = TestServer::start(&[]).await;
    let (mut native, mut page) = pair(&server).await;
    let batch = vec![
        say::numbered(1, &native.id, say::offer("1")),
        say::numbered(2, "nobody", say::offer("2")),
        say::unnumbered("no one", say::offer("unnumbered")),
        say::numbered(3, &native.id, say::offer("3")),
    ];
    let response = page.send(batch).await.unwrap();
    assert_eq!(response.ack, 3);
    let told: Vec<_> = response.undelivered.iter().map(|u| (u.client_seq, u.to.as_str(), u.reason.as_str())).collect();
    assert_eq!(told, [(2, "nobody", "NO_SUCH_MEMBER"), (0, "no one", "NO_SUCH_MEMBER")]);
    for text in ["1", "3"] {
        assert_eq!(body!(native.next().await, Offer).sdp, text);
    }
    // Outcomes are in the response only: the stream goes on with what others say.
    native.say("", say::data("barrier")).await;
    assert_eq!(body!(page.next().await, Data).text, "barrier");
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_answered_again_and_not_delivered_again() {
    let server = TestServer::start(&[]).await;
    let (mut native, page) = pair(&server).await;
    let batch = || {
        vec![
            say::numbered(1, &native.id, say::offer("1")),
            say::numbered(2, "nobody", say::offer("2")),
            say::numbered(3, &native.id, say::offer("3")),
        ]
    };
    let first = page.send(batch()).await.unwrap();
    let again = page.send(batch()).await.unwrap();
    assert_eq!(first, again);
    // Some of it again, with more after it.
    let mut more = batch().split_off(1);
    more.push(say::numbered(4, &native.id, say::offer("4")));
    let response = page.send(more).await.unwrap();
    assert_eq!((response.ack, response.undelivered.len()), (4, 1));
    for text in ["1", "3", "4"] {
        assert_eq!(body!(native.next().await, Offer).sdp, text);
    }
}

#[tokio::test]
async fn a_gap_in_a_batch_keeps_what_came_before_it() {
    let server = TestServer::start(&[]).await;
    let (mut native, mut page) = pair(&server).await;
    let of = |seq: u64| say::numbered(seq, "", say::offer(&seq.to_string()));
    let status = page.send(vec![of(1), of(2), of(4)]).await.expect_err("3 is missing");
    assert_error(&status, Code::FailedPrecondition, "SEQ_GAP");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata.get("expected_seq").map(String::as_str), Some("3"));

    let response = page.send(vec![of(2), of(3), of(4)]).await.unwrap();
    assert_eq!((response.ack, response.undelivered), (4, vec![]));
    for text in ["1", "2", "3", "4"] {
        assert_eq!(body!(native.next().await, Offer).sdp, text);
    }
    // The stream was not touched.
    native.say("", say::data("barrier")).await;
    assert_eq!(body!(page.next().await, Data).text, "barrier");
}

#[tokio::test]
async fn a_fault_in_a_batch_keeps_what_came_before_it() {
    let server = TestServer::start(&[]).await;
    let (mut native, page) = pair(&server).await;
    let of = |seq: u64| say::numbered(seq, "", say::offer(&seq.to_string()));
    let join = signalbox_proto::v1::client_message::Body::Join(say::join("demo"));
    let status = page.send(vec![of(1), say::unnumbered("", join), of(2)]).await.expect_err("no join in a Send");
    assert_error(&status, Code::InvalidArgument, "ALREADY_JOINED");
    assert_eq!(page.send(vec![of(2)]).await.unwrap().ack, 2);
    for text in ["1", "2"] {
        assert_eq!(body!(native.next().await, Offer).sdp, text);
    }
}

#[tokio::test]
async fn a_session_moves_from_exchange_to_subscribe_and_back() {
    let server = TestServer::start(&[]).await;
    let web = Web::new(server.addr);
    let mut other = Member::join(&server, "demo").await;
    let mut native = Member::join(&server, "demo").await;
    body!(other.next().await, MemberJoined);
    native.send(say::numbered(1, "", say::offer("1"))).await;
    native.await_ack(1).await;

    let id = native.id.clone();
    let ticket = native.lose();
    assert_eq!(body!(other.event().await, Offer).sdp, "1");
    assert_state(&mut other, &id, MemberState::Suspended).await;
    other.say("", say::data("to the page")).await;

    let mut page = WebMember::resume(web, &ticket).await;
    assert_state(&mut other, &id, MemberState::Connected).await;
    assert_eq!(page.first.ack, 1, "numbers go on");
    assert_eq!(body!(page.next().await, Data).text, "to the page");
    assert_eq!(page.send(vec![say::numbered(2, "", say::offer("2"))]).await.unwrap().ack, 2);
    assert_eq!(body!(other.next().await, Offer).sdp, "2");

    let ticket = page.lose();
    assert_state(&mut other, &id, MemberState::Suspended).await;
    other.say("", say::data("to the native one")).await;
    let mut native = Member::resume(&server, &ticket).await;
    assert_state(&mut other, &id, MemberState::Connected).await;
    assert_eq!(native.resumed().1, 2);
    assert_eq!(body!(native.event().await, Data).text, "to the native one");
    native.send(say::numbered(3, "", say::offer("3"))).await;
    native.await_ack(3).await;
    let heard = other.next().await;
    assert_eq!(heard.from, id);
    assert_eq!(body!(heard, Offer).sdp, "3");
}

#[tokio::test]
async fn a_resume_on_the_other_transport_fences_the_stream_before_it() {
    let server = TestServer::start(&[]).await;
    let (mut other, mut page) = pair(&server).await;
    let ticket = crate::common::native::Ticket { id: page.id.clone(), token: page.token.clone(), seq: page.seq };
    let native = Member::resume(&server, &ticket).await;
    let (go_away, status) = page.sent_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("FENCED", Action::Stop));
    assert_error(&status, Code::Aborted, "FENCED");
    native.say("", say::data("barrier")).await;
    assert_eq!(body!(other.next().await, Data).text, "barrier", "the others see nothing of it");
}

#[tokio::test]
async fn a_send_of_a_suspended_session_is_handled_and_does_not_revive_it() {
    let server = TestServer::start(&[]).await;
    let (mut native, page) = pair(&server).await;
    let ticket = page.lose();
    assert_state(&mut native, &ticket.id, MemberState::Suspended).await;
    let web = Web::new(server.addr);
    let said = vec![say::numbered(1, &native.id, say::data("without a stream"))];
    assert_eq!(web.send(&ticket.token, said).await.unwrap().ack, 1);
    assert_eq!(body!(native.next().await, Data).text, "without a stream");
    let late = Member::join(&server, "demo").await;
    let page = late.welcome().members.iter().find(|member| member.member_id == ticket.id).unwrap();
    assert_eq!(page.state(), MemberState::Suspended);
}

/// Takes 7 s: two heartbeats of a second, which is the shortest, and the 5 s on top.
#[tokio::test]
async fn a_page_that_says_nothing_is_suspended_and_may_resume() {
    let server = TestServer::start(&["--heartbeat", "1s"]).await;
    let joined = Instant::now();
    let (mut native, mut page) = pair(&server).await;
    let busy = WebMember::join(Web::new(server.addr), say::join("demo")).await;
    body!(native.next().await, MemberJoined);
    body!(page.next().await, MemberJoined);

    loop {
        // The native stream's own heartbeats are the clock at which the other page says that it is alive.
        let message = native.next().await;
        match message.body {
            Some(signalbox_proto::v1::server_message::Body::Heartbeat(_)) => {
                busy.send(vec![say::unnumbered("", say::heartbeat())]).await.unwrap();
            }
            _ => {
                let shown = body!(message, MemberUpdated).member.unwrap();
                assert_eq!((&shown.member_id, shown.state()), (&page.id, MemberState::Suspended));
                break;
            }
        }
    }
    let silent = joined.elapsed();
    assert!(silent >= Duration::from_secs(7) && silent < Duration::from_secs(9), "suspended after {silent:?}");
    let mut heartbeats = 0;
    let go_away = loop {
        let message = page.next().await;
        if !matches!(message.body, Some(signalbox_proto::v1::server_message::Body::Heartbeat(_))) {
            break body!(message, GoAway);
        }
        heartbeats += 1;
    };
    assert!(heartbeats >= 5, "the server itself was not silent: {heartbeats} heartbeats");
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("HEARTBEAT_TIMEOUT", Action::Resume));
    let status = page.try_next().await.expect_err("the stream ends");
    assert_error(&status, Code::Unavailable, "HEARTBEAT_TIMEOUT");

    native.say(&page.id, say::data("meanwhile")).await;
    let mut page = WebMember::resume(Web::new(server.addr), &page.lose()).await;
    assert_eq!(body!(page.next().await, Data).text, "meanwhile");
}

#[tokio::test]
async fn a_subscribe_that_opens_nothing_is_refused() {
    let server = TestServer::start(&[]).await;
    let web = Web::new(server.addr);
    let request = signalbox_proto::v1::SubscribeRequest { open: None };
    let status = web
        .unary::<signalbox_proto::v1::ServerMessage>("/signalbox.v1.Signal/Subscribe", &request)
        .await
        .expect_err("it says neither join nor resume");
    crate::common::assert_field_error(&status, "INVALID_MESSAGE", "open");
    let status = web.subscribe(Open::Resume(say::resume("garbage", 0))).await.err().expect("no such session");
    assert_error(&status, Code::NotFound, "SESSION_GONE");
}
