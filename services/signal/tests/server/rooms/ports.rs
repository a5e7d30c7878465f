//! What the public and the admin listener serve: Rooms, reflection and detailed health are for operators, and not served
//! on a port that is reachable from other machines.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use serde_json::Value;
use signalbox_proto::v1::{
    CreateRoomRequest, GetRoomRequest, ListRoomsResponse, RemoveMemberRequest, Room, SendRequest,
    rooms_client::RoomsClient, signal_client::SignalClient,
};
use signalbox_testkit::grpc_web::frame;
use tokio_stream::{StreamExt, once};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::{create, named};
use crate::common::{
    DEADLINE, TestServer, assert_error, connect,
    native::Member,
    raw::{Version, grpc_status, header_of, request, text},
    web::WebClient,
    within,
};

/// Flags with which the public listener does not serve Rooms.
const PUBLIC: [&[&str]; 3] = [
    &["--listen", "0.0.0.0:0", "--allow-anonymous"],
    &["--listen", "0.0.0.0:0", "--allow-anonymous", "--admin-listen", "127.0.0.1:0"],
    &["--admin-listen", "127.0.0.1:0"],
];
const ROOMS: [&str; 8] =
    ["CreateRoom", "GetRoom", "ListRooms", "UpdateRoom", "DeleteRoom", "ListMembers", "RemoveMember", "WatchRoom"];

/// Names of the services that reflection lists.
async fn listed_services(addr: SocketAddr) -> Result<Vec<String>, Status> {
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(connect(addr).await);
    let mut answers = client.server_reflection_info(once(list)).await?.into_inner();
    let answer = within(DEADLINE, answers.next()).await.expect("an answer")?;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
    Ok(list.service.into_iter().map(|service| service.name).collect())
}

/// The status of a health check for a service.
async fn health_of(addr: SocketAddr, service: &str) -> Code {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(connect(addr).await).check(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// Content type and text of `/healthz`.
async fn healthz(addr: SocketAddr) -> (String, String) {
    let response = request(addr, Version::Http1, Method::GET, "/healthz", &[], "").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, "cache-control"), "no-store");
    (header_of(&response, "content-type").to_owned(), text(response).await)
}

#[tokio::test]
async fn a_public_port_refuses_rooms_and_names_the_admin_listener() {
    for flags in PUBLIC {
        let server = TestServer::start(flags).await;
        let status = server.rooms().await.create_room(create(named("demo"))).await.expect_err("it is not served here");
        assert_error(&status, Code::PermissionDenied, "NOT_SERVED_HERE");
        assert!(status.message().contains("--admin-listen"), "{status:?}");
        for method in ROOMS {
            let path = format!("/signalbox.v1.Rooms/{method}");
            let status = WebClient::new(server.addr).call(&path, &[]).await.try_next::<ListRoomsResponse>().await;
            assert_error(&status.expect_err("it is not served here"), Code::PermissionDenied, "NOT_SERVED_HERE");
            let headers = [("content-type", "application/grpc"), ("te", "trailers")];
            let response = request(server.addr, Version::Http2, Method::POST, &path, &headers, frame(&[])).await;
            let status = grpc_status(response.unwrap()).await;
            assert_error(&status, Code::PermissionDenied, "NOT_SERVED_HERE");
        }
        // Joins succeed.
        Member::join(&server, "demo").await;
    }
}

#[tokio::test]
async fn rooms_can_be_switched_on_and_off() {
    for (flags, served) in
        [(&["--rooms", "false"][..], false), (&["--rooms", "true", "--admin-listen", "127.0.0.1:0"], true)]
    {
        let server = TestServer::start(flags).await;
        let made = server.rooms().await.create_room(create(named("demo"))).await;
        assert_eq!(made.is_ok(), served, "{flags:?}: {made:?}");
        if let Err(status) = made {
            assert_error(&status, Code::PermissionDenied, "NOT_SERVED_HERE");
        }
        if server.admin_addr.is_none() {
            let names = listed_services(server.addr).await.expect("reflection is served");
            assert!(!names.contains(&"signalbox.v1.Rooms".to_owned()), "{names:?}");
        }
        Member::join(&server, "demo").await;
    }
}

