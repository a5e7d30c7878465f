//! Floods of frames that are cheap to send.

use std::time::{Duration, Instant};

use bytes::BufMut;
use prost::Message;
use signalbox_proto::v1::{
    client_message::Body as ClientBody, server_message::Body as ServerBody, signal_client::SignalClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    attack,
    wire::{
        CONTINUATION, DATA, END_HEADERS, EXCHANGE, H2, HEADERS, NONE, PING, REFUSED_STREAM, SETTINGS, call, frame,
        literal,
    },
};
use crate::common::{DEADLINE, assert_error, connect, messages, native::Member, within};

/// How soon a misbehaving connection is closed.
const SOON: Duration = Duration::from_secs(5);
const MANY: usize = 100_000;

#[tokio::test]
async fn empty_data_frames_end_the_connection() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        assert!(h2.open(1).await && h2.answer(1).await);
        let empty = frame(DATA, NONE, 1, &[]);
        h2.flood((0..MANY).map(|_| empty.clone())).await;
        assert!(h2.ends_within(SOON).await, "it is closed");
    })
    .await;
}

#[tokio::test]
async fn calls_beyond_the_rate_are_delayed() {
    // The rate applies to the honest pair's connections, too, which make no calls.
    attack(&["--max-calls-per-second", "100", "--call-burst", "50"], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let start = Instant::now();
        for stream in (1..).step_by(2).take(200) {
            h2.call_health(stream).await;
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(1500), "150 beyond the burst were answered within {took:?}");
        assert!(h2.is_alive().await, "they were only delayed");
    })
    .await;
}

#[tokio::test]
async fn data_in_single_bytes_is_harmless() {
    attack(&[], async |program| {
        // A call that never gets complete.
        let mut h2 = H2::connect(program.addr).await;
        h2.send(&frame(HEADERS, END_HEADERS, 1, &call(h2.addr, "/signalbox.v1.Signal/Send"))).await;
        let head = [0, 0, 1, 0, 0];
        let bytes = head.into_iter().chain(std::iter::repeat(0)).map(|byte| frame(DATA, NONE, 1, &[byte]));
        h2.flood(bytes.take(50_000)).await;
        h2.drain().await;

        // Valid heartbeats.
        let mut h2 = H2::connect(program.addr).await;
        assert!(h2.open(1).await && h2.answer(1).await);
        let join = messages::unnumbered("", ClientBody::Join(messages::join("flood"))).encode_to_vec();
        let heartbeat = messages::unnumbered("", messages::heartbeat()).encode_to_vec();
        let message = |message: &[u8]| {
            let mut framed = vec![0];
            framed.put_u32(u32::try_from(message.len()).unwrap());
            framed.extend(message);
            framed
        };
        h2.send(&frame(DATA, NONE, 1, &message(&join))).await;
        let bytes = message(&heartbeat).into_iter().cycle().map(|byte| frame(DATA, NONE, 1, &[byte]));
        h2.flood(bytes.take(MANY)).await;
        h2.drain().await;
    })
    .await;
}

#[tokio::test]
async fn pings_and_settings_are_harmless() {
    attack(&[], async |program| {
        for frame in [frame(PING, NONE, 0, &[7; 8]), frame(SETTINGS, NONE, 0, &[0, 3, 0, 0, 0, 9])] {
            let mut h2 = H2::connect(program.addr).await;
            assert!(h2.open(1).await && h2.answer(1).await);
            assert_eq!(h2.flood((0..MANY).map(|_| frame.clone())).await, MANY);
            assert!(h2.is_alive().await, "they are answered");
        }
    })
    .await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let mut streams = (1..).step_by(2);
        for stream in streams.by_ref().take(500) {
            assert!(h2.open(stream).await && h2.answer(stream).await, "session {stream} is within the limit");
        }
        // Incomplete short calls use the remaining 500 streams of the connection.
        let send = call(h2.addr, "/signalbox.v1.Signal/Send");
        for stream in streams.by_ref().take(500) {
            assert!(h2.send(&frame(HEADERS, END_HEADERS, stream, &send)).await, "call {stream} is within the limit");
        }
        let beyond = streams.next().unwrap();
        assert!(h2.open(beyond).await);
        assert_eq!(h2.reset_code(beyond).await, Some(REFUSED_STREAM));

        let headers = call(h2.addr, EXCHANGE);
        h2.flood(streams.take(20_000).map(|stream| frame(HEADERS, END_HEADERS, stream, &headers))).await;
        h2.drain().await;
    })
    .await;
}

#[tokio::test]
async fn large_headers_are_not_kept() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let cookies: Vec<_> = (0..15).map(|_| literal("cookie", &"x".repeat(4000))).collect();
        // Incomplete calls with 60 kB of cookies each, 18 MB together.
        for stream in (1..).step_by(2).take(300) {
            let headers = [call(h2.addr, "/signalbox.v1.Signal/Send"), cookies.concat()].concat();
            let mut pieces = headers.chunks(16 * 1024).peekable();
            let mut kind = HEADERS;
            while let Some(piece) = pieces.next() {
                let flags = if pieces.peek().is_none() { END_HEADERS } else { NONE };
                assert!(h2.send(&frame(kind, flags, stream, piece)).await, "stream {stream} is within the limits");
                kind = CONTINUATION;
            }
        }
        assert!(h2.is_alive().await);
    })
    .await;
}

#[tokio::test]
async fn signals_beyond_the_rate_are_refused_or_end_the_session() {
    attack(&[], async |program| {
        let mut ben = Member::join_with(program.addr, messages::join("flood")).await;
        let (out, outgoing) = mpsc::channel(1024);
        let mut client = SignalClient::new(connect(program.addr).await);
        out.send(messages::unnumbered("", ClientBody::Join(messages::join("flood")))).await.unwrap();
        let mut stream = within(DEADLINE, client.exchange(ReceiverStream::new(outgoing))).await.unwrap().into_inner();
        let (to, flood) = (ben.id.clone(), messages::data("flood"));
        let flooding = tokio::spawn(async move {
            for _ in 0..MANY {
                if out.send(messages::unnumbered(&to, flood.clone())).await.is_err() {
                    return;
                }
            }
            // By now the stream may have ended.
            let _ = out.send(messages::unnumbered("", messages::leave())).await;
        });
        let reading = tokio::spawn(async move {
            let mut delivered = 0;
            while !matches!(ben.next().await.body, Some(ServerBody::MemberLeft(_))) {
                delivered += 1;
            }
            delivered
        });
        let mut refused = 0;
        // Each refusal is reported. A flooder that reads too slowly is ended, perhaps before it has read any.
        let is_ended = loop {
            match within(DEADLINE, stream.message()).await {
                Ok(Some(message)) => {
                    if let Some(ServerBody::Undelivered(undelivered)) = message.body {
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
        let delivered = reading.await.unwrap();
        assert!(delivered < MANY / 10, "{delivered} were delivered");
        assert!(is_ended || refused > 0, "refusals are reported");
    })
    .await;
}
