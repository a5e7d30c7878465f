//! Sessions that go wrong on the way: the stream ends with the reason, the session waits for its resume.

use bytes::Bytes;
use http::Method;
use prost::Message;
use signalbox_proto::v1::{Action, ClientMessage, Data, client_message::Body as Said};
use tonic::{Code, Status};

use super::undisturbed;
use crate::common::{
    TestServer, assert_error, assert_field_error, body,
    native::Member,
    raw::{Version, grpc_status, request},
    say,
    web::frame,
};

/// Ends a stream badly, and resumes the session; returns the error.
async fn end_by(server: &TestServer, bad: ClientMessage) -> Status {
    let mut member = Member::join(server, "demo").await;
    member.send(bad).await;
    let (go_away, status) = member.sent_away().await;
    assert_eq!(go_away.action(), Action::Stop, "the client would only do it again");
    let member = Member::resume(server, &member.lose()).await;
    member.say("", say::leave()).await;
    status
}

#[tokio::test]
async fn a_second_join_or_resume() {
    undisturbed(async |server| {
        let token = Member::join(server, "demo").await.lose().token;
        for again in [Said::Join(say::join("demo")), Said::Resume(say::resume(&token, 0))] {
            let status = end_by(server, say::unnumbered("", again)).await;
            assert_error(&status, Code::InvalidArgument, "ALREADY_JOINED");
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_without_a_body() {
    undisturbed(async |server| {
        for seq in [0, 1] {
            let status = end_by(server, ClientMessage { seq, ..ClientMessage::default() }).await;
            assert_field_error(&status, "INVALID_MESSAGE", "body");
        }
    })
    .await;
}

#[tokio::test]
async fn an_acknowledgement_of_what_the_server_never_said() {
    undisturbed(async |server| {
        let status = end_by(server, ClientMessage { ack: 1000, ..ClientMessage::default() }).await;
        assert_field_error(&status, "INVALID_MESSAGE", "ack");
    })
    .await;
}

#[tokio::test]
async fn an_sdp_over_its_limit_costs_only_itself() {
    undisturbed(async |server| {
        let mut member = Member::join(server, "demo").await;
        let mut other = Member::join(server, "demo").await;
        body!(member.next().await, MemberJoined);
        member.send(say::numbered(1, "", say::offer(&"x".repeat(64 * 1024 + 1)))).await;
        let undelivered = body!(member.event().await, Undelivered);
        assert_eq!((undelivered.client_seq, undelivered.reason.as_str()), (1, "TOO_LARGE"));
        member.say("", say::offer("v=0")).await;
        assert_eq!(body!(other.next().await, Offer).sdp, "v=0");
    })
    .await;
}

#[tokio::test]
async fn a_frame_larger_than_the_server_reads() {
    undisturbed(async |server| {
        let limit = 4 * 128 * 1024;
        let of = |size: usize| {
            let data =
                |n: usize| say::unnumbered("x", Said::Data(Data { payload: vec![0; n].into(), ..Data::default() }));
            let message = data(size - (data(size).encoded_len() - size));
            assert_eq!(message.encoded_len(), size);
            message
        };
        // One that fits into the frame is over the limit of messages, which ends nothing.
        let mut member = Member::join(server, "demo").await;
        member.send(of(limit)).await;
        assert_eq!(body!(member.event().await, Undelivered).reason, "TOO_LARGE");

        let status = end_by(server, of(limit + 1)).await;
        assert_error(&status, Code::OutOfRange, "INVALID_MESSAGE");
        // As the first message too.
        let status = exchange(server, frame(&of(limit + 1).encode_to_vec())).await;
        assert_error(&status, Code::OutOfRange, "INVALID_MESSAGE");
    })
    .await;
}

/// What an `Exchange` over plain HTTP/2 with that request body ends with.
async fn exchange(server: &TestServer, body: impl Into<Bytes>) -> Status {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let path = "/signalbox.v1.Signal/Exchange";
    grpc_status(request(server.addr, Version::Http2, Method::POST, path, &headers, body).await.unwrap()).await
}

#[tokio::test]
async fn bytes_that_are_no_message() {
    undisturbed(async |server| {
        let join = frame(&say::unnumbered("", Said::Join(say::join("demo"))).encode_to_vec());
        let not_utf8 = frame(&[&b"\x52\x06\x0a\x04"[..], b"\xff\xfe\xfd\xfc"].concat());
        let bad = [frame(&[0xff; 16]), frame(b"\x52\x7fshort"), not_utf8];
        for bad in bad {
            // As the first message, and as one that comes later.
            assert_field_error(&exchange(server, bad.clone()).await, "INVALID_MESSAGE", "message");
            let later = exchange(server, [join.clone(), bad].concat()).await;
            assert_field_error(&later, "INVALID_MESSAGE", "message");
        }
    })
    .await;
}
