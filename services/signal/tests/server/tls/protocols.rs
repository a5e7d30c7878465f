//! The protocols over TLS, and connections without TLS.

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use signalbox_proto::v1::{SendRequest, signal_client::SignalClient};
use signalbox_testkit::grpc_web::frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Code;

use super::serve;
use crate::common::{DEADLINE, assert_error, messages, within};

#[tokio::test]
async fn native_clients_use_http_2() {
    let served = serve(&[]).await;
    let addr = served.server.addr;
    let stream = served.client.connect(addr).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut signal = SignalClient::new(served.client.channel(addr).await);
    let request = SendRequest {
        session_token: "garbage".to_owned(),
        messages: vec![messages::unnumbered("", messages::leave())],
    };
    assert_error(&signal.send(request).await.unwrap_err(), Code::NotFound, "SESSION_GONE");
}

#[tokio::test]
async fn browsers_choose_the_version_of_http() {
    let served = serve(&[]).await;
    let addr = served.server.addr;
    // A browser that offers both gets HTTP/2.
    let both = served.client.clone().offering(&["http/1.1", "h2"]).connect(addr).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    for (alpn, agreed) in [(&["http/1.1"][..], Some(&b"http/1.1"[..])), (&[], None)] {
        let stream = served.client.clone().offering(alpn).connect(addr).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let host = format!("localhost:{}", addr.port());
        let request = Request::post("/signalbox.v1.Signal/Send")
            .header(header::HOST, &host)
            .header(header::ORIGIN, format!("https://{host}"))
            .header(header::CONTENT_TYPE, "application/grpc-web")
            .body(Full::new(frame(&[])))
            .unwrap();
        let response = within(DEADLINE, sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
        let request = Request::get("/healthz").header(header::HOST, &host).body(Full::default()).unwrap();
        let response = within(DEADLINE, sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    let error = served.client.clone().offering(&["h3"]).connect(addr).await.expect_err("h3 is not supported");
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn plain_http_is_answered_with_a_hint_to_use_https() {
    let served = serve(&[]).await;
    let host = served.server.addr.to_string();
    let long = format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 30000\r\n\r\n{}", "x".repeat(30_000));
    for sent in [&format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &long] {
        let mut socket = TcpStream::connect(served.server.addr).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(DEADLINE, socket.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
        assert_eq!(body, "This port speaks TLS: use https://.\n");
    }
}

#[tokio::test]
async fn bytes_that_are_not_tls_end_the_connection() {
    let served = serve(&[]).await;
    for garbage in [&[0; 1000][..], &[22; 1000], b"\x16\x03\x01\x00\x05hello", b"\xff\xfe\xfd"] {
        let mut socket = TcpStream::connect(served.server.addr).await.unwrap();
        let _ = socket.write_all(garbage).await;
        // An alert at most. The server may close before it has read everything.
        let mut answer = Vec::new();
        let _ = within(DEADLINE, socket.read_to_end(&mut answer)).await;
        assert!(answer.len() < 100, "{answer:?}");
    }
    served.client.connect(served.server.addr).await.expect("other connections are served");
}
