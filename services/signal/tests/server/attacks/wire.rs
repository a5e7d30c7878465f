//! HTTP/2 frames, for what no client library would send.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

use crate::common::{DEADLINE, within};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const EXCHANGE: &str = "/signalbox.v1.Signal/Exchange";

/// Types of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags.
pub(crate) const NONE: u8 = 0;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The error code of a stream that was not processed, as the payload of RST_STREAM.
pub(crate) const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header without indexing, in HPACK.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

/// A string in HPACK, without Huffman coding.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut coded = Vec::new();
    let mut rest = text.len();
    if rest < 127 {
        coded.push(rest as u8);
    } else {
        coded.push(127);
        rest -= 127;
        while rest >= 128 {
            coded.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        coded.push(rest as u8);
    }
    coded.extend(text.as_bytes());
    coded
}

/// The headers of a call.
pub(crate) fn call(addr: SocketAddr, path: &str) -> Vec<u8> {
    // :method POST and :scheme http are entries of the static table.
    [
        &[0x83, 0x86][..],
        &literal(":path", path),
        &literal(":authority", &addr.to_string()),
        &literal("content-type", "application/grpc"),
        &literal("te", "trailers"),
    ]
    .concat()
}

/// A connection on which the preface was sent.
pub(crate) struct H2 {
    pub(crate) socket: TcpStream,
    pub(crate) addr: SocketAddr,
}

impl H2 {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let mut socket = within(DEADLINE, TcpStream::connect(addr)).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(&[PREFACE, &frame(SETTINGS, NONE, 0, &[])].concat()).await.unwrap();
        Self { socket, addr }
    }

    /// Sends frames; false if the server has closed the connection.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> bool {
        within(DEADLINE, self.socket.write_all(frames)).await.is_ok()
    }

    /// Opens a call without sending a message; false if the server has closed the connection.
    #[must_use]
    pub(crate) async fn open(&mut self, stream: u32) -> bool {
        let headers = call(self.addr, EXCHANGE);
        self.send(&frame(HEADERS, END_HEADERS, stream, &headers)).await
    }

    /// The next frame: type, stream and payload; `None` when the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let read = async {
            let mut head = [0; 9];
            self.socket.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.socket.read_exact(&mut payload).await.ok()?;
            Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
        };
        within(DEADLINE, read).await
    }

    /// Reads until the response headers of that stream; false if the connection ends before.
    #[must_use]
    pub(crate) async fn answer(&mut self, stream: u32) -> bool {
        loop {
            match self.next().await {
                Some((HEADERS, on, _)) if on == stream => return true,
                Some((GOAWAY, ..)) | None => return false,
                Some(_) => {}
            }
        }
    }

    /// Reads until that stream is reset; returns the payload of RST_STREAM, or `None` if the connection ends before.
    pub(crate) async fn reset_code(&mut self, stream: u32) -> Option<[u8; 4]> {
        loop {
            match self.next().await? {
                (RST_STREAM, on, payload) if on == stream => return payload.try_into().ok(),
                (HEADERS, on, _) if on == stream => panic!("stream {stream} is open"),
                _ => {}
            }
        }
    }

    /// Requests `/healthz`, which must be answered.
    pub(crate) async fn call_health(&mut self, stream: u32) {
        let headers =
            [&[0x82, 0x86][..], &literal(":path", "/healthz"), &literal(":authority", &self.addr.to_string())];
        assert!(self.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &headers.concat())).await);
        assert!(self.answer(stream).await, "an answer");
    }

    /// Sends frames without reading; returns how many were sent before the connection ended.
    pub(crate) async fn flood(&mut self, frames: impl Iterator<Item = Vec<u8>>) -> usize {
        let mut sent = 0;
        let mut batch = Vec::new();
        for frame in frames {
            batch.extend(frame);
            sent += 1;
            if batch.len() > 32 * 1024 {
                // A server that no longer reads counts as one that has closed the connection.
                match time::timeout(Duration::from_secs(2), self.socket.write_all(&batch)).await {
                    Ok(Ok(())) => batch.clear(),
                    _ => return sent,
                }
            }
        }
        let _ = time::timeout(Duration::from_secs(2), self.socket.write_all(&batch)).await;
        sent
    }

    /// Reads until the server closes the connection; false if it does not within that time.
    #[must_use]
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> bool {
        ends_within(&mut self.socket, limit).await.is_some()
    }

    /// Waits until the server has read everything, or has closed the connection.
    pub(crate) async fn drain(&mut self) {
        let _is_alive = self.is_alive().await;
    }

    /// Waits until the server has read everything and answers; false if it has closed the connection.
    #[must_use]
    pub(crate) async fn is_alive(&mut self) -> bool {
        let opaque = *b"are you?";
        if !self.send(&frame(PING, NONE, 0, &opaque)).await {
            return false;
        }
        loop {
            match self.next().await {
                Some((PING, _, payload)) if payload == opaque => return true,
                None => return false,
                Some(_) => {}
            }
        }
    }
}

/// Reads until the connection ends; returns how long that took, or `None` if it did not end in time.
#[must_use]
pub(crate) async fn ends_within(socket: &mut TcpStream, limit: Duration) -> Option<Duration> {
    let start = Instant::now();
    let mut sink = vec![0; 64 * 1024];
    let end = async { while matches!(socket.read(&mut sink).await, Ok(read) if read > 0) {} };
    time::timeout(limit, end).await.is_ok().then(|| start.elapsed())
}
