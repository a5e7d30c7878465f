//! Unary calls with bad requests, and calls of unknown methods and services.

use http::{Method, StatusCode};
use prost::Message;
use signalbox_proto::v1::{CreateRoomRequest, ListRoomsRequest, Room, SendRequest, SendResponse};
use signalbox_testkit::grpc_web::{Encoding, frame};
use tonic::{Code, Status};

use super::undisturbed;
use crate::common::{
    assert_error, assert_field_error, connect, messages,
    native::Member,
    raw::{Version, grpc_status, header_of, request},
    web::WebClient,
};

const SEND: &str = "/signalbox.v1.Signal/Send";
const SUBSCRIBE: &str = "/signalbox.v1.Signal/Subscribe";
/// Paths that look like calls.
const UNKNOWN: [&str; 3] = ["/signalbox.v1.Signal/Shout", "/signalbox.v2.Signal/Send", "/no.such.Service/Method"];

#[tokio::test]
async fn a_send_without_messages_or_with_too_many_is_refused() {
    undisturbed(async |server| {
        let member = Member::join(server, "demo").await;
        let web = WebClient::new(server.addr);
        for count in [0, 1025] {
            let messages = vec![messages::unnumbered("", messages::heartbeat()); count];
            let status = web.send(&member.token, messages.clone()).await.expect_err("it must be refused");
            assert_field_error(&status, "INVALID_MESSAGE", "messages");
            let native = SendRequest { session_token: member.token.clone(), messages };
            let status = server.signal().await.send(native).await.expect_err("it must be refused");
            assert_field_error(&status, "INVALID_MESSAGE", "messages");
        }
        for count in [1, 1024] {
            let messages = vec![messages::unnumbered("", messages::heartbeat()); count];
            web.send(&member.token, messages).await.expect("it is within the limit");
        }
        // Numbered messages are limited to those that may be unacknowledged.
        let numbered = |count: u64| (1..=count).map(|seq| messages::numbered(seq, "", messages::heartbeat())).collect();
        let status = web.send(&member.token, numbered(257)).await.expect_err("it must be refused");
        assert_field_error(&status, "INVALID_MESSAGE", "messages");
        assert_eq!(web.send(&member.token, numbered(256)).await.expect("it is within the limit").ack, 256);
    })
    .await;
}

#[tokio::test]
async fn a_send_with_a_wrong_session_token_is_session_gone() {
    undisturbed(async |server| {
        let long = "A".repeat(100_000);
        for token in ["", "garbage", "é", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &long] {
            let status =
                WebClient::new(server.addr).send(token, vec![messages::unnumbered("", messages::heartbeat())]).await;
            assert_error(&status.expect_err("no such session"), Code::NotFound, "SESSION_GONE");
        }
    })
    .await;
}

