//! What visitors can and cannot reach through a live tunnel.

use signalbox_proto::{
    reason,
    v1::{
        CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, Join, ListMembersRequest, ListRoomsRequest,
        RemoveMemberRequest, Room, SubscribeRequest, UpdateRoomRequest, WatchRoomRequest, rooms_client::RoomsClient,
        server_message::Body, signal_client::SignalClient, subscribe_request::Open,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;

use super::harness::{Bore, DEADLINE, Link, SHOWN, Share, admin_token, binaries, within};

fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// Joins, and returns the first message or the error code.
async fn join(channel: &Channel, room: &str, token: Option<&str>) -> Result<Option<Body>, Code> {
    let open = Open::Join(Join { room: room.to_owned(), ..Join::default() });
    let request = with_token(SubscribeRequest { open: Some(open) }, token);
    let mut stream = SignalClient::new(channel.clone()).subscribe(request).await.map_err(|s| s.code())?.into_inner();
    within(DEADLINE, stream.message()).await.map(|message| message.unwrap().body).map_err(|status| status.code())
}

/// Asserts that every call of Rooms fails in the same way, whatever its token and arguments.
pub(crate) async fn rooms_are_not_served(channel: &Channel, name: &str, token: Option<&str>) {
    let mut rooms = RoomsClient::new(channel.clone());
    let (room, name) = (Some(Room { name: name.to_owned(), ..Room::default() }), name.to_owned());
    let create = CreateRoomRequest { room: room.clone(), ..CreateRoomRequest::default() };
    let update = UpdateRoomRequest { room, ..UpdateRoomRequest::default() };
    let remove = RemoveMemberRequest { room: name.clone(), member_id: "a".repeat(20), ban: None };
    let members = ListMembersRequest { room: name.clone() };
    let results = [
        rooms.create_room(with_token(create, token)).await.map(drop),
        rooms.get_room(with_token(GetRoomRequest { name: name.clone() }, token)).await.map(drop),
        rooms.list_rooms(with_token(ListRoomsRequest::default(), token)).await.map(drop),
        rooms.update_room(with_token(update, token)).await.map(drop),
        rooms.list_members(with_token(members, token)).await.map(drop),
        rooms.remove_member(with_token(remove, token)).await.map(drop),
        rooms.watch_room(with_token(WatchRoomRequest { room: name.clone() }, token)).await.map(drop),
        rooms.delete_room(with_token(DeleteRoomRequest { name }, token)).await.map(drop),
    ];
    for result in results {
        let status = result.unwrap_err();
        let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
        assert_eq!((status.code(), info.reason.as_str()), (Code::PermissionDenied, reason::NOT_SERVED_HERE));
    }
}

/// Returns status and body of a GET.
async fn get(link: &Link, path: &str, host: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(&link.authority).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    within(DEADLINE, socket.read_to_string(&mut response)).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn only_the_shared_room_is_reachable() {
    let Some(_) = binaries() else { return };
    let ip = "127.0.0.1";
    let _bore = Bore::start(ip, None).await;
    // A loopback name, which gives full access to a server without a tunnel.
    let mut share = Share::start(ip, &["--http"]).await;
    let link = share.link().await;
    let channel = Channel::from_shared(link.origin.clone()).unwrap().connect().await.unwrap();
    let token = Some(link.token.as_str());

    // Joins need a token for the shared room.
    assert!(matches!(join(&channel, &link.room, token).await, Ok(Some(Body::Welcome(_)))));
    assert_eq!(join(&channel, &link.room, None).await.unwrap_err(), Code::Unauthenticated);
    assert_eq!(join(&channel, &link.room, Some("garbage")).await.unwrap_err(), Code::Unauthenticated);
    assert_eq!(join(&channel, "another", token).await.unwrap_err(), Code::PermissionDenied);

    // Rooms is not served, whatever the token.
    let admin = admin_token(&share.secret()).await;
    for token in [None, Some("garbage"), token, Some(admin.as_str())] {
        rooms_are_not_served(&channel, &link.room, token).await;
    }
    // The admin token itself is valid.
    assert!(matches!(join(&channel, &link.room, Some(&admin)).await, Ok(Some(Body::Welcome(_)))));
    // Rooms is served at the admin listener, and the room is unchanged.
    let line = share.wait_for(SHOWN, "List members").await;
    let admin = line.split_whitespace().rev().nth(1).unwrap();
    let admin = Channel::from_shared(format!("http://{admin}")).unwrap().connect().await.unwrap();
    let rooms = RoomsClient::new(admin).list_rooms(ListRoomsRequest::default()).await.unwrap().into_inner().rooms;
    assert_eq!(rooms.iter().map(|room| room.name.as_str()).collect::<Vec<_>>(), [link.room.as_str()]);

    // No reflection, detailed health, metrics or admin pages.
    let request = v1::ServerReflectionRequest::default();
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let status = client.server_reflection_info(tokio_stream::once(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let request = v1alpha::ServerReflectionRequest::default();
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let status = client.server_reflection_info(tokio_stream::once(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let mut health = HealthClient::new(channel.clone());
    for (service, code) in [("", None), ("signalbox.v1.Signal", None), ("signalbox.v1.Rooms", Some(Code::NotFound))] {
        let result = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        assert_eq!(result.err().map(|status| status.code()), code, "{service:?}");
    }
    let authority = link.authority.as_str();
    assert_eq!(get(&link, "/healthz", authority).await, (200, "ok\n".to_owned()));
    for path in ["/metrics", "/debug", "/admin"] {
        assert_eq!(get(&link, path, authority).await.0, 404, "{path}");
    }

    // Other host names are rejected, and so are loopback names with another port.
    for host in ["evil.example", "localhost:50051", "127.0.0.1.evil.example:20000"] {
        assert_eq!(get(&link, "/", host).await.0, 421, "{host}");
    }
    assert_eq!(get(&link, "/", authority).await.0, 200);
}

#[tokio::test]
async fn reflection_is_served_if_enabled() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.1.2";
    let _bore = Bore::start(ip, None).await;
    let mut share = Share::start(ip, &["--http", "--reflection"]).await;
    let link = share.link().await;
    let channel = Channel::from_shared(link.origin.clone()).unwrap().connect().await.unwrap();
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { message_request: Some(list), ..v1::ServerReflectionRequest::default() };
    let mut responses = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let response = within(DEADLINE, responses.message()).await.unwrap().unwrap().message_response;
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = response else {
        panic!("{response:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"signalbox.v1.Signal") && !names.contains(&"signalbox.v1.Rooms"), "{names:?}");
    let admin = admin_token(&share.secret()).await;
    rooms_are_not_served(&channel, &link.room, Some(&admin)).await;
    assert!(share.wait_for(SHOWN, "With grpcurl").await.contains("grpcurl -plaintext -H"));
}
