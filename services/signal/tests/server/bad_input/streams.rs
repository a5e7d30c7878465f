//! Invalid messages in a session: the stream ends with a reason, and the session can be resumed.

use bytes::Bytes;
use http::Method;
use prost::Message;
use signalbox_proto::v1::{Action, ClientMessage, Data, client_message::Body as ClientBody};
use signalbox_testkit::grpc_web::frame;
use tonic::{Code, Status};

use super::undisturbed;
use crate::common::{
    TestServer, assert_error, assert_field_error, body, messages,
    native::Member,
    raw::{Version, grpc_status, request},
};

/// Ends a stream by a bad message and resumes the session; returns the error.
async fn end_by(server: &TestServer, bad: ClientMessage) -> Status {
    let mut member = Member::join(server, "demo").await;
    member.send_message(bad).await;
    let (go_away, status) = member.expect_go_away().await;
    assert_eq!(go_away.action(), Action::Stop, "the client would only repeat it");
    let member = Member::resume(server, &member.disconnect()).await;
    member.send("", messages::leave()).await;
    status
}

#[tokio::test]
async fn a_second_join_or_resume_ends_the_stream() {
    undisturbed(async |server| {
        let token = Member::join(server, "demo").await.disconnect().token;
        for again in [ClientBody::Join(messages::join("demo")), ClientBody::Resume(messages::resume(&token, 0))] {
            let status = end_by(server, messages::unnumbered("", again)).await;
            assert_error(&status, Code::InvalidArgument, "ALREADY_JOINED");
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_without_a_body_ends_the_stream() {
    undisturbed(async |server| {
        for seq in [0, 1] {
            let status = end_by(server, ClientMessage { seq, ..ClientMessage::default() }).await;
            assert_field_error(&status, "INVALID_MESSAGE", "body");
        }
    })
    .await;
}

#[tokio::test]
async fn an_ack_of_an_unsent_message_ends_the_stream() {
    undisturbed(async |server| {
        let status = end_by(server, ClientMessage { ack: 1000, ..ClientMessage::default() }).await;
        assert_field_error(&status, "INVALID_MESSAGE", "ack");
    })
    .await;
}

#[tokio::test]
async fn an_oversized_sdp_is_undelivered_and_the_stream_continues() {
    undisturbed(async |server| {
        let mut member = Member::join(server, "demo").await;
        let mut other = Member::join(server, "demo").await;
        body!(member.next().await, MemberJoined);
        member.send_message(messages::numbered(1, "", messages::offer(&"x".repeat(64 * 1024 + 1)))).await;
        let undelivered = body!(member.event().await, Undelivered);
        assert_eq!((undelivered.client_seq, undelivered.reason.as_str()), (1, "TOO_LARGE"));
        member.send("", messages::offer("v=0")).await;
        assert_eq!(body!(other.next().await, Offer).sdp, "v=0");
    })
    .await;
}

#[tokio::test]
async fn an_oversized_frame_ends_the_stream() {
    undisturbed(async |server| {
        let limit = 4 * 128 * 1024;
        let of = |size: usize| {
            let data = |n: usize| {
                messages::unnumbered("x", ClientBody::Data(Data { payload: vec![0; n].into(), ..Data::default() }))
            };
            let message = data(size - (data(size).encoded_len() - size));
            assert_eq!(message.encoded_len(), size);
            message
        };
        // A message that fits into a frame, but is larger than messages may be, does not end the stream.
        let mut member = Member::join(server, "demo").await;
        member.send_message(of(limit)).await;
        assert_eq!(body!(member.event().await, Undelivered).reason, "TOO_LARGE");

        let status = end_by(server, of(limit + 1)).await;
        assert_error(&status, Code::OutOfRange, "INVALID_MESSAGE");
        // As the first message too.
        let status = exchange(server, frame(&of(limit + 1).encode_to_vec())).await;
        assert_error(&status, Code::OutOfRange, "INVALID_MESSAGE");
    })
    .await;
}

/// The status of an `Exchange` with that request body.
async fn exchange(server: &TestServer, body: impl Into<Bytes>) -> Status {
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let path = "/signalbox.v1.Signal/Exchange";
    grpc_status(request(server.addr, Version::Http2, Method::POST, path, &headers, body).await.unwrap()).await
}

#[tokio::test]
async fn malformed_messages_end_the_stream() {
    undisturbed(async |server| {
        let join = frame(&messages::unnumbered("", ClientBody::Join(messages::join("demo"))).encode_to_vec());
        let not_utf8 = frame(&[&b"\x52\x06\x0a\x04"[..], b"\xff\xfe\xfd\xfc"].concat());
        let bad = [frame(&[0xff; 16]), frame(b"\x52\x7fshort"), not_utf8];
        for bad in bad {
            // As the first message, and as a later one.
            assert_field_error(&exchange(server, bad.clone()).await, "INVALID_MESSAGE", "message");
            let later = exchange(server, [join.clone(), bad].concat()).await;
            assert_field_error(&later, "INVALID_MESSAGE", "message");
        }
    })
    .await;
}
