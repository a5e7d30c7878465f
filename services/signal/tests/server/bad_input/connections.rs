//! Connections that do not speak HTTP, or send too large headers.

use http::{Method, StatusCode};
use signalbox_testkit::grpc_web::frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::undisturbed;
use crate::common::{
    DEADLINE, TestServer,
    raw::{Version, request},
    within,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sends bytes, and reads until the server closes the connection.
async fn answer_to(server: &TestServer, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(server.addr).await.unwrap();
    // The server may close before all of it is written.
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = within(DEADLINE, socket.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn bytes_that_are_not_http_end_the_connection() {
    undisturbed(async |server| {
        let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client hello of TLS \r\n\r\n";
        let zeros = [0; 4096];
        let high: Vec<u8> = (0..4096).map(|n| (n * 7 % 251) as u8 | 0x80).collect();
        for garbage in [&tls[..], &zeros, &high, b"\r\n\r\n\x00\r\n\r\n", b"EHLO mail.example.org\r\n\r\n"] {
            let answer = String::from_utf8_lossy(&answer_to(server, garbage).await).into_owned();
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_partial_preface_blocks_no_other_connection() {
    undisturbed(async |server| {
        let mut sockets = Vec::new();
        for length in [1, 3, PREFACE.len() / 2, PREFACE.len() - 1] {
            let mut socket = TcpStream::connect(server.addr).await.unwrap();
            socket.write_all(&PREFACE[..length]).await.unwrap();
            sockets.push(socket);
        }
        // Others are served meanwhile. When no more can come, the connection ends.
        let response = request(server.addr, Version::Http1, Method::GET, "/healthz", &[], "").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        for mut socket in sockets {
            socket.shutdown().await.unwrap();
            let mut answer = Vec::new();
            within(DEADLINE, socket.read_to_end(&mut answer)).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn garbage_after_the_preface_is_answered_by_goaway() {
    undisturbed(async |server| {
        let settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00";
        let huge = b"\xff\xff\xff\x00\x00\x00\x00\x00\x01";
        let data_of_no_stream = b"\x00\x00\x01\x00\x00\x00\x00\x00\x09x";
        let invalid_headers = b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff";
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], huge, data_of_no_stream, invalid_headers] {
            let answer = answer_to(server, &[PREFACE, settings, garbage].concat()).await;
            // The types of the frames, among them GOAWAY (7).
            let mut rest = &answer[..];
            let mut kinds = Vec::new();
            while let [a, b, c, kind, _, _, _, _, _, ..] = *rest {
                kinds.push(kind);
                let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                rest = rest.get(9 + length..).unwrap_or_default();
            }
            assert!(kinds.contains(&7), "frames {kinds:?} answer {garbage:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn headers_beyond_8_kib_are_refused() {
    undisturbed(async |server| {
        let path = "/signalbox.v1.Signal/Send";
        let of = |size: usize| "x".repeat(size);
        let web = ("content-type", "application/grpc-web+proto");
        // Well within the limit.
        let fits = of(7 * 1024);
        for version in [Version::Http1, Version::Http2] {
            let headers = [web, ("x-large", &fits)];
            let response = request(server.addr, version, Method::POST, path, &headers, frame(&[])).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{version:?}");
        }
        let large = of(9 * 1024);
        let headers = [web, ("x-large", &large)];
        let response = request(server.addr, Version::Http2, Method::POST, path, &headers, frame(&[])).await;
        let status = response.expect("an answer").status();
        assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-large: {}", of(1024 * 1024));
        let answer = String::from_utf8_lossy(&answer_to(server, head.as_bytes()).await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    })
    .await;
}
