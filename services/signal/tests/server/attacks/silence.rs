//! Connections without a complete request, and idle ones.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use signalbox_testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring};

use super::{
    attack, attack_over_tls,
    wire::{END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, NONE, PREFACE, SETTINGS, call, ends_within, frame},
};
use crate::common::{
    DEADLINE,
    program::Program,
    raw::{Version, request},
    within,
};

/// The server waits 5 s for the first request; the machine may be busy.
const EARLIEST: Duration = Duration::from_secs(3);
const LATEST: Duration = Duration::from_secs(9);
/// Connections that have sent something, and so have protocol buffers: as many as four addresses may have.
const MANY: usize = 256;

/// What the connections send.
fn beginnings(program: &Program) -> Vec<(&'static str, Vec<u8>)> {
    let host = program.addr;
    let greeting = [PREFACE, &frame(SETTINGS, NONE, 0, &[])].concat();
    let send = "/signalbox.v1.Signal/Send";
    let headers = call(host, send);
    let head = format!("POST {send} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/grpc-web\r\n");
    vec![
        ("nothing", vec![]),
        ("the first letter of a preface", b"P".to_vec()),
        ("half a preface", PREFACE[..12].to_vec()),
        ("a preface", PREFACE.to_vec()),
        ("a greeting", greeting.clone()),
        ("headers without END_HEADERS", [&greeting[..], &frame(HEADERS, NONE, 1, &headers)].concat()),
        ("a body that does not come", [&greeting[..], &frame(HEADERS, END_HEADERS, 1, &headers)].concat()),
        ("an HTTP/1.1 head that does not end", head.clone().into_bytes()),
        ("an HTTP/1.1 body that stalls", format!("{head}content-length: 100\r\n\r\nabc").into_bytes()),
        ("an HTTP/1.1 chunk that stalls", format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nab").into_bytes()),
    ]
}

#[tokio::test]
async fn connections_without_a_complete_request_are_closed() {
    attack(&[], async |program| {
        let mut waits = JoinSet::new();
        for (what, bytes) in beginnings(program) {
            let mut socket = TcpStream::connect(program.addr).await.unwrap();
            socket.write_all(&bytes).await.unwrap();
            waits.spawn(async move { (what, ends_within(&mut socket, LATEST).await) });
        }
        while let Some(wait) = waits.join_next().await {
            let (what, took) = wait.unwrap();
            let took = took.unwrap_or_else(|| panic!("{what}: it is still open"));
            assert!(took >= EARLIEST, "{what}: ended after {took:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn slow_requests_are_closed() {
    attack(&[], async |program| {
        let mut writers = JoinSet::new();
        for (what, bytes) in beginnings(program) {
            let mut socket = TcpStream::connect(program.addr).await.unwrap();
            socket.write_all(&bytes).await.unwrap();
            writers.spawn(async move {
                // One more byte each half second.
                let written = async {
                    while socket.write_all(b"a").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                };
                (what, tokio::time::timeout(LATEST, written).await.is_ok())
            });
        }
        while let Some(writer) = writers.join_next().await {
            let (what, ended) = writer.unwrap();
            assert!(ended, "{what}: it is still open");
        }
    })
    .await;
}

/// Opens `count` connections, which send these beginnings in turn, and waits until the server has closed all of them.
async fn hold(program: &Program, count: usize, beginnings: &[Vec<u8>]) {
    let mut held = Vec::new();
    for beginning in beginnings.iter().cycle().take(count) {
        let mut socket = within(DEADLINE, TcpStream::connect(program.addr)).await.unwrap();
        socket.write_all(beginning).await.unwrap();
        held.push(socket);
    }
    for socket in &mut held {
        assert!(ends_within(socket, LATEST).await.is_some(), "it is still open");
    }
}

#[tokio::test]
async fn a_thousand_silent_connections_are_closed() {
    attack(&[], async |program| hold(program, 1000, &[vec![]]).await).await;
}

#[tokio::test]
async fn hundreds_of_incomplete_requests_are_closed() {
    attack(&[], async |program| {
        let beginnings: Vec<_> = beginnings(program).into_iter().map(|(_, bytes)| bytes).collect();
        hold(program, MANY, &beginnings).await;
    })
    .await;
}

#[tokio::test]
async fn a_thousand_silent_tls_connections_are_closed() {
    attack_over_tls(&[], async |program| hold(program, 1000, &[vec![]]).await).await;
}

/// A ClientHello.
fn hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn hundreds_of_incomplete_tls_handshakes_are_closed() {
    attack_over_tls(&[], async |program| {
        let hello = hello();
        let parts = [&hello[..1], &hello[..5], &hello[..100], &hello];
        hold(program, MANY, &parts.map(<[u8]>::to_vec)).await;
    })
    .await;
}

#[tokio::test]
async fn stalled_tls_handshakes_do_not_block_others() {
    // Longer than this test takes, so that no connection is closed for its age.
    attack_over_tls(&["--first-request-timeout", "60s"], async |program| {
        let hello = hello();
        // An answer means that the server has started the handshake.
        let handshake = async || {
            let mut socket = within(DEADLINE, TcpStream::connect(program.addr)).await.unwrap();
            socket.write_all(&hello).await.unwrap();
            within(DEADLINE, socket.read_exact(&mut [0])).await.unwrap();
            socket
        };
        // As many as the server makes at a time.
        let mut stalled = Vec::new();
        for _ in 0..MANY {
            stalled.push(handshake().await);
        }
        handshake().await;
    })
    .await;
}

#[tokio::test]
async fn idle_connections_are_closed_unless_they_have_a_stream() {
    // The server checks for idle connections when the first request is due.
    attack(&["--idle-timeout", "2s", "--first-request-timeout", "1s"], async |program| {
        let mut with_stream = H2::connect(program.addr).await;
        assert!(with_stream.open(1).await && with_stream.answer(1).await);
        let start = Instant::now();
        let mut idle = H2::connect(program.addr).await;
        let path = "/grpc.health.v1.Health/Nothing";
        assert!(idle.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &call(program.addr, path))).await);
        assert!(idle.answer(1).await);
        let mut goaways = 0;
        while let Some((kind, ..)) = idle.next().await {
            goaways += usize::from(kind == GOAWAY);
        }
        assert!(goaways > 0, "a GOAWAY comes before the end");
        assert!(start.elapsed() >= Duration::from_secs(2), "it was closed early, after {:?}", start.elapsed());
        // It has been silent for longer.
        assert!(with_stream.is_alive().await, "it has a stream");
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_until_others_end() {
    attack(&["--max-connections", "20"], async |program| {
        // Two are those of honest members.
        let mut held = Vec::new();
        for _ in 0..50 {
            held.push(TcpStream::connect(program.addr).await.unwrap());
        }
        let mut ended = 0;
        for socket in &mut held {
            ended += usize::from(ends_within(socket, Duration::from_millis(200)).await.is_some());
        }
        assert!(ended >= 30, "{ended} were closed");
        drop(held);
        eventually(DEADLINE, "another connection is served", async || {
            let response = request(program.addr, Version::Http1, Method::GET, "/healthz", &[], "").await;
            response.ok().filter(|response| response.status() == StatusCode::OK).map(drop)
        })
        .await;
    })
    .await;
}
