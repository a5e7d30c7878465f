//! Frames that cost nothing to send.

use std::time::Duration;

use bytes::BufMut;
use prost::Message;
use signalbox_proto::v1::client_message::Body as Said;

use crate::{
    attack,
    common::say,
    wire::{DATA, END_HEADERS, H2, HEADERS, NONE, PING, SETTINGS, call, frame},
};

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
        let headers = call(h2.addr, crate::wire::EXCHANGE);
        let opened = (1..).step_by(2).take(20_000).map(|stream| frame(HEADERS, END_HEADERS, stream, &headers));
        h2.flood(opened).await;
        h2.is_alive().await;
    })
    .await;
}
