//! A gRPC-Web client, down to the frames.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message;
use tonic::{Code, Status};

/// Flag of a frame that holds trailers.
const TRAILERS: u8 = 0x80;
/// A flag and four bytes of length.
const FRAME_HEADER: usize = 5;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes, as `application/grpc-web`.
    Binary,
    /// Base64, as `application/grpc-web-text`.
    Text,
}

impl Encoding {
    /// The content type of messages in protobuf.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Binary => "application/grpc-web+proto",
            Self::Text => "application/grpc-web-text+proto",
        }
    }

    /// The headers of a call.
    #[must_use]
    pub fn headers(self) -> [(&'static str, &'static str); 3] {
        [("content-type", self.content_type()), ("accept", self.content_type()), ("x-grpc-web", "1")]
    }

    /// A request body of one message.
    #[must_use]
    pub fn body(self, message: &[u8]) -> Bytes {
        let framed = frame(message);
        match self {
            Self::Binary => framed,
            Self::Text => STANDARD.encode(framed).into(),
        }
    }
}

/// A gRPC frame: a flag, the length, the message.
#[must_use]
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(FRAME_HEADER + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("less than 4 GiB"));
    framed.put_slice(message);
    framed.freeze()
}

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The server answered with an error.
    #[error("{0}")]
    Status(#[from] Status),
    /// The connection failed.
    #[error("connection failed: {0}")]
    Connection(#[from] hyper::Error),
    /// The response is not gRPC-Web.
    #[error("malformed response: {0}")]
    Malformed(String),
}

fn malformed<T>(problem: impl Into<String>) -> Result<T, CallError> {
    Err(CallError::Malformed(problem.into()))
}

/// The response of a call, frame by frame.
#[derive(Debug)]
pub struct Response {
    body: Incoming,
    encoding: Encoding,
    /// Base64 that is not a whole group of four yet.
    undecoded: BytesMut,
    buffer: BytesMut,
    /// The status of a call that failed before any message, which is in the headers.
    status_in_headers: Option<Status>,
}

impl Response {
    /// The response of a call that was made in this encoding.
    pub fn new(response: http::Response<Incoming>, encoding: Encoding) -> Result<Self, CallError> {
        if response.status() != StatusCode::OK {
            return malformed(format!("HTTP status {}", response.status()));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let media_type = |kind: &str| kind.split('+').next().map(str::to_owned);
        if media_type(kind) != media_type(encoding.content_type()) {
            return malformed(format!("content type {kind}"));
        }
        let status_in_headers = Status::from_header_map(response.headers());
        let (undecoded, buffer) = (BytesMut::new(), BytesMut::new());
        Ok(Self { body: response.into_body(), encoding, undecoded, buffer, status_in_headers })
    }

    /// The next message; `None` is the end with status OK.
    pub async fn next<T: Message + Default>(&mut self) -> Result<Option<T>, CallError> {
        if let Some(status) = self.status_in_headers.take() {
            return end(status);
        }
        match self.frame().await? {
            None => malformed("it ends without trailers"),
            Some((TRAILERS, content)) => {
                let status = trailing_status(&content)?;
                // A connection that is lost after the trailers does not change what they say.
                if matches!(self.frame().await, Ok(Some(_))) {
                    return malformed("trailers are not the last frame");
                }
                end(status)
            }
            Some((0, content)) => T::decode(content).map(Some).or_else(|error| malformed(error.to_string())),
            Some((flag, _)) => malformed(format!("a frame with flag {flag}")),
        }
    }

    async fn frame(&mut self) -> Result<Option<(u8, Bytes)>, CallError> {
        loop {
            if let Some((&[flag, a, b, c, d], rest)) = self.buffer.split_first_chunk::<FRAME_HEADER>() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if rest.len() >= length {
                    self.buffer.advance(FRAME_HEADER);
                    return Ok(Some((flag, self.buffer.split_to(length).freeze())));
                }
            }
            let Some(chunk) = self.body.frame().await else {
                let is_whole = self.buffer.is_empty() && self.undecoded.is_empty();
                return if is_whole { Ok(None) } else { malformed("it ends within a frame") };
            };
            let Ok(data) = chunk?.into_data() else { return malformed("it has HTTP trailers") };
            self.take(&data)?;
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), CallError> {
        if self.encoding == Encoding::Binary {
            self.buffer.put_slice(data);
            return Ok(());
        }
        self.undecoded.put_slice(data);
        // Frames are encoded one by one, so padding may come anywhere: decode group by group.
        while self.undecoded.len() >= 4 {
            let group = self.undecoded.split_to(4);
            let decoded = STANDARD.decode(&group).or_else(|error| malformed(error.to_string()))?;
            self.buffer.put_slice(&decoded);
        }
        Ok(())
    }
}

fn end<T>(status: Status) -> Result<Option<T>, CallError> {
    if status.code() == Code::Ok { Ok(None) } else { Err(status.into()) }
}

/// Trailers have the form of HTTP/1.1 headers, with names in lower case.
fn trailing_status(block: &[u8]) -> Result<Status, CallError> {
    let text = String::from_utf8_lossy(block);
    let mut trailers = HeaderMap::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let field = line.split_once(':').and_then(|(name, value)| {
            let is_lower_case = !name.bytes().any(|byte| byte.is_ascii_uppercase());
            let name = HeaderName::from_str(name).ok().filter(|_| is_lower_case)?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let Some((name, value)) = field else { return malformed(format!("trailer {line:?}")) };
        trailers.append(name, value);
    }
    match Status::from_header_map(&trailers) {
        Some(status) => Ok(status),
        None => malformed("trailers without grpc-status"),
    }
}
