//! A gRPC-Web client, down to the frames: `Subscribe` and `Send` as a browser makes them.

use std::{net::SocketAddr, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message;
use signalbox_proto::v1::{
    ClientMessage, GoAway, Join, SendRequest, SendResponse, ServerMessage, SubscribeRequest, Welcome,
    server_message::Body, subscribe_request::Open,
};
use tonic::{Code, Status};

use super::{
    DEADLINE,
    raw::{Version, request},
    say, within,
};

/// Flag of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

const SUBSCRIBE: &str = "/signalbox.v1.Signal/Subscribe";
const SEND: &str = "/signalbox.v1.Signal/Send";

/// One gRPC frame: a flag, the length, the message.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a message of sane size"));
    framed.put_slice(message);
    framed.freeze()
}

/// How a page reaches the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Web {
    pub(crate) addr: SocketAddr,
    pub(crate) version: Version,
    /// Base64, as `application/grpc-web-text`, instead of bytes.
    pub(crate) text: bool,
    /// What goes into the header `authorization`.
    pub(crate) authorization: Option<&'static str>,
}

impl Web {
    /// As most browsers do: bytes over HTTP/1.1.
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr, version: Version::Http1, text: false, authorization: None }
    }

    /// The same with a token in each call.
    pub(crate) fn with_token(self, token: &str) -> Self {
        // Lives as long as the test program: this type is copied about.
        Self { authorization: Some(format!("Bearer {token}").leak()), ..self }
    }

    fn content_type(self) -> &'static str {
        if self.text { "application/grpc-web-text+proto" } else { "application/grpc-web+proto" }
    }

    /// Makes a call; `message` is sent as it is.
    pub(crate) async fn call(self, path: &str, message: &[u8]) -> Reply {
        let body = if self.text { STANDARD.encode(frame(message)).into() } else { frame(message) };
        let kind = self.content_type();
        let mut headers = vec![("content-type", kind), ("accept", kind), ("x-grpc-web", "1")];
        headers.extend(self.authorization.map(|value| ("authorization", value)));
        let response = request(self.addr, self.version, Method::POST, path, &headers, body).await;
        Reply::new(response.expect("a response"), self.text)
    }

    /// Makes a unary call.
    pub(crate) async fn unary<T: Message + Default>(self, path: &str, message: &impl Message) -> Result<T, Status> {
        let mut reply = self.call(path, &message.encode_to_vec()).await;
        let first = reply.try_next().await?.expect("an answer comes before OK");
        assert!(reply.try_next::<T>().await?.is_none(), "a unary call has one answer");
        Ok(first)
    }

    /// Says something in a session.
    pub(crate) async fn send(self, token: &str, messages: Vec<ClientMessage>) -> Result<SendResponse, Status> {
        self.unary(SEND, &SendRequest { session_token: token.to_owned(), messages }).await
    }

    /// Opens or resumes a session; says what came first.
    pub(crate) async fn subscribe(self, open: Open) -> Result<(Reply, ServerMessage), Status> {
        let mut reply = self.call(SUBSCRIBE, &SubscribeRequest { open: Some(open) }.encode_to_vec()).await;
        let first = reply.try_next().await?.expect("a message comes before the end");
        Ok((reply, first))
    }
}

/// The response of a call, frame by frame. Dropping it closes the connection.
pub(crate) struct Reply {
    body: Incoming,
    text: bool,
    /// Base64 that is not yet a whole group of four.
    undecoded: BytesMut,
    buffer: BytesMut,
    /// The status that came in the headers, of a call that failed at once.
    at_once: Option<Status>,
}

impl Reply {
    fn new(response: Response<Incoming>, text: bool) -> Self {
        assert_eq!(response.status(), StatusCode::OK, "gRPC errors have a status of their own");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let expected = if text { "application/grpc-web-text" } else { "application/grpc-web" };
        assert_eq!(kind.split('+').next(), Some(expected));
        let at_once = Status::from_header_map(response.headers());
        Self { body: response.into_body(), text, undecoded: BytesMut::new(), buffer: BytesMut::new(), at_once }
    }

    /// The next message; `None` is the end with status OK.
    pub(crate) async fn try_next<T: Message + Default>(&mut self) -> Result<Option<T>, Status> {
        if let Some(status) = self.at_once.take() {
            return ended(status);
        }
        let (flag, content) = within(DEADLINE, self.frame()).await;
        if flag == TRAILERS {
            assert!(self.frame_or_end().await.is_none(), "trailers are the last frame");
            return ended(Status::from_header_map(&trailers(&content)).expect("trailers have a grpc-status"));
        }
        assert_eq!(flag, 0, "messages are not compressed");
        Ok(Some(T::decode(content).expect("a valid message")))
    }

