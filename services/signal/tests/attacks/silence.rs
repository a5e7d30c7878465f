//! Connections that never come to a request, or to its end, and those that have nothing more to ask.

use std::time::Duration;

use http::{Method, StatusCode};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::{
    attack, attack_by_many,
    common::{
        DEADLINE,
        program::Program,
        raw::{Version, request},
        within,
    },
    wire::{END_HEADERS, H2, HEADERS, NONE, PREFACE, SETTINGS, call, ends_within, frame},
};

/// The first request is waited for 5 s; the machine may be busy.
const EARLIEST: Duration = Duration::from_secs(3);
const LATEST: Duration = Duration::from_secs(9);

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

#[tokio::test]
async fn a_thousand_that_ask_nothing() {
    attack_by_many(1000, &[], async |program| {
        let beginnings = beginnings(program);
        let mut sockets = Vec::new();
        for index in 0..1000 {
            let mut socket = within(DEADLINE, TcpStream::connect(program.addr)).await.unwrap();
            socket.write_all(&beginnings[index % beginnings.len()].1).await.unwrap();
            sockets.push(socket);
        }
        for socket in &mut sockets {
            assert!(ends_within(socket, LATEST).await.is_some(), "it is still open");
        }
    })
    .await;
}

#[tokio::test]
async fn tls_that_never_comes_about() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("redb:{}", folder.path().display());
    let program = Program::start(&["--tls-self-signed", "--store", &store]).await;
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 100]].concat();
    let mut waits = JoinSet::new();
    for bytes in [&[][..], &hello[..1], &hello[..5], &hello] {
        for _ in 0..100 {
            let mut socket = TcpStream::connect(program.addr).await.unwrap();
            socket.write_all(bytes).await.unwrap();
            let length = bytes.len();
            waits.spawn(async move { (length, ends_within(&mut socket, LATEST).await) });
        }
    }
    while let Some(wait) = waits.join_next().await {
        let (length, took) = wait.unwrap();
        assert!(took.is_some(), "{length} bytes of a hello: it is still open");
    }
}

#[tokio::test]
async fn who_has_nothing_more_to_ask_is_shown_out() {
    attack(&["--idle-timeout", "2s"], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let path = "/grpc.health.v1.Health/Nothing";
        assert!(h2.send(&frame(HEADERS, END_HEADERS | 1, 1, &call(program.addr, path))).await);
        assert!(h2.answer(1).await);
        let mut goaways = 0;
        let start = std::time::Instant::now();
        while let Some((kind, ..)) = h2.next().await {
            goaways += usize::from(kind == crate::wire::GOAWAY);
        }
        assert!(goaways > 0, "it is told before it is closed");
        assert!(start.elapsed() >= Duration::from_secs(1), "it has its time: {:?}", start.elapsed());

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
