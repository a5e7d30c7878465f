//! A native client: `Exchange` over HTTP/2, through the generated stubs.

use std::net::SocketAddr;

use signalbox_proto::v1::{
    ClientMessage, GoAway, Join, Resume, Resumed, ServerMessage, Welcome, client_message::Body as Said,
    server_message::Body, signal_client::SignalClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{DEADLINE, TestServer, connect, say, with_token, within};

/// An `Exchange` stream on a connection of its own; dropping it resets the stream.
pub(crate) struct Stream {
    out: Option<mpsc::Sender<ClientMessage>>,
    inbound: Streaming<ServerMessage>,
}

impl Stream {
    /// Opens a stream and waits for its headers; nothing has been said on it yet.
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self::open_with(addr, None).await
    }

    /// The same with a token.
    pub(crate) async fn open_with(addr: SocketAddr, token: Option<&str>) -> Self {
        let mut client = SignalClient::new(connect(addr).await);
        let (out, outbound) = mpsc::channel(1024);
        let request = with_token(ReceiverStream::new(outbound), token);
        let response = within(DEADLINE, client.exchange(request)).await;
        Self { out: Some(out), inbound: response.expect("headers come at once").into_inner() }
    }

    /// Says something.
    pub(crate) async fn send(&self, message: ClientMessage) {
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

    /// Closes the sending side; the server's goes on.
    pub(crate) fn half_close(&mut self) {
        self.out = None;
    }

    /// Opens a stream, says `first` and takes the first answer.
    pub(crate) async fn begin(addr: SocketAddr, first: Said) -> Result<(Self, ServerMessage), Status> {
        Self::begin_with(addr, None, first).await
    }

    /// The same with a token.
    pub(crate) async fn begin_with(
        addr: SocketAddr,
        token: Option<&str>,
        first: Said,
    ) -> Result<(Self, ServerMessage), Status> {
        let mut stream = Self::open_with(addr, token).await;
        stream.send(say::unnumbered("", first)).await;
        let first = stream.try_next().await?.expect("a message comes before the end");
        Ok((stream, first))
    }
}

/// What a client keeps of its session when its stream is lost.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) id: String,
    pub(crate) token: String,
    /// Highest position of the log that the client has processed.
    pub(crate) seq: u64,
}

/// A member of a room whose session an `Exchange` stream carries.
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) seq: u64,
    /// Highest acknowledgement that came.
    pub(crate) acked: u64,
    first: ServerMessage,
    stream: Stream,
}

impl Member {
    /// Joins a room anonymously.
    pub(crate) async fn join(server: &TestServer, room: &str) -> Self {
        Self::join_with(server.addr, say::join(room)).await
    }

    /// Joins, which must work.
    pub(crate) async fn join_with(addr: SocketAddr, join: Join) -> Self {
        Self::try_join(addr, join).await.expect("the join is accepted")
    }

    /// Joins.
    pub(crate) async fn try_join(addr: SocketAddr, join: Join) -> Result<Self, Status> {
        Self::try_join_as(addr, None, join).await
    }

    /// Joins with a token.
    pub(crate) async fn try_join_as(addr: SocketAddr, jwt: Option<&str>, join: Join) -> Result<Self, Status> {
        let (stream, first) = Stream::begin_with(addr, jwt, Said::Join(join)).await?;
        let Some(Body::Welcome(welcome)) = &first.body else { panic!("no welcome but {first:?}") };
        let id = welcome.you.as_ref().expect("a welcome says who one is").member_id.clone();
        Ok(Self { id, token: welcome.session_token.clone(), seq: first.seq, acked: 0, stream, first })
    }

    /// Continues a session, which must work.
    pub(crate) async fn resume(server: &TestServer, ticket: &Ticket) -> Self {
        Self::try_resume(server.addr, ticket).await.expect("the session can be resumed")
    }

    /// Continues a session.
    pub(crate) async fn try_resume(addr: SocketAddr, ticket: &Ticket) -> Result<Self, Status> {
        Self::try_resume_as(addr, None, ticket).await
    }

    /// Continues a session, and shows a token.
    pub(crate) async fn try_resume_as(addr: SocketAddr, jwt: Option<&str>, ticket: &Ticket) -> Result<Self, Status> {
        let resume = Resume { session_token: ticket.token.clone(), after_seq: ticket.seq };
        let (stream, first) = Stream::begin_with(addr, jwt, Said::Resume(resume)).await?;
        assert!(matches!(first.body, Some(Body::Resumed(_))), "no resumed but {first:?}");
        let Ticket { id, token, seq } = ticket.clone();
        Ok(Self { id, token, seq, acked: 0, stream, first })
    }

    /// What the server said first, to a join.
    pub(crate) fn welcome(&self) -> &Welcome {
        match &self.first.body {
            Some(Body::Welcome(welcome)) => welcome,
            other => panic!("no welcome but {other:?}"),
        }
    }

    /// What the server said first, to a resume, and its `ack`.
    pub(crate) fn resumed(&self) -> (&Resumed, u64) {
        match &self.first.body {
            Some(Body::Resumed(resumed)) => (resumed, self.first.ack),
            other => panic!("no resumed but {other:?}"),
        }
    }

    /// The whole first message.
    pub(crate) fn first(&self) -> &ServerMessage {
        &self.first
    }

    /// Says something, unnumbered. An empty `to` is left to the server.
    pub(crate) async fn say(&self, to: &str, body: Said) {
        self.send(say::unnumbered(to, body)).await;
    }

    /// Says something.
    pub(crate) async fn send(&self, message: ClientMessage) {
        self.stream.send(message).await;
    }

    /// The next message, whatever it is.
    pub(crate) async fn next(&mut self) -> ServerMessage {
        let message = self.stream.next().await;
        self.note(&message);
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

    /// Reads until everything up to `seq` is acknowledged; nothing else may come meanwhile.
    pub(crate) async fn await_ack(&mut self, seq: u64) {
        while self.acked < seq {
            let message = self.next().await;
            assert!(message.body.is_none(), "only acks were to come: {message:?}");
        }
        assert_eq!(self.acked, seq);
    }

    /// Reads the end of a stream that the server ends for a reason.
    pub(crate) async fn sent_away(&mut self) -> (GoAway, Status) {
        let go_away = super::body!(self.event().await, GoAway);
        let status = self.stream.end().await.expect_err("a go_away is followed by an error");
        (go_away, status)
    }

    /// The status with which the stream ends now.
    pub(crate) async fn end(&mut self) -> Result<(), Status> {
        self.stream.end().await
    }

    /// Closes the sending side; the server's goes on.
    pub(crate) fn half_close(&mut self) {
        self.stream.half_close();
    }

    /// Leaves, and waits until that is done.
    pub(crate) async fn leave(mut self) {
        self.say("", say::leave()).await;
        while self.try_next().await.expect("a leave ends well").is_some() {}
    }

    /// What resuming needs.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { id: self.id.clone(), token: self.token.clone(), seq: self.seq }
    }

    /// Loses the stream, without a word to the server.
    pub(crate) fn lose(self) -> Ticket {
        self.ticket()
    }

    fn note(&mut self, message: &ServerMessage) {
        if message.seq > 0 {
            assert!(message.seq > self.seq, "log positions rise: {message:?} after {}", self.seq);
            self.seq = message.seq;
        }
        if message.ack > 0 {
            assert!(message.ack > self.acked, "acks rise on a stream: {message:?} after {}", self.acked);
            self.acked = message.ack;
        }
    }
}