#[tokio::test]
async fn malformed_and_oversized_calls_are_refused() {
    undisturbed(async |server| {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let native = async |path: &str, message: &[u8]| {
            let body = frame(message);
            grpc_status(request(server.addr, Version::Http2, Method::POST, path, &headers, body).await.unwrap()).await
        };
        let page = async |path: &str, message: &[u8]| {
            let mut reply = WebClient::new(server.addr).call(path, message).await;
            reply.try_next::<SendResponse>().await.expect_err("it must be refused")
        };
        let rooms = ["Create", "Get", "Update", "Delete", "Watch"].map(|verb| format!("{verb}Room"));
        let more = ["ListRooms", "ListMembers", "RemoveMember"].map(str::to_owned);
        let rooms: Vec<_> = rooms.into_iter().chain(more).map(|call| format!("/signalbox.v1.Rooms/{call}")).collect();
        // A field that is longer than the message, and one of an unknown wire type.
        for malformed in [&[0xff; 16][..], b"\x0a\x7fshort", b"\x0f"] {
            for path in rooms.iter().map(String::as_str).chain([SEND, SUBSCRIBE]) {
                for status in [native(path, malformed).await, page(path, malformed).await] {
                    assert_field_error(&status, "INVALID_MESSAGE", "message");
                }
            }
        }
        let too_large = SendRequest { session_token: "x".repeat(4 * 128 * 1024), ..SendRequest::default() };
        let too_large = too_large.encode_to_vec();
        for path in [SEND, &rooms[0]] {
            for status in [native(path, &too_large).await, page(path, &too_large).await] {
                assert_eq!(status.code(), Code::OutOfRange, "{path}: {status:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn page_sizes_and_page_tokens_are_checked() {
    undisturbed(async |server| {
        let mut rooms = server.rooms().await;
        for page_size in [1001, u32::MAX] {
            let status = rooms.list_rooms(ListRoomsRequest { page_size, ..Default::default() }).await.unwrap_err();
            assert_field_error(&status, "INVALID_MESSAGE", "page_size");
        }
        for page_size in [0, 1, 1000] {
            rooms.list_rooms(ListRoomsRequest { page_size, ..Default::default() }).await.expect("a page");
        }
        let page_token = "no token".to_owned();
        let status = rooms.list_rooms(ListRoomsRequest { page_token, ..Default::default() }).await.unwrap_err();
        assert_field_error(&status, "INVALID_MESSAGE", "page_token");
    })
    .await;
}

#[tokio::test]
async fn room_settings_beyond_their_limits_are_refused() {
    undisturbed(async |server| {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let entries = |n: usize| (0..n).map(|entry| (entry.to_string(), String::new())).collect();
        let labels = |size: usize| [("key".to_owned(), "v".repeat(size - 3))].into();
        let cases = [
            ("room.display_name", Room { display_name: "a".repeat(257), ..Room::default() }),
            ("room.labels", Room { labels: labels(4097), ..Room::default() }),
            ("room.labels", Room { labels: entries(65), ..Room::default() }),
            ("room.max_members", Room { max_members: 1001, ..Room::default() }),
            ("room.duplicate_identity", Room { duplicate_identity: 9, ..Room::default() }),
            ("room.empty_timeout", Room { empty_timeout: seconds(-1), ..Room::default() }),
        ];
        let mut rooms = server.rooms().await;
        for (field, room) in cases {
            let request = CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() };
            assert_field_error(&rooms.create_room(request).await.unwrap_err(), "INVALID_MESSAGE", field);
        }
        for labels in [labels(4096), entries(64)] {
            let room = Room { display_name: "a".repeat(256), labels, max_members: 1000, ..Room::default() };
            let request = CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() };
            rooms.create_room(request).await.expect("within the limits");
        }
    })
    .await;
}

/// Makes a native call, which must fail.
async fn call(server: &crate::common::TestServer, path: &'static str) -> Status {
    let mut grpc = tonic::client::Grpc::new(connect(server.addr).await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<SendRequest, SendResponse>::default();
    let path = http::uri::PathAndQuery::from_static(path);
    grpc.unary(tonic::Request::new(SendRequest::default()), path, codec).await.expect_err("there is no such method")
}

#[tokio::test]
async fn unknown_methods_and_services_are_unimplemented() {
    undisturbed(async |server| {
        for path in UNKNOWN {
            assert_eq!(call(server, path).await.code(), Code::Unimplemented, "{path}");
            for version in [Version::Http1, Version::Http2] {
                for encoding in [Encoding::Binary, Encoding::Text] {
                    let web = WebClient { version, encoding, ..WebClient::new(server.addr) };
                    let status = web.call(path, &[]).await.try_next::<SendResponse>().await;
                    let status = status.expect_err("there is no such method");
                    assert_eq!(status.code(), Code::Unimplemented, "{path} {web:?}");
                }
            }
            let headers = [("content-type", "application/grpc"), ("te", "trailers")];
            let response = request(server.addr, Version::Http2, Method::POST, path, &headers, frame(&[])).await;
            assert_eq!(grpc_status(response.unwrap()).await.code(), Code::Unimplemented, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn requests_with_other_methods_or_content_types_are_refused() {
    undisturbed(async |server| {
        let addr = server.addr;
        let send = async |version, method: Method, path: &str, kind: &str| {
            let headers = [("content-type", kind)];
            let headers = if kind.is_empty() { &[][..] } else { &headers[..] };
            request(addr, version, method, path, headers, frame(&[])).await.unwrap()
        };
        let paths = [&[SEND, "/signalbox.v1.Signal/Exchange"][..], &UNKNOWN].concat();
        for version in [Version::Http1, Version::Http2] {
            for path in &paths {
                for kind in
                    ["text/plain", "application/json", "application/x-www-form-urlencoded", "application/grpcfoo", ""]
                {
                    let response = send(version, Method::POST, path, kind).await;
                    let status = response.status();
                    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path} as {kind:?} over {version:?}");
                }
                for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
                    let response = send(version, method.clone(), path, "application/grpc-web+proto").await;
                    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path} over {version:?}");
                    assert_eq!(header_of(&response, "allow"), "POST");
                }
            }
        }
        // Bidirectional streams and native gRPC need HTTP/2.
        let exchange = send(Version::Http1, Method::POST, paths[1], "application/grpc-web+proto").await;
        assert_eq!(exchange.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "Exchange over HTTP/1.1");
        for kind in ["application/grpc", "application/grpc+proto"] {
            let response = send(Version::Http1, Method::POST, SEND, kind).await;
            assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind} over HTTP/1.1");
        }
    })
    .await;
}
