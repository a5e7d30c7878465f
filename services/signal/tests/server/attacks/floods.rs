//! Frames that cost nothing to send.

use std::time::{Duration, Instant};

use bytes::BufMut;
use prost::Message;
use signalbox_proto::v1::{client_message::Body as Said, server_message::Body, signal_client::SignalClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    attack,
    wire::{DATA, END_HEADERS, H2, HEADERS, NONE, PING, SETTINGS, call, frame},
};
use crate::common::{DEADLINE, assert_error, connect, native::Member, say, within};

/// How soon a connection that has misbehaved is over.
const SOON: Duration = Duration::from_secs(5);
const MANY: usize = 100_000;

#[tokio::test]
async fn empty_data() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        assert!(h2.open(1).await && h2.answer(1).await);
        let empty = frame(DATA, NONE, 1, &[]);
        h2.flood((0..MANY).map(|_| empty.clone())).await;
        assert!(h2.ends_within(SOON).await, "it is ended");
    })
    .await;
}

#[tokio::test]
async fn calls_that_are_answered() {
    // The honest pair's connections are held to the rate, too, and need none of it.
    attack(&["--max-calls-per-second", "100", "--call-burst", "50"], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let start = Instant::now();
        for stream in (1..).step_by(2).take(200) {
            h2.call_health(stream).await;
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(1500), "150 beyond the burst were answered within {took:?}");
        assert!(h2.is_alive().await, "they have waited, no more");
    })
    .await;
}

#[tokio::test]
async fn data_byte_by_byte() {
    attack(&[], async |program| {
        // A call that is never whole, as slowly as it goes.
        let mut h2 = H2::connect(program.addr).await;
        h2.send(&frame(HEADERS, END_HEADERS, 1, &call(h2.addr, "/signalbox.v1.Signal/Send"))).await;
        let head = [0, 0, 1, 0, 0];
        let bytes = head.into_iter().chain(std::iter::repeat(0)).map(|byte| frame(DATA, NONE, 1, &[byte]));
        h2.flood(bytes.take(50_000)).await;
        h2.is_alive().await;

        // Heartbeats, all of them valid.
        let mut h2 = H2::connect(program.addr).await;
        assert!(h2.open(1).await && h2.answer(1).await);
        let join = say::unnumbered("", Said::Join(say::join("flood"))).encode_to_vec();
        let heartbeat = say::unnumbered("", say::heartbeat()).encode_to_vec();
        let message = |message: &[u8]| {
            let mut framed = vec![0];
            framed.put_u32(u32::try_from(message.len()).unwrap());
            framed.extend(message);
            framed
        };
        h2.send(&frame(DATA, NONE, 1, &message(&join))).await;
        let bytes = message(&heartbeat).into_iter().cycle().map(|byte| frame(DATA, NONE, 1, &[byte]));
        h2.flood(bytes.take(MANY)).await;
        h2.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn pings_and_settings() {
    attack(&[], async |program| {
        for frame in [frame(PING, NONE, 0, &[7; 8]), frame(SETTINGS, NONE, 0, &[0, 3, 0, 0, 0, 9])] {
            let mut h2 = H2::connect(program.addr).await;
            assert!(h2.open(1).await && h2.answer(1).await);
            assert_eq!(h2.flood((0..MANY).map(|_| frame.clone())).await, MANY);
            assert!(h2.is_alive().await, "they are answered, and cost nothing");
        }
    })
    .await;
}

#[tokio::test]
async fn more_streams_than_are_allowed() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let headers = call(h2.addr, super::wire::EXCHANGE);
        let opened = (1..).step_by(2).take(20_000).map(|stream| frame(HEADERS, END_HEADERS, stream, &headers));
        h2.flood(opened).await;
        h2.is_alive().await;
    })
    .await;
}

#[tokio::test]
async fn a_member_who_says_far_more_than_it_may() {
    attack(&[], async |program| {
        let mut ben = Member::join_with(program.addr, say::join("flood")).await;
        let (out, said) = mpsc::channel(1024);
        let mut client = SignalClient::new(connect(program.addr).await);
        out.send(say::unnumbered("", Said::Join(say::join("flood")))).await.unwrap();
        let mut heard = within(DEADLINE, client.exchange(ReceiverStream::new(said))).await.unwrap().into_inner();
        let (to, flood) = (ben.id.clone(), say::data("flood"));
        let flooding = tokio::spawn(async move {
            for _ in 0..MANY {
                if out.send(say::unnumbered(&to, flood.clone())).await.is_err() {
                    return;
                }
            }
            // Its last word, which comes after all of them; by now the stream may be over.
            let _ = out.send(say::unnumbered("", say::leave())).await;
        });
        let reading = tokio::spawn(async move {
            let mut taken = 0;
            while !matches!(ben.next().await.body, Some(Body::MemberLeft(_))) {
                taken += 1;
            }
            taken
        });
        let mut refused = 0;
        // It is told of each, and ended when it does not read that fast enough, which may be before it has read any.
        let is_ended = loop {
            match within(DEADLINE, heard.message()).await {
                Ok(Some(message)) => {
                    if let Some(Body::Undelivered(undelivered)) = message.body {
                        assert_eq!(undelivered.reason, "RATE_LIMITED");
                        refused += 1;
                    }
                }
                Ok(None) => break false,
                Err(status) => {
                    assert_error(&status, tonic::Code::ResourceExhausted, "SLOW_CONSUMER");
                    break true;
                }
            }
        };
        flooding.await.unwrap();
        let taken = reading.await.unwrap();
        assert!(taken < MANY / 10, "{taken} were delivered");
        assert!(is_ended || refused > 0, "it is told");
    })
    .await;
}
