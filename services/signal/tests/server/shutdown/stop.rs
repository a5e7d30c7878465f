//! Stopping: everybody is told to come back, and nobody can keep the program from ending.

use std::time::{Duration, Instant};

use prost::Message;
use rustix::process::Signal;
use signalbox_proto::v1::{Action, GoAway, SubscribeRequest, server_message::Body, subscribe_request::Open};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::common::{
    DEADLINE, assert_error, body, connect,
    native::{Member, Stream},
    program::Program,
    say,
    web::{Web, WebMember, frame},
    within,
};

fn assert_sent_to_resume((go_away, status): (GoAway, Status)) {
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("DRAINING", Action::Resume));
    let retry_after = Duration::try_from(go_away.retry_after.expect("when to come back")).unwrap();
    assert!(retry_after <= Duration::from_secs(5), "{retry_after:?}");
    assert_error(&status, Code::Unavailable, "DRAINING");
    let told = status.get_details_retry_info().expect("when to come back").retry_delay;
    assert_eq!(told, Some(retry_after), "the status says the same");
}

async fn assert_everybody_is_told(signal: Signal) {
    let program = Program::start(&[]).await;
    let web = Web::new(program.addr);
    let mut native = Member::join_with(program.addr, say::join("demo")).await;
    let mut page = WebMember::join(web, say::join("demo")).await;
    let mut listener = Member::join_with(program.addr, say::join("another")).await;
    listener.half_close();
    let mut newcomer = Stream::open(program.addr).await;
    body!(native.next().await, MemberJoined);
    native.send(say::numbered(1, &page.id, say::offer("the last before the end"))).await;
    native.await_ack(1).await;

    let asked = Instant::now();
    program.signal(signal);
    // What was accepted is delivered first.
    assert_eq!(body!(page.next().await, Offer).sdp, "the last before the end");
    assert_sent_to_resume(page.sent_away().await);
    assert_sent_to_resume(native.sent_away().await);
    assert_sent_to_resume(listener.sent_away().await);
    // Nor does one that has not said anything yet hold it up.
    assert_error(&newcomer.end().await.unwrap_err(), Code::Unavailable, "DRAINING");

    let addr = program.addr;
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    // All streams had ended, so that there was nothing to wait for.
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn sigterm_sends_everybody_away_to_come_back() {
    assert_everybody_is_told(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_sends_everybody_away_to_come_back() {
    assert_everybody_is_told(Signal::INT).await;
}

#[tokio::test]
async fn one_that_watches_health_cannot_keep_it_from_ending() {
    let program = Program::start(&[]).await;
    let mut health = HealthClient::new(connect(program.addr).await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let first = within(DEADLINE, watch.message()).await.unwrap().expect("a state");
    assert_eq!(first.status(), ServingStatus::Serving);

    let asked = Instant::now();
    program.signal(Signal::TERM);
    let next = within(DEADLINE, watch.message()).await.unwrap().expect("another state");
    assert_eq!(next.status(), ServingStatus::NotServing);
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    // The drain timeout, which is 10 s, is for those who have a session.
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
}

/// Joins over HTTP/1.1 with a small window, and never reads.
async fn join_and_never_read(program: &Program, room: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(program.addr).await.unwrap();
    let request = SubscribeRequest { open: Some(Open::Join(say::join(room))) };
    let body = frame(&request.encode_to_vec());
    let head = format!(
        "POST /signalbox.v1.Signal/Subscribe HTTP/1.1\r\nhost: {}\r\ncontent-type: application/grpc-web+proto\r\n\
         content-length: {}\r\n\r\n",
        program.addr,
        body.len()
    );
    socket.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    socket
}

#[tokio::test]
async fn one_that_never_reads_cannot_keep_it_from_ending() {
    let program = Program::start(&["--drain-timeout", "1s"]).await;
    let mut native = Member::join_with(program.addr, say::join("demo")).await;
    let _stalled = join_and_never_read(&program, "demo").await;
    body!(native.next().await, MemberJoined);
    // Until all that is between the two is full, and the mailbox too.
    let large = "x".repeat(63 * 1024);
    let mut seq = 0;
    'full: loop {
        assert!(seq < 480, "30 MB wait for one who does not read");
        for _ in 0..40 {
            seq += 1;
            native.send(say::numbered(seq, "", say::offer(&large))).await;
        }
        while native.acked < seq {
            if let Some(Body::Undelivered(undelivered)) = native.next().await.body {
                assert_eq!(undelivered.reason, "MAILBOX_FULL");
                break 'full;
            }
        }
    }

    let asked = Instant::now();
    program.signal(Signal::TERM);
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(1), "it was not stalled, or not given its time: {took:?}");
    assert!(took < Duration::from_secs(5), "it held on for {took:?}");
}
