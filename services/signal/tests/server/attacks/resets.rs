//! Streams that the client resets at once, or makes the server reset.

use std::time::{Duration, Instant};

use super::{
    attack,
    wire::{
        CONTINUATION, END_HEADERS, END_STREAM, H2, HEADERS, NONE, RST_STREAM, WINDOW_UPDATE, call, frame, literal,
        string,
    },
};

const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// How soon a misbehaving connection is closed.
const SOON: Duration = Duration::from_secs(5);

/// Client streams have odd numbers.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

#[tokio::test]
async fn rapid_resets_in_a_burst_end_the_connection() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let headers = call(h2.addr, super::wire::EXCHANGE);
        let pairs = streams().take(100_000).map(|stream| {
            [frame(HEADERS, END_HEADERS, stream, &headers), frame(RST_STREAM, NONE, stream, &CANCEL)].concat()
        });
        h2.flood(pairs).await;
        assert!(h2.ends_within(SOON).await, "it is closed");
    })
    .await;
}

#[tokio::test]
async fn paced_rapid_resets_end_the_connection() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let (start, mut resets) = (Instant::now(), 0);
        for stream in streams().take(2000) {
            if !(h2.open(stream).await && h2.answer(stream).await) {
                break;
            }
            h2.send(&frame(RST_STREAM, NONE, stream, &CANCEL)).await;
            resets += 1;
        }
        // A burst of 40, then 20 a second. Another may be answered before the server handles the last reset.
        let most = 41 + (20.0 * start.elapsed().as_secs_f64()).ceil() as u32 + 1;
        assert!((40..=most).contains(&resets), "{resets} resets were accepted, not 40 to {most}");
        assert!(h2.ends_within(SOON).await, "it is closed");
    })
    .await;
}

#[tokio::test]
async fn resets_provoked_from_the_server_end_the_connection() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let (start, mut resets) = (Instant::now(), 0);
        for stream in streams().take(2000) {
            if !(h2.open(stream).await && h2.answer(stream).await) {
                break;
            }
            // The window overflows.
            h2.send(&frame(WINDOW_UPDATE, NONE, stream, &[0x7f, 0xff, 0xff, 0xff])).await;
            resets += 1;
        }
        let most = 41 + (20.0 * start.elapsed().as_secs_f64()).ceil() as u32 + 1;
        assert!((40..=most).contains(&resets), "{resets} resets were accepted, not 40 to {most}");
        assert!(h2.ends_within(SOON).await, "it is closed");
    })
    .await;
}

#[tokio::test]
async fn resets_within_the_limit_are_accepted() {
    attack(&["--max-resets-per-second", "1000"], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        for stream in streams().take(200) {
            assert!(h2.open(stream).await && h2.answer(stream).await, "stream {stream}");
            assert!(h2.send(&frame(RST_STREAM, NONE, stream, &CANCEL)).await, "stream {stream}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(h2.is_alive().await);
    })
    .await;
}

#[tokio::test]
async fn malformed_headers_end_the_connection() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        let malformed = [call(h2.addr, super::wire::EXCHANGE), literal("Upper-Case", "x")].concat();
        let sent =
            h2.flood(streams().take(400_000).map(|stream| frame(HEADERS, END_HEADERS, stream, &malformed))).await;
        assert!(sent < 400_000, "it read all of them");
        assert!(h2.ends_within(SOON).await, "it is closed");
    })
    .await;
}

#[tokio::test]
async fn endless_headers_end_the_connection() {
    attack(&[], async |program| {
        let mut h2 = H2::connect(program.addr).await;
        h2.send(&frame(HEADERS, NONE, 1, &call(h2.addr, super::wire::EXCHANGE))).await;
        let piece = frame(CONTINUATION, NONE, 1, &literal("x-more", &"x".repeat(16_000)));
        let sent = h2.flood((0..10_000).map(|_| piece.clone())).await;
        assert!(sent < 10_000, "it read all of them");
        assert!(h2.ends_within(SOON).await, "it is closed");

        // With empty frames, too.
        let mut h2 = H2::connect(program.addr).await;
        h2.send(&frame(HEADERS, NONE, 1, &call(h2.addr, super::wire::EXCHANGE))).await;
        let empty = frame(CONTINUATION, NONE, 1, &[]);
        h2.flood((0..1_000_000).map(|_| empty.clone())).await;
        assert!(h2.ends_within(SOON).await, "it is closed");
    })
    .await;
}

#[tokio::test]
async fn hpack_bombs_are_harmless() {
    attack(&[], async |program| {
        // An entry of the dynamic table, and references to it of a byte each.
        let headers = |addr, value: usize, references: usize| {
            let entry = [&[0x40][..], &string("x-bomb"), &string(&"x".repeat(value))].concat();
            [call(addr, "/no.such.Service/Method"), entry, [0xbe].repeat(references)].concat()
        };
        let mut h2 = H2::connect(program.addr).await;
        h2.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &headers(h2.addr, 100, 5))).await;
        assert!(h2.answer(1).await, "a few references are fine");
        for _ in 0..20 {
            let mut h2 = H2::connect(program.addr).await;
            // 48 MB each.
            for stream in streams().take(15) {
                let bomb = headers(h2.addr, 4000, 12_000);
                h2.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb)).await;
            }
            h2.drain().await;
        }
    })
    .await;
}