    async fn frame(&mut self) -> (u8, Bytes) {
        self.frame_or_end().await.expect("a reply ends with trailers")
    }

    async fn frame_or_end(&mut self) -> Option<(u8, Bytes)> {
        loop {
            if self.buffer.len() >= 5 {
                let length = u32::from_be_bytes(self.buffer[1..5].try_into().expect("4 bytes")) as usize;
                if self.buffer.len() >= 5 + length {
                    let flag = self.buffer.get_u8();
                    self.buffer.advance(4);
                    return Some((flag, self.buffer.split_to(length).freeze()));
                }
            }
            let Some(chunk) = self.body.frame().await else {
                assert!(self.buffer.is_empty() && self.undecoded.is_empty(), "the reply ends within a frame");
                return None;
            };
            let chunk = chunk.expect("the connection holds").into_data().expect("gRPC-Web has no HTTP trailers");
            self.take(&chunk);
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        if !self.text {
            return self.buffer.put_slice(chunk);
        }
        self.undecoded.put_slice(chunk);
        // Frames are encoded one by one, so padding may come anywhere: decode group by group.
        while self.undecoded.len() >= 4 {
            let group = self.undecoded.split_to(4);
            self.buffer.put_slice(&STANDARD.decode(&group).expect("base64"));
        }
    }
}

fn ended<T>(status: Status) -> Result<Option<T>, Status> {
    if status.code() == Code::Ok { Ok(None) } else { Err(status) }
}

/// Trailers are written like the headers of HTTP/1.1.
fn trailers(block: &[u8]) -> HeaderMap {
    let text = std::str::from_utf8(block).expect("trailers are text");
    let lines = text.split("\r\n").filter(|line| !line.is_empty());
    let field = |line: &str| {
        let (name, value) = line.split_once(':').expect("name:value");
        assert_eq!(name, name.to_lowercase(), "trailer names are in lower case");
        (HeaderName::from_str(name).expect("a name"), HeaderValue::from_str(value.trim()).expect("a value"))
    };
    lines.map(field).collect()
}

/// A member of a room whose session a `Subscribe` stream carries.
pub(crate) struct WebMember {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) seq: u64,
    pub(crate) first: ServerMessage,
    web: Web,
    reply: Reply,
}

impl WebMember {
    /// Joins a room, which must work.
    pub(crate) async fn join(web: Web, join: Join) -> Self {
        let (reply, first) = web.subscribe(Open::Join(join)).await.expect("the join is accepted");
        let Some(Body::Welcome(welcome)) = &first.body else { panic!("no welcome but {first:?}") };
        let id = welcome.you.as_ref().expect("a welcome says who one is").member_id.clone();
        Self { id, token: welcome.session_token.clone(), seq: first.seq, web, reply, first }
    }

    /// Continues a session, which must work.
    pub(crate) async fn resume(web: Web, ticket: &super::native::Ticket) -> Self {
        let open = Open::Resume(say::resume(&ticket.token, ticket.seq));
        let (reply, first) = web.subscribe(open).await.expect("the session can be resumed");
        assert!(matches!(first.body, Some(Body::Resumed(_))), "no resumed but {first:?}");
        Self { id: ticket.id.clone(), token: ticket.token.clone(), seq: ticket.seq, web, reply, first }
    }

    pub(crate) fn welcome(&self) -> &Welcome {
        match &self.first.body {
            Some(Body::Welcome(welcome)) => welcome,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// Says something.
    pub(crate) async fn send(&self, messages: Vec<ClientMessage>) -> Result<SendResponse, Status> {
        self.web.send(&self.token, messages).await
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn try_next(&mut self) -> Result<Option<ServerMessage>, Status> {
        let message: Option<ServerMessage> = self.reply.try_next().await?;
        if let Some(message) = &message {
            assert_eq!(message.ack, 0, "outcomes of a Send are in its response: {message:?}");
            if message.seq > 0 {
                assert!(message.seq > self.seq, "log positions rise: {message:?} after {}", self.seq);
                self.seq = message.seq;
            }
        }
        Ok(message)
    }

    /// The next message, which must come.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        match self.try_next().await {
            Ok(Some(message)) => message,
            end => panic!("the stream ended: {end:?}"),
        }
    }

    /// Reads the end of a stream that the server ends for a reason.
    pub(crate) async fn sent_away(&mut self) -> (GoAway, Status) {
        let go_away = super::body!(self.next().await, GoAway);
        (go_away, self.try_next().await.expect_err("a go_away is followed by an error"))
    }

    /// Loses the stream, without a word to the server.
    pub(crate) fn lose(self) -> super::native::Ticket {
        super::native::Ticket { id: self.id, token: self.token, seq: self.seq }
    }
}