#[tokio::test]
async fn the_admin_listener_serves_the_same_rooms() {
    let server = TestServer::start(&["--auto-create", "false", "--admin-listen", "127.0.0.1:0"]).await;
    let admin = server.admin_addr.expect("an admin listener");
    assert_ne!(admin, server.addr);
    let mut rooms = RoomsClient::new(connect(admin).await);
    rooms.create_room(create(named("demo"))).await.expect("it is served here");
    let mut member = Member::join(&server, "demo").await;
    let room = rooms.get_room(GetRoomRequest { name: "demo".to_owned() }).await.expect("it exists").into_inner();
    assert_eq!(room.member_count, 1);
    let remove = RemoveMemberRequest { room: "demo".to_owned(), member_id: member.id.clone(), ban: None };
    rooms.remove_member(remove).await.expect("it exists");
    assert_eq!(member.expect_go_away().await.0.reason, "REMOVED");

    let page: Result<Room, _> =
        WebClient::new(admin).unary("/signalbox.v1.Rooms/CreateRoom", &create(named("page"))).await;
    assert_eq!(page.expect("gRPC-Web is served").name, "page");
    server.stop().await;
}

#[tokio::test]
async fn healthz_of_a_public_port_has_no_details() {
    for flags in PUBLIC {
        let server = TestServer::start(flags).await;
        let (kind, content) = healthz(server.addr).await;
        assert!(kind.starts_with("text/plain"), "{kind}");
        assert_eq!(content, "ok\n");
        for (service, code) in [
            ("", Code::Ok),
            ("signalbox.v1.Signal", Code::Ok),
            ("signalbox.v1.Rooms", Code::NotFound),
            ("signalbox.v1.Nothing", Code::NotFound),
        ] {
            assert_eq!(health_of(server.addr, service).await, code, "{service:?}");
        }
        let Some(admin) = server.admin_addr else { continue };
        let (kind, content) = healthz(admin).await;
        assert_eq!(kind, "application/json");
        let health: Value = serde_json::from_str(&content).expect("JSON");
        assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(health_of(admin, "signalbox.v1.Rooms").await, Code::Ok);
    }
}

#[tokio::test]
async fn a_public_port_has_no_reflection() {
    for flags in PUBLIC {
        let server = TestServer::start(flags).await;
        let status = listed_services(server.addr).await.expect_err("it is not served here");
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        let Some(admin) = server.admin_addr else { continue };
        let names = listed_services(admin).await.expect("it is served here");
        let expected = ["grpc.reflection.v1.ServerReflection", "grpc.health.v1.Health", "signalbox.v1.Rooms"];
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn reflection_and_detailed_health_can_be_switched_on_and_off() {
    let flags = ["--listen", "0.0.0.0:0", "--allow-anonymous", "--reflection", "true", "--detailed-health", "true"];
    let server = TestServer::start(&flags).await;
    let names = listed_services(server.addr).await.expect("it is served here");
    assert!(names.contains(&"signalbox.v1.Signal".to_owned()), "{names:?}");
    assert!(!names.contains(&"signalbox.v1.Rooms".to_owned()), "{names:?}");
    assert_eq!(healthz(server.addr).await.0, "application/json");
    assert_eq!(health_of(server.addr, "signalbox.v1.Rooms").await, Code::Ok);

    let server = TestServer::start(&["--reflection", "false", "--detailed-health", "false"]).await;
    assert_eq!(listed_services(server.addr).await.expect_err("it is not served here").code(), Code::Unimplemented);
    assert_eq!(healthz(server.addr).await.1, "ok\n");
    server.rooms().await.create_room(CreateRoomRequest::default()).await.expect("the listener is on loopback");
}

#[tokio::test]
async fn the_admin_listener_serves_no_signaling_and_no_page() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "the demo page").unwrap();
    let web_dir = folder.path().to_str().unwrap();
    let server = TestServer::start(&["--admin-listen", "127.0.0.1:0", "--web-dir", web_dir]).await;
    let admin = server.admin_addr.expect("an admin listener");
    let page = async |addr, path: &str| request(addr, Version::Http1, Method::GET, path, &[], "").await.unwrap();
    assert_eq!(text(page(server.addr, "/").await).await, "the demo page");
    assert!(text(page(admin, "/").await).await.starts_with("Signalbox admin listener"));
    assert_eq!(page(admin, "/index.html").await.status(), StatusCode::NOT_FOUND);
    let send = SignalClient::new(connect(admin).await).send(SendRequest::default()).await;
    let status = send.expect_err("it is not served here");
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}

#[tokio::test]
async fn metrics_are_served_where_rooms_is() {
    let status = async |addr| request(addr, Version::Http1, Method::GET, "/metrics", &[], "").await.unwrap().status();
    for flags in PUBLIC {
        let server = TestServer::start(flags).await;
        assert_eq!(status(server.addr).await, StatusCode::NOT_FOUND);
        if let Some(admin) = server.admin_addr {
            assert_eq!(status(admin).await, StatusCode::OK);
        }
    }
    assert_eq!(status(TestServer::start(&[]).await.addr).await, StatusCode::OK);
}
