//! Stop: all streams end with DRAINING, and no client can delay the exit.

use std::time::{Duration, Instant};

use prost::Message;
use rustix::process::Signal;
use signalbox_proto::v1::{
    Action, GoAway, SubscribeRequest, server_message::Body as ServerBody, subscribe_request::Open,
};
use signalbox_testkit::grpc_web::frame;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::common::{
    DEADLINE, assert_error, body, connect, messages,
    native::{Member, Stream},
    program::Program,
    web::{WebClient, WebMember},
    within,
};

fn assert_drained((go_away, status): (GoAway, Status)) {
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("DRAINING", Action::Resume));
    let retry_after = Duration::try_from(go_away.retry_after.expect("it has retry_after")).unwrap();
    assert!(retry_after <= Duration::from_secs(5), "{retry_after:?}");
    assert_error(&status, Code::Unavailable, "DRAINING");
    let retry_delay = status.get_details_retry_info().expect("RetryInfo").retry_delay;
    assert_eq!(retry_delay, Some(retry_after), "the status has the same");
}

async fn check_drain(signal: Signal) {
    let program = Program::start(&[]).await;
    let web = WebClient::new(program.addr);
    let mut native = Member::join_with(program.addr, messages::join("demo")).await;
    let mut page = WebMember::join(web, messages::join("demo")).await;
    let mut listener = Member::join_with(program.addr, messages::join("another")).await;
    listener.half_close();
    let mut newcomer = Stream::open(program.addr).await;
    body!(native.next().await, MemberJoined);
    native.send_message(messages::numbered(1, &page.id, messages::offer("the last offer"))).await;
    native.await_ack(1).await;

    let asked = Instant::now();
    program.signal(signal);
    // Accepted signals are delivered first.
    assert_eq!(body!(page.next().await, Offer).sdp, "the last offer");
    assert_drained(page.expect_go_away().await);
    assert_drained(native.expect_go_away().await);
    assert_drained(listener.expect_go_away().await);
    // A stream without a session ends, too.
    assert_error(&newcomer.end().await.unwrap_err(), Code::Unavailable, "DRAINING");

    let addr = program.addr;
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    // All streams have ended, so the drain timeout is not used up.
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
    assert!(TcpStream::connect(addr).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn sigterm_drains_all_streams() {
    check_drain(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_drains_all_streams() {
    check_drain(Signal::INT).await;
}

#[tokio::test]
async fn a_health_watch_does_not_delay_the_exit() {
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
    // The drain timeout of 10 s applies to sessions only.
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
}

/// Joins over HTTP/1.1 with a small window, and never reads.
async fn join_and_never_read(program: &Program, room: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut socket = socket.connect(program.addr).await.unwrap();
    let request = SubscribeRequest { open: Some(Open::Join(messages::join(room))) };
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
async fn a_client_that_never_reads_does_not_delay_the_exit() {
    let program = Program::start(&["--drain-timeout", "1s"]).await;
    let mut native = Member::join_with(program.addr, messages::join("demo")).await;
    let _stalled = join_and_never_read(&program, "demo").await;
    body!(native.next().await, MemberJoined);
    // Until all buffers and the mailbox are full.
    let large = "x".repeat(63 * 1024);
    let mut seq = 0;
    'full: loop {
        assert!(seq < 480, "30 MB wait for a client that does not read");
        for _ in 0..40 {
            seq += 1;
            native.send_message(messages::numbered(seq, "", messages::offer(&large))).await;
        }
        while native.acked < seq {
            if let Some(ServerBody::Undelivered(undelivered)) = native.next().await.body {
                assert_eq!(undelivered.reason, "MAILBOX_FULL");
                break 'full;
            }
        }
    }

    let asked = Instant::now();
    program.stop().await;
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(1), "the drain timeout was cut short: {took:?}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}
