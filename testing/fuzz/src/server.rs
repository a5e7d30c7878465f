//! A whole server but for its sockets: gate, gRPC-Web, services and rooms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use clap::Parser;
use data_encoding::BASE64;
use futures_util::future::join_all;
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use signalbox_core::id::{MemberId, RoomName, Secret};
use signalbox_proto::v1::{
    Join, ServerMessage, SubscribeRequest, server_message::Body as Told, subscribe_request::Open,
};
use signalbox_server::{
    auth::{Authenticator, Passcodes},
    cli::Cli,
    context::Context,
    health::Health,
    http::{self as app, Hosts, Serves},
    limits::{Memory, ThrottlePolicy},
    metrics::Rejections,
    random::Random,
    rooms::Rooms,
    session_token::SessionToken,
    transport::App,
};
use signalbox_testkit::MemoryStore;
use tokio::time;
use tower::ServiceExt;

/// What can be called; the last two are not there.
pub const PATHS: [&str; 14] = [
    "/signalbox.v1.Signal/Send",
    "/signalbox.v1.Signal/Subscribe",
    "/signalbox.v1.Signal/Exchange",
    "/signalbox.v1.Rooms/CreateRoom",
    "/signalbox.v1.Rooms/GetRoom",
    "/signalbox.v1.Rooms/ListRooms",
    "/signalbox.v1.Rooms/UpdateRoom",
    "/signalbox.v1.Rooms/DeleteRoom",
    "/signalbox.v1.Rooms/ListMembers",
    "/signalbox.v1.Rooms/RemoveMember",
    "/signalbox.v1.Rooms/WatchRoom",
    HEALTH,
    "/signalbox.v1.Signal/Shout",
    "/no.such.Service/Call",
];
/// The service that is the library's, which calls a frame that is no message a fault of its own.
const HEALTH: &str = "/grpc.health.v1.Health/Check";
/// Content types; the last two are refused.
pub const KINDS: [&str; 5] = [
    "application/grpc-web+proto",
    "application/grpc-web-text+proto",
    "application/grpc",
    "application/grpc-web-text;charset=utf-8",
    "text/plain",
];

/// How a call is made: bits of one byte.
pub mod how {
    /// The body is one message, to be put into a frame and, for the text form, into base64.
    pub const FRAMED: u8 = 1;
    /// HTTP/1.1 instead of HTTP/2.
    pub const HTTP1: u8 = 2;
    /// The body comes in pieces of 7 bytes.
    pub const PIECES: u8 = 4;
    /// The message is compressed, as its frame says.
    pub const COMPRESSED: u8 = 8;
}

/// The room in which somebody is whose session can be spoken in.
pub const ROOM: &str = "demo";
/// What the gRPC library says, also with INTERNAL, of a body that is not made of frames.
const FRAMING: [&str; 4] =
    ["protocol error: ", "tonic-web: ", "Unexpected EOF decoding stream", "Missing request message"];
/// Longest time that anything may take to be answered; the time is virtual.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a stream is read.
const MOST_FRAMES: usize = 64;

/// A call, as an input holds it: path, kind, how, length in two bytes, body.
pub struct Call<'a> {
    /// Of [`PATHS`].
    pub path: u8,
    /// Of [`KINDS`].
    pub kind: u8,
    /// Of [`how`].
    pub how: u8,
    /// What is sent.
    pub body: &'a [u8],
}

impl<'a> Call<'a> {
    /// The first call of an input, and the rest of that. A length beyond the end means up to the end.
    pub fn split(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[path, kind, how, high, low], rest) = input.split_first_chunk::<5>()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (body, rest) = rest.split_at(length);
        Some((Self { path, kind, how, body }, rest))
    }

    /// The form that `split` reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u16::try_from(self.body.len()).expect("a short body").to_be_bytes();
        [&[self.path, self.kind, self.how][..], &length, self.body].concat()
    }

    fn path(&self) -> &'static str {
        PATHS[usize::from(self.path) % PATHS.len()]
    }

    fn kind(&self) -> &'static str {
        KINDS[usize::from(self.kind) % KINDS.len()]
    }

    fn request(&self) -> Request<Body> {
        let mut body = Bytes::copy_from_slice(self.body);
        if self.how & how::FRAMED != 0 {
            body = frame(u8::from(self.how & how::COMPRESSED != 0), &body);
            if self.kind().contains("text") {
                body = BASE64.encode(&body).into();
            }
        }
        let body = if self.how & how::PIECES == 0 {
            Body::from(body)
        } else {
            let pieces: Vec<_> = body.chunks(7).map(Bytes::copy_from_slice).collect();
            let pieces =
                pieces.into_iter().map(|piece| Ok::<_, std::convert::Infallible>(http_body::Frame::data(piece)));
            Body::new(StreamBody::new(futures_util::stream::iter(pieces)))
        };
        let version = if self.how & how::HTTP1 == 0 { Version::HTTP_2 } else { Version::HTTP_11 };
        let mut request = Request::post(self.path()).version(version);
        for (name, value) in
            [("host", "127.0.0.1:50051"), ("content-type", self.kind()), ("accept", self.kind()), ("te", "trailers")]
        {
            request = request.header(name, value);
        }
        request.body(body).expect("a valid request")
    }
}

fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(flag);
    framed.put_u32(u32::try_from(message.len()).expect("a short message"));
    framed.put_slice(message);
    framed.freeze()
}

/// Random bits that are the same in every run: the nth are all n.
fn bits_of(call: u8, bits: &mut [u8]) {
    bits.fill(call);
}

/// The token of the session that is there when an input begins: the first that the server makes.
pub fn token() -> String {
    let room = RoomName::parse(ROOM, "room").expect("a name");
    SessionToken { room, member: member(), secret: Secret::new([2; 32]) }.encode()
}

/// The id of its member.
pub fn member() -> MemberId {
    MemberId::new([1; 12])
}

/// The server.
pub struct Server {
    app: App,
    rooms: Arc<Rooms>,
    store: Arc<MemoryStore>,
    drawn: Arc<AtomicU8>,
}

impl Server {
    /// Limits are low, so that short inputs reach them.
    pub async fn new() -> Self {
        let flags = "signalbox --max-message-bytes 2048 --max-sdp-bytes 512 --max-candidate-bytes 128 \
                     --max-attributes-bytes 128 --mailbox-entries 16 --mailbox-bytes 4096 --web-dir none";
        let config = Cli::try_parse_from(flags.split_whitespace()).expect("valid flags").serve;
        config.check().expect("a valid configuration");
        let store = Arc::<MemoryStore>::default();
        let drawn = Arc::<AtomicU8>::default();
        let random = {
            let drawn = drawn.clone();
            Random::from_fn(move |bits| bits_of(drawn.fetch_add(1, Ordering::Relaxed).wrapping_add(1), bits))
        };
        let auth = Authenticator::anonymous(ThrottlePolicy { failures: 10, window: Duration::from_secs(60) });
        let passcodes = Passcodes::new(random.clone());
        let rooms = Rooms::new(store.clone(), passcodes, config.limits(), config.room_defaults());
        let context = Arc::new(Context {
            rooms: rooms.clone(),
            auth: Arc::new(auth),
            ice: config.ice(),
            memory: Memory::unbounded(),
            random,
            rejections: Rejections::default(),
            join_timeout: config.join_timeout,
        });
        let health = Health::new(true).await;
        let hosts = Hosts::new(config.listen, Vec::new());
        let app = app::app(&config, &context, &health, Serves::public(&config), hosts);
        Self { app, rooms, store, drawn }
    }

    /// Makes the calls of an input, one after the other, while somebody is in a room and listens; what is answered is
    /// well-formed, nothing is answered with a fault of the server's own, and nothing is left behind.
    pub async fn run(&self, input: &[u8]) {
        // Passcodes have a key that is drawn first; from here on it is the same in every run.
        self.drawn.store(0, Ordering::Relaxed);
        let join = Join { room: ROOM.to_owned(), identity: "ann".to_owned(), ..Join::default() };
        let join = SubscribeRequest { open: Some(Open::Join(join)) }.encode_to_vec();
        let join = Call { path: 1, kind: 0, how: how::FRAMED, body: &join };
        let mut bystander = Answer::new(&join, self.respond(&join).await);
        Answer::read([&mut bystander]).await;
        let welcome = ServerMessage::decode(&bystander.messages()[0][..]).expect("a message");
        assert!(matches!(welcome.body, Some(Told::Welcome(_))), "{welcome:?}");

        let mut rest = input;
        // Answers are kept, so that streams stay open for what comes after them.
        let mut answers = Vec::new();
        while let Some((call, after)) = Call::split(rest).filter(|_| answers.len() < 6) {
            rest = after;
            let response = self.respond(&call).await;
            answers.push(Answer::new(&call, response));
            Answer::read(&mut answers).await;
        }
        Answer::read([&mut bystander]).await;
        bystander.check();
        let mut seq = welcome.seq;
        for message in bystander.messages().iter().skip(1) {
            let message = ServerMessage::decode(&message[..]).expect("a message");
            assert!(message.seq == 0 || message.seq > seq, "{message:?} after {seq}");
            seq = seq.max(message.seq);
            assert_ne!(message.from, member().to_string(), "nobody hears what it said itself");
        }
        answers.iter().for_each(Answer::check);
        drop((answers, bystander));
        for room in self.rooms.all() {
            room.close();
        }
        // What reads the requests' bodies has yet to see that they are over.
        time::sleep(Duration::from_secs(30)).await;
        assert_eq!(self.rooms.session_count(), 0);
        assert!(self.rooms.all().is_empty(), "rooms stay behind");
        self.store.clear();
    }

