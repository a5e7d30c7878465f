//! What the public can do through a live tunnel, and what it cannot.

use signalbox_proto::v1::{
    Join, ListRoomsRequest, SubscribeRequest, rooms_client::RoomsClient, server_message::Body,
    signal_client::SignalClient, subscribe_request::Open,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

use super::parts::{Bore, DEADLINE, Link, SHOWN, Share, binaries, within};

fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// What comes of a join, and the first message.
async fn join(channel: &Channel, room: &str, token: Option<&str>) -> Result<Option<Body>, Code> {
    let open = Open::Join(Join { room: room.to_owned(), ..Join::default() });
    let request = with_token(SubscribeRequest { open: Some(open) }, token);
    let mut stream = SignalClient::new(channel.clone()).subscribe(request).await.map_err(|s| s.code())?.into_inner();
    within(DEADLINE, stream.message()).await.map(|message| message.unwrap().body).map_err(|status| status.code())
}

/// Status and body of a GET.
async fn get(link: &Link, path: &str, host: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(&link.authority).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(DEADLINE, socket.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn only_the_shared_room_is_there() {
    let Some(_) = binaries() else { return };
    let ip = "127.0.0.1";
    let _bore = Bore::start(ip, None).await;
    // By a loopback name, for which a server without a tunnel would be open.
    let mut share = Share::start(ip, &["--http"]).await;
    let link = share.link().await;
    let channel = Channel::from_shared(link.origin.clone()).unwrap().connect().await.unwrap();
    let token = Some(link.token.as_str());

    // The door.
    assert!(matches!(join(&channel, &link.room, token).await, Ok(Some(Body::Welcome(_)))));
    assert_eq!(join(&channel, &link.room, None).await.unwrap_err(), Code::Unauthenticated);
    assert_eq!(join(&channel, &link.room, Some("garbage")).await.unwrap_err(), Code::Unauthenticated);
    assert_eq!(join(&channel, "another", token).await.unwrap_err(), Code::PermissionDenied);

    // No way to the rooms.
    for (token, code) in [(None, Code::Unauthenticated), (token, Code::PermissionDenied)] {
        let request = with_token(ListRoomsRequest::default(), token);
        let status = RoomsClient::new(channel.clone()).list_rooms(request).await.unwrap_err();
        assert_eq!(status.code(), code);
    }

    // Nothing that describes it.
    let question = v1::ServerReflectionRequest::default();
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let status = client.server_reflection_info(tokio_stream::once(question)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let question = v1alpha::ServerReflectionRequest::default();
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let status = client.server_reflection_info(tokio_stream::once(question)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let mut health = HealthClient::new(channel.clone());
    for (service, code) in [("", None), ("signalbox.v1.Signal", None), ("signalbox.v1.Rooms", Some(Code::NotFound))] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await;
        assert_eq!(answer.err().map(|status| status.code()), code, "{service:?}");
    }
    let authority = link.authority.as_str();
    assert_eq!(get(&link, "/healthz", authority).await, (200, "ok\n".to_owned()));
    for path in ["/metrics", "/debug", "/admin"] {
        assert_eq!(get(&link, path, authority).await.0, 404, "{path}");
    }

    // Not for another name, and not for this machine's own at another port.
    for host in ["evil.example", "localhost:50051", "127.0.0.1.evil.example:20000"] {
        assert_eq!(get(&link, "/", host).await.0, 421, "{host}");
    }
    assert_eq!(get(&link, "/", authority).await.0, 200);
}

#[tokio::test]
async fn reflection_is_there_if_asked_for() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.1.2";
    let _bore = Bore::start(ip, None).await;
    let mut share = Share::start(ip, &["--http", "--reflection"]).await;
    let link = share.link().await;
    let channel = Channel::from_shared(link.origin.clone()).unwrap().connect().await.unwrap();
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel);
    let question = v1::ServerReflectionRequest::default();
    assert!(client.server_reflection_info(tokio_stream::once(question)).await.is_ok());
    assert!(share.says(SHOWN, "By hand").await.contains("grpcurl -plaintext -H"));
}
