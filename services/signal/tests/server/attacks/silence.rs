//! Connections that never come to a request, or to its end, and those that have nothing more to ask.

use std::{sync::Arc, time::Duration};

use http::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring};

use super::{
    attack, attack_over_tls,
    wire::{END_HEADERS, H2, HEADERS, NONE, PREFACE, SETTINGS, call, ends_within, frame},
};
use crate::common::{
    DEADLINE,
    program::Program,
    raw::{Version, request},
    within,
};

/// The first request is waited for 5 s; the machine may be busy.
const EARLIEST: Duration = Duration::from_secs(3);
const LATEST: Duration = Duration::from_secs(9);
/// Connections that have said something, each of which takes the buffers of its protocol: as many as four addresses may
/// have.
const MANY: usize = 256;

/// What they begin with: silence, half a preface, a whole one, a head that does not end, a body that stalls.
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
async fn who_asks_nothing_is_shown_out() {
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
async fn who_drips_is_shown_out_all_the_same() {
    attack(&[], async |program| {
        let mut drips = JoinSet::new();
        for (what, bytes) in beginnings(program) {
            let mut socket = TcpStream::connect(program.addr).await.unwrap();
            socket.write_all(&bytes).await.unwrap();
            drips.spawn(async move {
                // One more byte each half second, of whatever it is.
                let dripped = async {
                    while socket.write_all(b"a").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                };
                (what, tokio::time::timeout(LATEST, dripped).await.is_ok())
            });
        }
        while let Some(drip) = drips.join_next().await {
            let (what, ended) = drip.unwrap();
            assert!(ended, "{what}: it is still open");
        }
    })
    .await;
}

/// Holds so many sockets, which begin with those in turn, until the server has ended all of them.
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
async fn a_thousand_that_say_nothing() {
    attack(&[], async |program| hold(program, 1000, &[vec![]]).await).await;
}

#[tokio::test]
async fn hundreds_that_ask_nothing() {
    attack(&[], async |program| {
        let beginnings: Vec<_> = beginnings(program).into_iter().map(|(_, bytes)| bytes).collect();
        hold(program, MANY, &beginnings).await;
    })
    .await;
}

#[tokio::test]
async fn a_thousand_that_say_nothing_over_tls() {
    attack_over_tls(&[], async |program| hold(program, 1000, &[vec![]]).await).await;
}

/// What a client says first.
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
async fn hundreds_whose_tls_never_comes_about() {
    attack_over_tls(&[], async |program| {
        let hello = hello();
        let parts = [&hello[..1], &hello[..5], &hello[..100], &hello];
        hold(program, MANY, &parts.map(<[u8]>::to_vec)).await;
    })
    .await;
}

#[tokio::test]
async fn who_stalls_a_handshake_makes_way() {
    // Of itself no connection ends before this test does.
    attack_over_tls(&["--first-request-timeout", "60s"], async |program| {
        let hello = hello();
        // The server has answered: it is this one's turn.
        let handshake = async || {
            let mut socket = within(DEADLINE, TcpStream::connect(program.addr)).await.unwrap();
            socket.write_all(&hello).await.unwrap();
            let mut answer = [0];
            within(DEADLINE, socket.read_exact(&mut answer)).await.unwrap();
            socket
        };
        // They have all the turns that there are, and yet another one gets its own.
        let mut stalled = Vec::new();
        for _ in 0..MANY {
            stalled.push(handshake().await);
        }
        handshake().await;
    })
    .await;
}

#[tokio::test]
async fn who_has_nothing_more_to_ask_is_shown_out() {
    // The first look is when the first request has to be there.
    attack(&["--idle-timeout", "2s", "--first-request-timeout", "1s"], async |program| {
        let start = std::time::Instant::now();
        let mut h2 = H2::connect(program.addr).await;
        let path = "/grpc.health.v1.Health/Nothing";
        assert!(h2.send(&frame(HEADERS, END_HEADERS | 1, 1, &call(program.addr, path))).await);
        assert!(h2.answer(1).await);
        let mut goaways = 0;
        while let Some((kind, ..)) = h2.next().await {
            goaways += usize::from(kind == super::wire::GOAWAY);
        }
        assert!(goaways > 0, "it is told before it is closed");
        assert!(start.elapsed() >= Duration::from_secs(2), "it has its time: {:?}", start.elapsed());

        // A stream keeps it: that of honest members has been silent for no longer, and this one stays open.
        let mut h2 = H2::connect(program.addr).await;
        assert!(h2.open(1).await && h2.answer(1).await);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(h2.is_alive().await, "it has a stream");
    })
    .await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away_and_their_places_given_again() {
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
        assert!(ended >= 30, "{ended} were turned away");
        drop(held);
        // The server has to notice that they are gone.
        let served = async {
            while request(program.addr, Version::Http1, Method::GET, "/healthz", &[], "")
                .await
                .map_or(true, |response| response.status() != StatusCode::OK)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(DEADLINE, served).await;
    })
    .await;
}
