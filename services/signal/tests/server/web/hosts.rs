//! Validation of `Host` and `:authority`: requests for other hosts are refused.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, StatusCode};
use signalbox_testkit::grpc_web::frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::{Endpoint, Uri};

use crate::common::{
    DEADLINE, TestServer, assert_error, messages,
    native::Member,
    raw::{Version, request, text},
    web::WebClient,
    within,
};

const SEND: &str = "/signalbox.v1.Signal/Send";
const PATHS: [&str; 5] = ["/", "/index.html", SEND, "/signalbox.v1.Rooms/ListRooms", "/grpc.health.v1.Health/Check"];

/// Sends a request with that head; returns the status of the response.
async fn status_of(addr: SocketAddr, head: &str) -> u16 {
    let mut socket = within(DEADLINE, TcpStream::connect(addr)).await.unwrap();
    let body = if head.starts_with("POST") { frame(&[]) } else { Bytes::new() };
    let kind = if body.is_empty() { "" } else { "content-type: application/grpc-web\r\n" };
    let rest = format!("\r\nconnection: close\r\n{kind}content-length: {}\r\n\r\n", body.len());
    socket.write_all(&[head.as_bytes(), rest.as_bytes(), &body].concat()).await.unwrap();
    let mut answer = Vec::new();
    within(DEADLINE, socket.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {answer:?}"))
}

/// The status of a request for that host.
async fn status_for(addr: SocketAddr, path: &str, host: &str) -> u16 {
    let method = if path.contains('.') && !path.ends_with("html") { "POST" } else { "GET" };
    status_of(addr, &format!("{method} {path} HTTP/1.1\r\nhost: {host}")).await
}

#[tokio::test]
async fn only_own_names_are_served() {
    let server = TestServer::start(&[]).await;
    let (addr, port) = (server.addr, server.addr.port());
    for host in ["127.0.0.1", "localhost", "LocalHost", "[::1]", "[0:0::1]"] {
        let host = format!("{host}:{port}");
        assert_eq!(status_for(addr, SEND, &host).await, 200, "{host}");
        assert_eq!(status_for(addr, "/", &host).await, 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.",
        "127.0.0.1.",
        "localhost.evil.example",
        "xlocalhost",
        "user@localhost",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.2",
        "localhost,localhost",
    ] {
        let host = format!("{host}:{port}");
        for path in PATHS {
            assert_eq!(status_for(addr, path, &host).await, 421, "{path} for {host}");
        }
    }
    let next = port.wrapping_add(1).max(1);
    for host in
        ["", "localhost", "127.0.0.1", "localhost:80", "localhost:", &format!("localhost:{next}"), &format!("{port}")]
    {
        assert_eq!(status_for(addr, SEND, host).await, 421, "{host:?}");
    }
}

#[tokio::test]
async fn all_places_that_name_a_host_are_checked() {
    let server = TestServer::start(&[]).await;
    let addr = server.addr;
    let (ours, foreign) = (addr.to_string(), format!("evil.example:{}", addr.port()));
    for (head, expected) in [
        (format!("POST {SEND} HTTP/1.1\r\nhost: {ours}"), 200),
        (format!("POST {SEND} HTTP/1.1"), 421),
        (format!("POST {SEND} HTTP/1.1\r\nhost: {ours}\r\nhost: {ours}"), 421),
        (format!("POST {SEND} HTTP/1.1\r\nhost: {ours}\r\nhost: {foreign}"), 421),
        (format!("POST http://{ours}{SEND} HTTP/1.1\r\nhost: {ours}"), 200),
        (format!("POST http://{ours}{SEND} HTTP/1.1\r\nhost: {foreign}"), 421),
        (format!("POST http://{foreign}{SEND} HTTP/1.1\r\nhost: {ours}"), 421),
        (format!("POST http://user@{ours}{SEND} HTTP/1.1\r\nhost: {ours}"), 421),
        (format!("OPTIONS {SEND} HTTP/1.1\r\nhost: {foreign}\r\norigin: http://{foreign}"), 421),
        (format!("OPTIONS * HTTP/1.1\r\nhost: {foreign}"), 421),
    ] {
        assert_eq!(status_of(addr, &head).await, expected, "{head}");
    }
    // Over HTTP/2, `:authority` and `host`.
    let call = async |authority: &str, extra: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/grpc-web")], extra].concat();
        request_for(addr, authority, &headers).await
    };
    assert_eq!(call(&ours, &[]).await, StatusCode::OK);
    assert_eq!(call(&foreign, &[]).await, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(call(&ours, &[("host", &foreign)]).await, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(call(&foreign, &[("host", &ours)]).await, StatusCode::MISDIRECTED_REQUEST);
}

/// Makes a call over HTTP/2 with that authority.
async fn request_for(addr: SocketAddr, authority: &str, headers: &[(&str, &str)]) -> StatusCode {
    use http_body_util::Full;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let mut request = http::Request::post(format!("http://{authority}{SEND}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(frame(&[]))).unwrap();
    let io = TokioIo::new(within(DEADLINE, TcpStream::connect(addr)).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    within(DEADLINE, sender.send_request(request)).await.unwrap().status()
}

#[tokio::test]
async fn public_names_are_served() {
    let server =
        TestServer::start(&["--allow-anonymous", "--public-name", "signal.example.org,other.example.org:8443"]).await;
    let (addr, port) = (server.addr, server.addr.port());
    for host in [
        "signal.example.org",
        "signal.example.org:443",
        &format!("Signal.Example.org:{port}"),
        "other.example.org:8443",
    ] {
        assert_eq!(status_for(addr, SEND, host).await, 200, "{host}");
        assert_eq!(status_for(addr, "/", host).await, 200, "{host}");
    }
    for host in ["signal.example.org:8443", "other.example.org", "sub.signal.example.org", "example.org"] {
        assert_eq!(status_for(addr, SEND, host).await, 421, "{host}");
    }
    // A native client that uses the name.
    let connector =
        tower::service_fn(
            move |_: Uri| async move { TcpStream::connect(addr).await.map(hyper_util::rt::TokioIo::new) },
        );
    let named = async |name: &'static str| {
        let channel = Endpoint::from_static(name).connect_with_connector(connector).await.unwrap();
        let mut client = signalbox_proto::v1::signal_client::SignalClient::new(channel);
        client.send(signalbox_proto::v1::SendRequest::default()).await.expect_err("it has no messages")
    };
    assert_error(&named("http://signal.example.org").await, tonic::Code::InvalidArgument, "INVALID_MESSAGE");
    let status = named("http://evil.example").await;
    assert!(status.message().contains("421"), "{status:?}");
}

#[tokio::test]
async fn a_server_with_a_public_name_does_not_serve_rooms() {
    let server = TestServer::start(&["--allow-anonymous", "--public-name", "signal.example.org"]).await;
    let status = server.rooms().await.list_rooms(signalbox_proto::v1::ListRoomsRequest::default()).await;
    assert_error(&status.expect_err("it is not served here"), tonic::Code::PermissionDenied, "NOT_SERVED_HERE");
    Member::join(&server, "demo").await;
    let server = TestServer::start(&["--public-name", "localhost:*"]).await;
    server
        .rooms()
        .await
        .list_rooms(signalbox_proto::v1::ListRoomsRequest::default())
        .await
        .expect("localhost is not public");
}

#[tokio::test]
async fn a_server_on_all_addresses_accepts_the_called_one() {
    let server = TestServer::start(&["--listen", "0.0.0.0:0", "--allow-anonymous"]).await;
    let port = server.addr.port();
    let called = SocketAddr::from(([127, 0, 0, 9], port));
    assert_eq!(status_for(called, SEND, &called.to_string()).await, 200);
    assert_eq!(status_for(server.addr, SEND, &called.to_string()).await, 421);
    assert_eq!(status_for(called, SEND, &format!("0.0.0.0:{port}")).await, 421);
    WebClient::new(called)
        .send("garbage", vec![messages::unnumbered("", messages::heartbeat())])
        .await
        .expect_err("no such session");
}

#[tokio::test]
async fn health_checks_with_any_host_get_ok_only() {
    let server = TestServer::start(&["--admin-listen", "127.0.0.1:0"]).await;
    for addr in [server.addr, server.admin_addr.unwrap()] {
        for host in ["10.0.0.7", "10.0.0.7:8080", "evil.example", ""] {
            let head = format!("GET /healthz HTTP/1.1\r\nhost: {host}");
            assert_eq!(status_of(addr, &head).await, 200, "{host}");
        }
        // As HAProxy sends it.
        let mut socket = TcpStream::connect(addr).await.unwrap();
        socket.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        within(DEADLINE, socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }
    let response = request(server.addr, Version::Http1, Method::GET, "/healthz", &[], "").await.unwrap();
    assert_eq!(text(response).await, "ok\n");
}
