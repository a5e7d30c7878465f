//! A native client: `Exchange` over HTTP/2, through the generated stubs.

use std::net::SocketAddr;

use signalbox_proto::v1::{
    ClientMessage, GoAway, Join, Resumed, ServerMessage, Welcome, client_message::Body as ClientBody,
    server_message::Body as ServerBody, signal_client::SignalClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{DEADLINE, TestServer, connect, messages, with_token, within};

/// An `Exchange` stream on a connection of its own; dropping it resets the stream.
pub(crate) struct Stream {
    out: Option<mpsc::Sender<ClientMessage>>,
    inbound: Streaming<ServerMessage>,
}

impl Stream {
    /// Opens a stream and waits for its headers; no message has been sent on it yet.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self::open_with_token(addr, None).await
    }

    /// The same with a token.
    pub(crate) async fn open_with_token(addr: SocketAddr, token: Option<&str>) -> Self {
        let mut client = SignalClient::new(connect(addr).await);
        let (out, outbound) = mpsc::channel(1024);
        let request = with_token(ReceiverStream::new(outbound), token);
        let response = within(DEADLINE, client.exchange(request)).await;
        Self { out: Some(out), inbound: response.expect("headers come at once").into_inner() }
    }

    pub(crate) async fn send_message(&self, message: ClientMessage) {
        let out = self.out.as_ref().expect("the sending side is open");
        within(DEADLINE, out.send(message)).await.expect("the stream is open");
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn try_next(&mut self) -> Result<Option<ServerMessage>, Status> {
        within(DEADLINE, self.inbound.message()).await
    }

    /// The next message, which must come.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        match self.try_next().await {
            Ok(Some(message)) => message,
            end => panic!("the stream ended: {end:?}"),
        }
    }

    /// The status with which the stream ends now, without another message.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        match self.try_next().await {
            Ok(Some(message)) => panic!("not the end: {message:?}"),
            Ok(None) => Ok(()),
            Err(status) => Err(status),
        }
    }

    /// Half-closes the stream.
    pub(crate) fn half_close(&mut self) {
        self.out = None;
    }

    /// Opens a stream, sends `first` and returns the first message of the server.
    pub(crate) async fn begin(addr: SocketAddr, first: ClientBody) -> Result<(Self, ServerMessage), Status> {
        Self::begin_with_token(addr, None, first).await
    }

    /// The same with a token.
    pub(crate) async fn begin_with_token(
        addr: SocketAddr,
        token: Option<&str>,
        first: ClientBody,
    ) -> Result<(Self, ServerMessage), Status> {
        let mut stream = Self::open_with_token(addr, token).await;
        stream.send_message(messages::unnumbered("", first)).await;
        let first = stream.try_next().await?.expect("a message comes before the end");
        Ok((stream, first))
    }
}

/// What a client needs to resume its session.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) token: String,
    /// Highest sequence number that the client has processed.
    pub(crate) seq: u64,
}

/// A member of a room whose session is attached to an `Exchange` stream.
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) seq: u64,
    /// Highest acknowledgement received.
    pub(crate) acked: u64,
    first: ServerMessage,
    stream: Stream,
}

impl Member {
    /// Joins a room anonymously.
    pub(crate) async fn join(server: &TestServer, room: &str) -> Self {
        Self::join_with(server.addr, messages::join(room)).await
    }

    /// Joins, which must succeed.
    pub(crate) async fn join_with(addr: SocketAddr, join: Join) -> Self {
        Self::try_join(addr, join).await.expect("the join is accepted")
    }

    pub(crate) async fn try_join(addr: SocketAddr, join: Join) -> Result<Self, Status> {
        Self::try_join_with_token(addr, None, join).await
    }

    /// Joins with a token, if there is one.
    pub(crate) async fn try_join_with_token(addr: SocketAddr, jwt: Option<&str>, join: Join) -> Result<Self, Status> {
        let (stream, first) = Stream::begin_with_token(addr, jwt, ClientBody::Join(join)).await?;
        let Some(ServerBody::Welcome(welcome)) = &first.body else { panic!("no welcome but {first:?}") };
        let id = welcome.you.as_ref().expect("a welcome names its receiver").member_id.clone();
        Ok(Self { id, token: welcome.session_token.clone(), seq: first.seq, acked: 0, stream, first })
    }

