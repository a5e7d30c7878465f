//! HTTP/2 down to the frames, for what no client library would send.

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

/// Kinds of frames.
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

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that is not indexed, as HPACK has it.
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &string(name), &string(value)].concat()
}

/// A string as HPACK has it, without Huffman coding.
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

/// A connection whose peer has been greeted.
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

    /// Sends frames, unless the server has ended the connection. Says whether it still takes them.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> bool {
        within(DEADLINE, self.socket.write_all(frames)).await.is_ok()
    }

    /// Opens a call whose client says nothing yet.
    pub(crate) async fn open(&mut self, stream: u32) -> bool {
        let headers = call(self.addr, EXCHANGE);
        self.send(&frame(HEADERS, END_HEADERS, stream, &headers)).await
    }

    /// The next frame: kind, stream and payload; `None` when the connection is over.
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

    /// Reads until the headers of an answer on that stream; false if the connection ends before.
    pub(crate) async fn answer(&mut self, stream: u32) -> bool {
        loop {
            match self.next().await {
                Some((HEADERS, on, _)) if on == stream => return true,
                Some((GOAWAY, ..)) | None => return false,
                Some(_) => {}
            }
        }
    }

    /// Asks for health, which must be answered.
    pub(crate) async fn call_health(&mut self, stream: u32) {
        let headers =
            [&[0x82, 0x86][..], &literal(":path", "/healthz"), &literal(":authority", &self.addr.to_string())];
        assert!(self.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &headers.concat())).await);
        assert!(self.answer(stream).await, "an answer");
    }

    /// Sends a frame again and again, without ever reading; says how many were taken before the connection ended.
    pub(crate) async fn flood(&mut self, frames: impl Iterator<Item = Vec<u8>>) -> usize {
        let mut sent = 0;
        let mut batch = Vec::new();
        for frame in frames {
            batch.extend(frame);
            sent += 1;
            if batch.len() > 32 * 1024 {
                // A server that does not read any more is as good as one that has hung up.
                match time::timeout(Duration::from_secs(2), self.socket.write_all(&batch)).await {
                    Ok(Ok(())) => batch.clear(),
                    _ => return sent,
                }
            }
        }
        let _ = time::timeout(Duration::from_secs(2), self.socket.write_all(&batch)).await;
        sent
    }

    /// Whether the server has ended the connection, which it must within that time; reads what it has said before.
    pub(crate) async fn ends_within(&mut self, limit: Duration) -> bool {
        ends_within(&mut self.socket, limit).await.is_some()
    }

    /// Waits until the server has read all that was sent, or has ended the connection; says whether it still answers.
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

/// Reads until the connection ends; says how long that took, or nothing if it did not come in time.
pub(crate) async fn ends_within(socket: &mut TcpStream, limit: Duration) -> Option<Duration> {
    let start = Instant::now();
    let mut sink = vec![0; 64 * 1024];
    let end = async { while matches!(socket.read(&mut sink).await, Ok(read) if read > 0) {} };
    time::timeout(limit, end).await.is_ok().then(|| start.elapsed())
}
