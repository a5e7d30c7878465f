//! A web client: `Subscribe` and `Send` over gRPC-Web, as a browser calls them.

use std::net::SocketAddr;

use http::Method;
use prost::Message;
use signalbox_proto::v1::{
    ClientMessage, GoAway, Join, SendRequest, SendResponse, ServerMessage, SubscribeRequest, Welcome,
    server_message::Body, subscribe_request::Open,
};
use signalbox_testkit::grpc_web::{CallError, Encoding, Response};
use tonic::Status;

use super::{
    DEADLINE, messages,
    native::Ticket,
    raw::{Version, request},
    within,
};

const SUBSCRIBE: &str = "/signalbox.v1.Signal/Subscribe";
const SEND: &str = "/signalbox.v1.Signal/Send";

/// How a page calls the server; each call has a connection of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WebClient {
    pub(crate) addr: SocketAddr,
    pub(crate) version: Version,
    pub(crate) encoding: Encoding,
    /// The value of the header `authorization`.
    pub(crate) authorization: Option<&'static str>,
}

impl WebClient {
    /// As most browsers do: bytes over HTTP/1.1.
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self { addr, version: Version::Http1, encoding: Encoding::Binary, authorization: None }
    }

    /// The same with a token in each call.
    pub(crate) fn with_token(self, token: &str) -> Self {
        // Leaked, so that this type stays `Copy`.
        Self { authorization: Some(format!("Bearer {token}").leak()), ..self }
    }

    /// Makes a call; `message` is sent as it is.
    pub(crate) async fn call(self, path: &str, message: &[u8]) -> Reply {
        let mut headers = self.encoding.headers().to_vec();
        headers.extend(self.authorization.map(|value| ("authorization", value)));
        let body = self.encoding.body(message);
        let response = request(self.addr, self.version, Method::POST, path, &headers, body).await.expect("a response");
        Reply(Response::new(response, self.encoding).expect("a gRPC-Web response"))
    }

    /// Makes a unary call.
    pub(crate) async fn unary<T: Message + Default>(self, path: &str, message: &impl Message) -> Result<T, Status> {
        let mut reply = self.call(path, &message.encode_to_vec()).await;
        let first = reply.try_next().await?.expect("a message comes before OK");
        assert!(reply.try_next::<T>().await?.is_none(), "a unary call has one response");
        Ok(first)
    }

    /// Calls `Send`.
    pub(crate) async fn send(self, token: &str, messages: Vec<ClientMessage>) -> Result<SendResponse, Status> {
        self.unary(SEND, &SendRequest { session_token: token.to_owned(), messages }).await
    }

    /// Opens or resumes a session; returns the first message too.
    pub(crate) async fn subscribe(self, open: Open) -> Result<(Reply, ServerMessage), Status> {
        let mut reply = self.call(SUBSCRIBE, &SubscribeRequest { open: Some(open) }.encode_to_vec()).await;
        let first = reply.try_next().await?.expect("a message comes before the end");
        Ok((reply, first))
    }
}

/// The response of a call, which must be well-formed. Dropping it closes the connection.
pub(crate) struct Reply(Response);

impl Reply {
    /// The next message; `None` is the end with status OK.
    pub(crate) async fn try_next<T: Message + Default>(&mut self) -> Result<Option<T>, Status> {
        within(DEADLINE, self.0.next()).await.map_err(|error| match error {
            CallError::Status(status) => status,
            CallError::Connection(_) | CallError::Malformed(_) => panic!("{error}"),
        })
    }
}

/// A member of a room whose session is attached to a `Subscribe` stream.
pub(crate) struct WebMember {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) seq: u64,
    pub(crate) first: ServerMessage,
    client: WebClient,
    reply: Reply,
}

impl WebMember {
    /// Joins a room, which must succeed.
    pub(crate) async fn join(client: WebClient, join: Join) -> Self {
        let (reply, first) = client.subscribe(Open::Join(join)).await.expect("the join is accepted");
        let Some(Body::Welcome(welcome)) = &first.body else { panic!("no welcome but {first:?}") };
        let id = welcome.you.as_ref().expect("a welcome names its receiver").member_id.clone();
        Self { id, token: welcome.session_token.clone(), seq: first.seq, client, reply, first }
    }

    /// Resumes a session, which must succeed.
    pub(crate) async fn resume(client: WebClient, ticket: &Ticket) -> Self {
        let open = Open::Resume(messages::resume(&ticket.token, ticket.seq));
        let (reply, first) = client.subscribe(open).await.expect("the session can be resumed");
        assert!(matches!(first.body, Some(Body::Resumed(_))), "no resumed but {first:?}");
        Self { id: ticket.id.clone(), token: ticket.token.clone(), seq: ticket.seq, client, reply, first }
    }

    pub(crate) fn welcome(&self) -> &Welcome {
        match &self.first.body {
            Some(Body::Welcome(welcome)) => welcome,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// Calls `Send` in this session.
    pub(crate) async fn send(&self, messages: Vec<ClientMessage>) -> Result<SendResponse, Status> {
        self.client.send(&self.token, messages).await
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn try_next(&mut self) -> Result<Option<ServerMessage>, Status> {
        let message: Option<ServerMessage> = self.reply.try_next().await?;
        if let Some(message) = &message {
            assert_eq!(message.ack, 0, "outcomes of a Send are in its response: {message:?}");
            if message.seq > 0 {
                assert!(message.seq > self.seq, "sequence numbers rise: {message:?} after {}", self.seq);
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

    /// Reads the end of a stream that the server ends with a reason.
    pub(crate) async fn expect_go_away(&mut self) -> (GoAway, Status) {
        let go_away = super::body!(self.next().await, GoAway);
        (go_away, self.try_next().await.expect_err("a go_away is followed by an error"))
    }

    /// Drops the stream without a leave.
    pub(crate) fn disconnect(self) -> Ticket {
        Ticket { id: self.id, token: self.token, seq: self.seq }
    }
}