    /// Resumes a session, which must succeed.
    pub(crate) async fn resume(server: &TestServer, ticket: &Ticket) -> Self {
        Self::try_resume(server.addr, ticket).await.expect("the session can be resumed")
    }

    pub(crate) async fn try_resume(addr: SocketAddr, ticket: &Ticket) -> Result<Self, Status> {
        Self::try_resume_with_token(addr, None, ticket).await
    }

    /// Resumes a session with a token, if there is one.
    pub(crate) async fn try_resume_with_token(
        addr: SocketAddr,
        jwt: Option<&str>,
        ticket: &Ticket,
    ) -> Result<Self, Status> {
        let resume = messages::resume(&ticket.token, ticket.seq);
        let (stream, first) = Stream::begin_with_token(addr, jwt, ClientBody::Resume(resume)).await?;
        assert!(matches!(first.body, Some(ServerBody::Resumed(_))), "no resumed but {first:?}");
        let Ticket { id, token, seq } = ticket.clone();
        Ok(Self { id, token, seq, acked: 0, stream, first })
    }

    pub(crate) fn welcome(&self) -> &Welcome {
        match &self.first.body {
            Some(ServerBody::Welcome(welcome)) => welcome,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// The first message, and its `ack`.
    pub(crate) fn resumed(&self) -> (&Resumed, u64) {
        match &self.first.body {
            Some(ServerBody::Resumed(resumed)) => (resumed, self.first.ack),
            other => panic!("no resumed but {other:?}"),
        }
    }

    pub(crate) fn first(&self) -> &ServerMessage {
        &self.first
    }

    /// Sends an unnumbered message. An empty `to` is the only other member, or all others for data.
    pub(crate) async fn send(&self, to: &str, body: ClientBody) {
        self.send_message(messages::unnumbered(to, body)).await;
    }

    pub(crate) async fn send_message(&self, message: ClientMessage) {
        self.stream.send_message(message).await;
    }

    /// The next message of any kind.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        let message = self.stream.next().await;
        self.track(&message);
        message
    }

    /// The next message, or how the stream ended.
    pub(crate) async fn try_next(&mut self) -> Result<Option<ServerMessage>, Status> {
        self.stream.try_next().await
    }

    /// The next message that is more than an ack.
    pub(crate) async fn event(&mut self) -> ServerMessage {
        loop {
            let message = self.next().await;
            if message.body.is_some() {
                return message;
            }
        }
    }

    /// Reads until everything up to `seq` is acknowledged; only acknowledgements may come until then.
    pub(crate) async fn await_ack(&mut self, seq: u64) {
        while self.acked < seq {
            let message = self.next().await;
            assert!(message.body.is_none(), "expected only acks: {message:?}");
        }
        assert_eq!(self.acked, seq);
    }

    /// Reads the end of a stream that the server ends with a reason.
    pub(crate) async fn expect_go_away(&mut self) -> (GoAway, Status) {
        let go_away = super::body!(self.event().await, GoAway);
        let status = self.stream.end().await.expect_err("a go_away is followed by an error");
        (go_away, status)
    }

    /// The status with which the stream ends now.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        self.stream.end().await
    }

    /// Half-closes the stream.
    pub(crate) fn half_close(&mut self) {
        self.stream.half_close();
    }

    /// Leaves, and waits until that is done.
    pub(crate) async fn leave(mut self) {
        self.send("", messages::leave()).await;
        while self.try_next().await.expect("a leave ends well").is_some() {}
    }

    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { id: self.id.clone(), token: self.token.clone(), seq: self.seq }
    }

    /// Drops the stream without a leave.
    pub(crate) fn disconnect(self) -> Ticket {
        self.ticket()
    }

    fn track(&mut self, message: &ServerMessage) {
        if message.seq > 0 {
            assert!(message.seq > self.seq, "sequence numbers rise: {message:?} after {}", self.seq);
            self.seq = message.seq;
        }
        if message.ack > 0 {
            assert!(message.ack > self.acked, "acks rise on a stream: {message:?} after {}", self.acked);
            self.acked = message.ack;
        }
    }
}
