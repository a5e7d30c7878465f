//! The Rooms service with tokens.

use http::{Method, StatusCode};
use serde_json::json;
use signalbox_proto::{
    reason,
    v1::{
        CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, ListMembersRequest, ListRoomsRequest,
        RemoveMemberRequest, Room, UpdateRoomRequest, WatchRoomRequest, rooms_client::RoomsClient,
    },
};
use tonic::{Code, Status, transport::Channel};

use super::TokenServer;
use crate::common::{
    assert_error, connect,
    raw::{Version, grpc_status, request},
    with_token,
};

/// Makes all calls about a room; returns their statuses.
async fn call_all(rooms: &mut RoomsClient<Channel>, token: Option<&str>, name: &str) -> Vec<(&'static str, Status)> {
    let room = Some(Room { name: name.to_owned(), ..Room::default() });
    let (name, member_id) = (name.to_owned(), "a".repeat(20));
    let status = |result: Result<(), Status>| result.err().unwrap_or_else(|| Status::ok(""));
    let create = CreateRoomRequest { room: room.clone(), ..CreateRoomRequest::default() };
    let update = UpdateRoomRequest { room, ..UpdateRoomRequest::default() };
    let remove = RemoveMemberRequest { room: name.clone(), member_id, ban: None };
    vec![
        ("create", status(rooms.create_room(with_token(create, token)).await.map(drop))),
        ("get", status(rooms.get_room(with_token(GetRoomRequest { name: name.clone() }, token)).await.map(drop))),
        ("update", status(rooms.update_room(with_token(update, token)).await.map(drop))),
        (
            "members",
            status(rooms.list_members(with_token(ListMembersRequest { room: name.clone() }, token)).await.map(drop)),
        ),
        ("remove", status(rooms.remove_member(with_token(remove, token)).await.map(drop))),
        ("watch", status(rooms.watch_room(with_token(WatchRoomRequest { room: name.clone() }, token)).await.map(drop))),
        ("delete", status(rooms.delete_room(with_token(DeleteRoomRequest { name }, token)).await.map(drop))),
    ]
}

fn is_refused(status: &Status) -> bool {
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}

#[tokio::test]
async fn every_call_needs_an_admin_token_for_its_room() {
    let server = TokenServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let admin = json!({"can_admin": true});
    for (token, code, reason) in [
        (None, Code::Unauthenticated, reason::TOKEN_INVALID),
        (Some("garbage".to_owned()), Code::Unauthenticated, reason::TOKEN_INVALID),
        (Some(server.token("*", "ann")), Code::PermissionDenied, reason::ROOM_FORBIDDEN),
        (Some(server.token_with("other", "ann", &admin)), Code::PermissionDenied, reason::ROOM_FORBIDDEN),
        (Some(server.token_with("team-*", "ann", &admin)), Code::PermissionDenied, reason::ROOM_FORBIDDEN),
    ] {
        for (call, status) in call_all(&mut rooms, token.as_deref(), "demo").await {
            assert_error(&status, code, reason);
            assert!(is_refused(&status), "{call}");
        }
    }
    for pattern in ["demo", "de*", "*"] {
        let token = server.token_with(pattern, "ann", &admin);
        for (call, status) in call_all(&mut rooms, Some(&token), "demo").await {
            assert!(!is_refused(&status), "{call} with {pattern}: {status:?}");
        }
    }
}

#[tokio::test]
async fn lists_contain_the_rooms_of_the_admin_token() {
    let server = TokenServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let admin = json!({"can_admin": true});
    let all = server.token_with("*", "backend", &admin);
    for name in ["team-a", "team-b", "demo"] {
        let room = Some(Room { name: name.to_owned(), ..Room::default() });
        let request = CreateRoomRequest { room, ..CreateRoomRequest::default() };
        rooms.create_room(with_token(request, Some(&all))).await.expect("it is created");
    }
    for (pattern, expected) in [
        ("*", &["demo", "team-a", "team-b"][..]),
        ("team-*", &["team-a", "team-b"]),
        ("demo", &["demo"]),
        ("nothing", &[]),
    ] {
        let token = server.token_with(pattern, "backend", &admin);
        let response = rooms.list_rooms(with_token(ListRoomsRequest::default(), Some(&token))).await.expect("a list");
        let names: Vec<_> = response.into_inner().rooms.into_iter().map(|room| room.name).collect();
        assert_eq!(names, expected, "{pattern}");
    }
    let refused = rooms.list_rooms(with_token(ListRoomsRequest::default(), Some(&server.token("*", "ann")))).await;
    assert_error(&refused.expect_err("refused"), Code::PermissionDenied, reason::ROOM_FORBIDDEN);
    // A server-generated name matches only the pattern `*`.
    let unnamed = |pattern| with_token(CreateRoomRequest::default(), Some(&server.token_with(pattern, "a", &admin)));
    assert!(rooms.create_room(unnamed("*")).await.is_ok());
    let refused = rooms.create_room(unnamed("team-*")).await.expect_err("refused");
    assert_error(&refused, Code::PermissionDenied, reason::ROOM_FORBIDDEN);
}

#[tokio::test]
async fn the_admin_listener_needs_no_token() {
    let server = TokenServer::start(&["--admin-listen", "127.0.0.1:0"]).await;
    let mut rooms = RoomsClient::new(connect(server.admin_addr.expect("an admin port")).await);
    for (call, status) in call_all(&mut rooms, None, "demo").await {
        assert!(!is_refused(&status), "{call}: {status:?}");
    }
    // The public listener does.
    let refused = server.rooms().await.list_rooms(ListRoomsRequest::default()).await.expect_err("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
}

#[tokio::test]
async fn a_public_port_serves_rooms_to_admin_tokens_but_no_metrics_or_reflection() {
    let server = TokenServer::start(&["--listen", "0.0.0.0:0"]).await;
    let mut rooms = server.rooms().await;
    let refused = rooms.list_rooms(ListRoomsRequest::default()).await.expect_err("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
    let admin = server.token_with("*", "backend", &json!({"can_admin": true}));
    rooms.list_rooms(with_token(ListRoomsRequest::default(), Some(&admin))).await.expect("a list");
    let addr = server.addr;
    let bearer = format!("Bearer {admin}");
    let metrics = request(addr, Version::Http1, Method::GET, "/metrics", &[("authorization", &bearer)], "").await;
    assert_eq!(metrics.expect("a response").status(), StatusCode::NOT_FOUND);
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", &bearer)];
    let reflection = request(addr, Version::Http2, Method::POST, path, &headers, "").await.expect("a response");
    assert_eq!(grpc_status(reflection).await.code(), Code::Unimplemented);
}

#[tokio::test]
async fn with_rooms_switched_off_all_tokens_are_refused() {
    let server = TokenServer::start(&["--rooms", "false"]).await;
    let mut rooms = server.rooms().await;
    for token in [None, Some(server.token_with("*", "ann", &json!({"can_admin": true})))] {
        for (_, status) in call_all(&mut rooms, token.as_deref(), "team").await {
            assert_error(&status, Code::PermissionDenied, reason::NOT_SERVED_HERE);
        }
    }
}
