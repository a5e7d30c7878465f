//! The encodings of gRPC-Web, and signals between members of both transports.

use signalbox_proto::v1::IceCandidate;
use signalbox_testkit::grpc_web::Encoding;
use tonic::Code;

use crate::common::{
    TestServer, assert_error, body, messages,
    native::Member,
    raw::Version,
    web::{WebClient, WebMember},
};

/// A page and a native member exchange signals of each kind.
async fn check_exchange(web: WebClient, server: &TestServer) {
    let mut native = Member::join(server, "demo").await;
    let mut page = WebMember::join(web, messages::join_as("demo", "page")).await;
    assert_eq!(page.welcome().members[0].member_id, native.id);
    let joined = body!(native.next().await, MemberJoined).member.unwrap();
    assert_eq!(joined, page.welcome().you.clone().unwrap());

    native.send(&page.id, messages::offer("v=0 offer")).await;
    let received = page.next().await;
    assert_eq!(received.from, native.id);
    assert_eq!(body!(received, Offer).sdp, "v=0 offer");

    let candidate = IceCandidate { sdp_mid: Some(String::new()), ..IceCandidate::default() };
    let body = signalbox_proto::v1::client_message::Body::Candidate(candidate.clone());
    let batch = vec![
        messages::numbered(1, &native.id, messages::answer("v=0 answer")),
        messages::numbered(2, &native.id, body),
        messages::numbered(3, "", messages::data("ü😀")),
    ];
    let response = page.send(batch).await.expect("it is handled");
    assert_eq!((response.ack, response.undelivered), (3, vec![]));
    let received = native.next().await;
    assert_eq!(received.from, page.id);
    assert_eq!(body!(received, Answer).sdp, "v=0 answer");
    assert_eq!(body!(native.next().await, Candidate), candidate);
    assert_eq!(body!(native.next().await, Data).text, "ü😀");

    // Larger than any chunk or window.
    let large = "x".repeat(64 * 1024);
    native.send(&page.id, messages::offer(&large)).await;
    assert_eq!(body!(page.next().await, Offer).sdp, large);
    page.send(vec![messages::numbered(4, "", messages::offer(&large))]).await.expect("it is handled");
    assert_eq!(body!(native.next().await, Offer).sdp, large);

    // The end of the stream, with its trailers.
    page.send(vec![messages::numbered(5, "", messages::leave())]).await.expect("it is handled");
    assert!(matches!(page.try_next().await, Ok(None)), "a leave ends the stream with OK");
    assert_eq!(body!(native.next().await, MemberLeft).member_id, page.id);
}

#[tokio::test]
async fn pages_and_native_members_exchange_signals() {
    let server = TestServer::start(&[]).await;
    check_exchange(WebClient::new(server.addr), &server).await;
}

#[tokio::test]
async fn pages_that_use_base64_exchange_signals() {
    let server = TestServer::start(&[]).await;
    check_exchange(WebClient { encoding: Encoding::Text, ..WebClient::new(server.addr) }, &server).await;
}

#[tokio::test]
async fn pages_that_use_http_2_exchange_signals() {
    let server = TestServer::start(&[]).await;
    check_exchange(WebClient { version: Version::Http2, ..WebClient::new(server.addr) }, &server).await;
}

#[tokio::test]
async fn errors_have_details_in_each_encoding() {
    let server = TestServer::start(&[]).await;
    let plain = WebClient::new(server.addr);
    for web in [plain, WebClient { encoding: Encoding::Text, ..plain }, WebClient { version: Version::Http2, ..plain }]
    {
        let status = web
            .send("garbage", vec![messages::unnumbered("", messages::heartbeat())])
            .await
            .expect_err("no such session");
        assert_error(&status, Code::NotFound, "SESSION_GONE");
        let open = signalbox_proto::v1::subscribe_request::Open::Join(messages::join("no room"));
        let status = web.subscribe(open).await.err().expect("no such name");
        crate::common::assert_field_error(&status, "INVALID_ROOM_NAME", "join.room");
    }
}