    async fn respond(&self, call: &Call<'_>) -> http::Response<Body> {
        let response = time::timeout(PATIENCE, self.app.clone().oneshot(call.request())).await;
        let Ok(response) = response.expect("a call is answered in time");
        response
    }
}

/// What came of a call so far.
struct Answer {
    path: &'static str,
    status: StatusCode,
    headers: HeaderMap,
    is_text: bool,
    is_web: bool,
    body: Body,
    read: Vec<u8>,
    trailers: Option<HeaderMap>,
    is_over: bool,
}

impl Answer {
    fn new(call: &Call<'_>, response: http::Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let kind = call.kind();
        Self {
            path: call.path(),
            status: head.status,
            headers: head.headers,
            is_text: kind.contains("text"),
            is_web: kind.contains("web"),
            body,
            read: Vec::new(),
            trailers: None,
            is_over: false,
        }
    }

    /// Reads what is there now of all of these.
    async fn read(answers: impl IntoIterator<Item = &mut Self>) {
        let all = join_all(answers.into_iter().map(Self::read_on));
        // Streams that go on have no more to say when nothing but time passes.
        let _ = time::timeout(Duration::from_millis(1), all).await;
    }

    async fn read_on(&mut self) {
        for _ in 0..MOST_FRAMES {
            if self.is_over {
                return;
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.read.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => panic!("an answer broke off: {error}"),
                None => self.is_over = true,
            }
        }
    }

    /// The bytes as they were before the text form, whose groups of four may be padded anywhere.
    fn decoded(&self) -> Vec<u8> {
        if !self.is_text {
            return self.read.clone();
        }
        let groups = self.read.chunks_exact(4);
        groups.flat_map(|group| BASE64.decode(group).expect("the text form is base64")).collect()
    }

    /// Frames: flag and content. The last may be cut where a stream is still going on.
    fn frames(&self) -> Vec<(u8, Vec<u8>)> {
        let decoded = self.decoded();
        let mut frames = Vec::new();
        let mut rest = &decoded[..];
        while let Some((&[flag, a, b, c, d], after)) = rest.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let Some((content, after)) = after.split_at_checked(length) else { break };
            frames.push((flag, content.to_vec()));
            rest = after;
        }
        assert!(rest.is_empty() || !self.is_over, "an answer ends within a frame");
        frames
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        self.frames().into_iter().filter(|(flag, _)| *flag == 0).map(|(_, content)| content).collect()
    }

    fn check(&self) {
        assert!(!self.status.is_server_error(), "{}", self.status);
        if self.status != StatusCode::OK {
            return;
        }
        let field =
            |headers: &HeaderMap, name| headers.get(name).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let of = |headers: &HeaderMap| Some((field(headers, "grpc-status")?, field(headers, "grpc-message")));
        let mut ended = self.trailers.as_ref().or(Some(&self.headers)).and_then(of);
        let frames = self.frames();
        for (index, (flag, content)) in frames.iter().enumerate() {
            if *flag == 0x80 {
                assert!(self.is_web && index + 1 == frames.len(), "trailers are last, and for the web");
                let text = std::str::from_utf8(content).expect("trailers are text");
                let line = |name| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
                ended = line("grpc-status:").map(|status| (status, line("grpc-message:")));
            } else {
                assert_eq!(*flag, 0, "messages are not compressed");
            }
        }
        if self.is_over {
            let (status, message) = ended.expect("an answer that is over has a status");
            let message = message.unwrap_or_default().replace("%20", " ");
            let is_librarys = FRAMING.iter().any(|problem| message.starts_with(problem))
                || self.path == HEALTH && message.starts_with("failed to decode Protobuf message: ");
            assert!(status != "13" || is_librarys, "INTERNAL: {message}");
        }
    }
}
