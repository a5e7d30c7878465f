//! The forms that gRPC-Web takes on the wire, and how members of both transports hear each other.

use signalbox_proto::v1::IceCandidate;
use tonic::Code;

use crate::common::{
    TestServer, assert_error, body,
    native::Member,
    raw::Version,
    say,
    web::{Web, WebMember},
};

/// A page and a native member make a call: every kind of signal, both ways.
async fn assert_call_works(web: Web, server: &TestServer) {
    let mut native = Member::join(server, "demo").await;
    let mut page = WebMember::join(web, say::join_as("demo", "page")).await;
    assert_eq!(page.welcome().members[0].member_id, native.id);
    let joined = body!(native.next().await, MemberJoined).member.unwrap();
    assert_eq!(joined, page.welcome().you.clone().unwrap());

    native.say(&page.id, say::offer("v=0 offer")).await;
    let heard = page.next().await;
    assert_eq!(heard.from, native.id);
    assert_eq!(body!(heard, Offer).sdp, "v=0 offer");

    let candidate = IceCandidate { sdp_mid: Some(String::new()), ..IceCandidate::default() };
    let said = signalbox_proto::v1::client_message::Body::Candidate(candidate.clone());
    let batch = vec![
        say::numbered(1, &native.id, say::answer("v=0 answer")),
        say::numbered(2, &native.id, said),
        say::numbered(3, "", say::data("ü😀")),
    ];
    let response = page.send(batch).await.expect("it is handled");
    assert_eq!((response.ack, response.undelivered), (3, vec![]));
    let heard = native.next().await;
    assert_eq!(heard.from, page.id);
    assert_eq!(body!(heard, Answer).sdp, "v=0 answer");
    assert_eq!(body!(native.next().await, Candidate), candidate);
    assert_eq!(body!(native.next().await, Data).text, "ü😀");

    // Larger than any chunk or window on the way.
    let large = "x".repeat(64 * 1024);
    native.say(&page.id, say::offer(&large)).await;
    assert_eq!(body!(page.next().await, Offer).sdp, large);
    page.send(vec![say::numbered(4, "", say::offer(&large))]).await.expect("it is handled");
    assert_eq!(body!(native.next().await, Offer).sdp, large);

    // The end of the stream, with its trailers.
    page.send(vec![say::numbered(5, "", say::leave())]).await.expect("it is handled");
    assert!(matches!(page.try_next().await, Ok(None)), "a leave ends the stream with OK");
    assert_eq!(body!(native.next().await, MemberLeft).member_id, page.id);
}

#[tokio::test]
async fn a_page_and_a_native_member_exchange_signals() {
    let server = TestServer::start(&[]).await;
    assert_call_works(Web::new(server.addr), &server).await;
}

#[tokio::test]
async fn base64_says_the_same() {
    let server = TestServer::start(&[]).await;
    assert_call_works(Web { text: true, ..Web::new(server.addr) }, &server).await;
}

#[tokio::test]
async fn http_2_says_the_same() {
    let server = TestServer::start(&[]).await;
    assert_call_works(Web { version: Version::Http2, ..Web::new(server.addr) }, &server).await;
}

#[tokio::test]
async fn errors_have_their_details_in_every_form() {
    let server = TestServer::start(&[]).await;
    let plain = Web::new(server.addr);
    for web in [plain, Web { text: true, ..plain }, Web { version: Version::Http2, ..plain }] {
        let status =
            web.send("garbage", vec![say::unnumbered("", say::heartbeat())]).await.expect_err("no such session");
        assert_error(&status, Code::NotFound, "SESSION_GONE");
        let open = signalbox_proto::v1::subscribe_request::Open::Join(say::join("no room"));
        let status = web.subscribe(open).await.err().expect("no such name");
        crate::common::assert_field_error(&status, "INVALID_ROOM_NAME", "join.room");
    }
}
