//! The task behind a session: keeps a stream open, resumes, resends messages and detects dead connections.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::RwLock;
use signalbox_proto::reason::TOKEN_EXPIRED;
use signalbox_proto::v1::{
    Action, ClientMessage, Heartbeat, Join, Leave, Resume, SendRequest, ServerMessage, Welcome,
    client_message::Body as ClientBody, server_message::Body as ServerBody, signal_client::SignalClient,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};
use tonic::{Streaming, transport::Channel};
use tracing::debug;

use crate::{
    Client, Error,
    backoff::Backoff,
    outbox::Outbox,
    policy::{self, Step},
    session::{Command, Event, Outcome, Received, Sender, Session},
    stream::{OPEN_TIMEOUT, Stream},
    token::{Credentials, TokenFuture},
};

/// Capacity of the command queue. While it is full, senders wait.
const COMMAND_CAPACITY: usize = 64;
/// Capacity of the event queue. While it is full, the client does not read from the connection.
const EVENT_CAPACITY: usize = 256;
/// Number of unacknowledged entries after which the client sends an acknowledgement. Every message to the server also
/// carries one.
const ACK_EVERY: u64 = 32;
/// How long `leave` waits for the server before the connection is dropped.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens a session and starts the task behind it.
pub(crate) async fn open(client: Client, join: Join) -> Result<Session, Error> {
    let mut credentials = Credentials::new(client.token.clone());
    let (stream, first) = Stream::open(&client, &mut credentials, ClientBody::Join(join.clone())).await?;
    let Some(ServerBody::Welcome(welcome)) = first.body else {
        return Err(Error::Protocol("expected welcome as the first message after a join"));
    };
    let (command_sender, commands) = mpsc::channel(COMMAND_CAPACITY);
    let (events, event_receiver) = mpsc::channel(EVENT_CAPACITY);
    let current = Arc::new(RwLock::new(Arc::new(welcome.clone())));
    credentials.mark_accepted();
    let driver = Driver {
        client,
        credentials,
        pending_token: None,
        join,
        commands,
        events,
        current: current.clone(),
        outbox: Outbox::default(),
        resend: VecDeque::new(),
        welcome,
        epoch: 0,
        last_seq: 0,
        acked: 0,
    };
    tokio::spawn(driver.run(stream));
    let sender = Sender { commands: command_sender, epoch: Arc::default() };
    Ok(Session { sender, events: event_receiver, welcome: current })
}

/// What the driver does after a stream has ended.
enum StreamEnd {
    /// Resume the session, after the server's delay if it sent one.
    Resume(Option<Duration>),
    /// Join the room again as a new session.
    Rejoin,
    /// End the session.
    Stop(Stop),
}

/// Why the driver stops.
enum Stop {
    /// The server ended the session, or reconnecting failed permanently.
    Failed(Error),
    /// The application left the room or dropped the session.
    Closed,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Driver {
    client: Client,
    credentials: Credentials,
    /// A pending call of the application's token function.
    pending_token: Option<TokenFuture>,
    join: Join,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    current: Arc<RwLock<Arc<Welcome>>>,
    outbox: Outbox,
    /// Messages to resend on this stream before any new message.
    resend: VecDeque<ClientMessage>,
    welcome: Welcome,
    /// Number of rejoins. It identifies the current session.
    epoch: u64,
    /// Sequence number of the last entry handed to the application.
    last_seq: u64,
    /// Sequence number of the last entry acknowledged to the server.
    acked: u64,
}

impl Driver {
    async fn run(mut self, mut stream: Stream) {
        loop {
            let mut end = self.run_stream(stream).await;
            if matches!(end, StreamEnd::Resume(_)) && self.events.send(Event::Suspended).await.is_err() {
                end = StreamEnd::Stop(Stop::Closed);
            }
            let reconnected = match end {
                StreamEnd::Resume(delay) => self.resume(delay).await,
                StreamEnd::Rejoin => self.rejoin(Backoff::default()).await,
                StreamEnd::Stop(stop) => Err(stop),
            };
            stream = match reconnected {
                Ok(stream) => stream,
                Err(Stop::Failed(error)) => {
                    self.outbox.abandon();
                    drop(self.events.send(Event::Ended(error)).await);
                    return;
                }
                Err(Stop::Closed) => return,
            };
        }
    }

    /// Retries until the session is resumed, or joins again if the server no longer has the session.
    async fn resume(&mut self, delay: Option<Duration>) -> Result<Stream, Stop> {
        let mut backoff = Backoff::default();
        let mut delay = delay;
        loop {
            let next = backoff.next((self.client.random)());
            sleep(delay.take().unwrap_or(next)).await;
            if self.events.is_closed() {
                return Err(Stop::Closed);
            }
            let resume = Resume { session_token: self.welcome.session_token.clone(), after_seq: self.last_seq };
            match Stream::open(&self.client, &mut self.credentials, ClientBody::Resume(resume)).await {
                Ok((stream, ServerMessage { ack, body: Some(ServerBody::Resumed(resumed)), .. })) => {
                    self.acked = 0;
                    self.credentials.mark_accepted();
                    // The server has handled the messages up to `ack`, so do not resend them. Their outcomes follow on
                    // this stream: first the `undelivered` reports, then the ack.
                    self.resend = self.outbox.unacknowledged(ack).collect();
                    drop(self.events.send(Event::Resumed(resumed.members)).await);
                    return Ok(stream);
                }
                Ok(_) => return Err(Error::Protocol("expected resumed as the first message after a resume").into()),
                Err(error) => match policy::after_resume(&error) {
                    Step::Resume => {
                        debug!(%error, "resume failed, retrying");
                        delay = error.retry_after();
                    }
                    Step::Rejoin => return self.rejoin(backoff).await,
                    Step::RenewToken if self.credentials.mark_rejected() => {}
                    Step::RenewToken | Step::Stop => return Err(error.into()),
                },
            }
        }
    }

    /// Retries the join until it succeeds or fails permanently.
    async fn rejoin(&mut self, mut backoff: Backoff) -> Result<Stream, Stop> {
        self.outbox.abandon();
        self.resend.clear();
        self.last_seq = 0;
        self.acked = 0;
        loop {
            match Stream::open(&self.client, &mut self.credentials, ClientBody::Join(self.join.clone())).await {
                Ok((stream, ServerMessage { body: Some(ServerBody::Welcome(welcome)), .. })) => {
                    self.welcome = welcome.clone();
                    self.credentials.mark_accepted();
                    self.epoch += 1;
                    *self.current.write() = Arc::new(welcome.clone());
                    drop(self.events.send(Event::Rejoined(Box::new(welcome))).await);
                    return Ok(stream);
                }
                Ok(_) => return Err(Error::Protocol("expected welcome as the first message after a join").into()),
                Err(error) => match policy::after_join(&error) {
                    Step::Resume | Step::Rejoin => {
                        debug!(%error, "rejoin failed, retrying");
                        let next = backoff.next((self.client.random)());
                        sleep(error.retry_after().unwrap_or(next)).await;
                    }
                    Step::RenewToken if self.credentials.mark_rejected() => continue,
                    Step::RenewToken | Step::Stop => return Err(error.into()),
                },
            }
            if self.events.is_closed() {
                return Err(Stop::Closed);
            }
        }
    }

    /// Sends and receives on a stream until it ends.
    async fn run_stream(&mut self, mut stream: Stream) -> StreamEnd {
        let limits = self.welcome.limits.unwrap_or_default();
        let heartbeat = limits.heartbeat_interval.and_then(|d| d.try_into().ok()).unwrap_or(Duration::from_secs(15));
        let max_silence = 2 * heartbeat + Duration::from_secs(5);
        let max_unacked = limits.max_unacked.max(1) as usize;
        let mut deadline = Instant::now() + max_silence;
        loop {
            let window_is_open = !self.resend.is_empty() || self.outbox.len() < max_unacked;
            let next = async {
                // Wait for capacity inside the select, so that a blocked connection does not hide the server's silence.
                match stream.outgoing.reserve().await {
                    Ok(permit) if !self.resend.is_empty() => (permit, None),
                    Ok(permit) => (permit, Some(self.commands.recv().await)),
                    // The stream has ended, and the receiving branch gets its status.
                    Err(_) => std::future::pending().await,
                }
            };
            let due = self.credentials.renewal_due();
            let renewal = async {
                match (&mut self.pending_token, due) {
                    (Some(token), _) => Some(token.await),
                    (None, Some(due)) => {
                        sleep_until(due).await;
                        None
                    }
                    (None, None) => std::future::pending().await,
                }
            };
            tokio::select! {
                // Sending has priority. The window of unacknowledged messages bounds it, so receiving is not starved.
                biased;
                (permit, command) = next, if window_is_open => match command {
                    None => {
                        if let Some(message) = self.resend.pop_front() {
                            permit.send(with_ack(message, self.last_seq, &mut self.acked));
                        }
                    }
                    // The application sent this signal before it received `Rejoined`, so it belongs to the previous
                    // session.
                    Some(Some(Command::Send { epoch, outcome, .. })) if epoch != self.epoch => {
                        drop(outcome.send(Outcome::Unknown));
                    }
                    Some(Some(Command::Send { message, outcome, .. })) => {
                        let message = self.outbox.add(*message, outcome);
                        permit.send(with_ack(message, self.last_seq, &mut self.acked));
                    }
                    Some(Some(Command::Leave(done))) => {
                        let body = Some(ClientBody::Leave(Leave::default()));
                        permit.send(ClientMessage { body, ..ClientMessage::default() });
                        self.leave(&mut stream.incoming).await;
                        // The application may have dropped the future of `leave`.
                        let _ = done.send(());
                        return StreamEnd::Stop(Stop::Closed);
                    }
                    Some(None) => return StreamEnd::Stop(Stop::Closed),
                },
                message = timeout_at(deadline, stream.incoming.message()) => match message {
                    Ok(Ok(Some(message))) => {
                        deadline = Instant::now() + max_silence;
                        if let Err(end) = self.receive(&stream, message).await {
                            return end;
                        }
                    }
                    Ok(Err(status)) => return stream_end(status.into()),
                    // The stream ended without a status, or the server is silent.
                    Ok(Ok(None)) | Err(_) => return StreamEnd::Resume(None),
                },
                renewal = renewal => match renewal {
                    None => self.pending_token = self.credentials.renew(),
                    Some(token) => {
                        self.pending_token = None;
                        match token {
                            Ok(token) => self.renew_session(&stream.connection.channel, token),
                            Err(error) => debug!(%error, "token renewal failed, retrying"),
                        }
                    }
                },
            }
        }
    }

    /// Renews the session with a new token, in a unary call because a stream sends its metadata only once.
    fn renew_session(&mut self, channel: &Channel, token: String) {
        self.credentials.set_token(token);
        let heartbeat = ClientMessage { body: Some(ClientBody::Heartbeat(Heartbeat {})), ..ClientMessage::default() };
        let request = SendRequest { session_token: self.welcome.session_token.clone(), messages: vec![heartbeat] };
        let Ok(request) = self.credentials.request(request) else { return };
        let mut client = SignalClient::new(channel.clone());
        tokio::spawn(async move {
            // A failure needs no handling: when the session expires, the client joins again with a new token.
            match timeout(OPEN_TIMEOUT, client.send(request)).await {
                Ok(Err(error)) => debug!(%error, "session renewal failed"),
                Ok(Ok(_)) => {}
                Err(_) => debug!("session renewal timed out"),
            }
        });
    }

    /// Receives the final outcomes until the server ends the stream, for at most `LEAVE_TIMEOUT`.
    async fn leave(&mut self, incoming: &mut Streaming<ServerMessage>) {
        let final_frames = async {
            while let Ok(Some(message)) = incoming.message().await {
                match message.body {
                    Some(ServerBody::Undelivered(report)) => self.outbox.record_undelivered(report),
                    _ => self.outbox.settle(message.ack),
                }
            }
        };
        drop(timeout(LEAVE_TIMEOUT, final_frames).await);
    }

    async fn receive(&mut self, stream: &Stream, message: ServerMessage) -> Result<(), StreamEnd> {
        let ServerMessage { seq, ack, from, negotiation, body } = message;
        if let Some(ServerBody::Undelivered(report)) = body {
            self.outbox.record_undelivered(report);
            return Ok(());
        }
        self.outbox.settle(ack);
        if seq != 0 && seq <= self.last_seq {
            return Ok(()); // The application already has this replayed entry.
        }
        let signal = |body| Event::Signal(Received { from: from.clone(), negotiation, body });
        let event = match body {
            Some(ServerBody::MemberJoined(joined)) => joined.member.map(Event::MemberJoined),
            Some(ServerBody::MemberUpdated(updated)) => updated.member.map(Event::MemberUpdated),
            Some(ServerBody::MemberLeft(left)) => Some(Event::MemberLeft(left)),
            Some(ServerBody::Offer(offer)) => Some(signal(ClientBody::Offer(offer))),
            Some(ServerBody::Answer(answer)) => Some(signal(ClientBody::Answer(answer))),
            Some(ServerBody::Candidate(candidate)) => Some(signal(ClientBody::Candidate(candidate))),
            Some(ServerBody::Data(data)) => Some(signal(ClientBody::Data(data))),
            Some(ServerBody::IceServers(servers)) => Some(Event::IceServers(servers)),
            Some(ServerBody::GoAway(go_away)) => {
                let delay = go_away.retry_after.and_then(|delay| delay.try_into().ok());
                return match go_away.action() {
                    Action::Resume => Err(StreamEnd::Resume(delay)),
                    Action::Rejoin => {
                        if go_away.reason == TOKEN_EXPIRED {
                            self.credentials.mark_rejected();
                        }
                        Err(StreamEnd::Rejoin)
                    }
                    // The server ends the stream with a gRPC status, which has the reason.
                    Action::Stop | Action::Unspecified => Ok(()),
                };
            }
            Some(ServerBody::Heartbeat(_)) => {
                let heartbeat =
                    ClientMessage { body: Some(ClientBody::Heartbeat(Heartbeat {})), ..ClientMessage::default() };
                drop(stream.outgoing.try_send(with_ack(heartbeat, self.last_seq, &mut self.acked)));
                None
            }
            None | Some(ServerBody::Welcome(_) | ServerBody::Resumed(_) | ServerBody::Undelivered(_)) => None,
        };
        if let Some(event) = event
            && self.events.send(event).await.is_err()
        {
            return Err(StreamEnd::Stop(Stop::Closed));
        }
        if seq != 0 {
            self.last_seq = seq;
            if seq >= self.acked + ACK_EVERY {
                // If the queue is full, a later message carries the acknowledgement.
                let ack = with_ack(ClientMessage::default(), self.last_seq, &mut self.acked);
                drop(stream.outgoing.try_send(ack));
            }
        }
        Ok(())
    }
}

/// Adds the acknowledgement of all received entries to a message.
fn with_ack(mut message: ClientMessage, last_seq: u64, acked: &mut u64) -> ClientMessage {
    message.ack = last_seq;
    *acked = last_seq;
    message
}

/// Returns what to do after an error has ended a stream.
fn stream_end(error: Error) -> StreamEnd {
    match policy::after_stream(&error) {
        Step::Resume => StreamEnd::Resume(error.retry_after()),
        Step::Rejoin => StreamEnd::Rejoin,
        Step::RenewToken | Step::Stop => StreamEnd::Stop(Stop::Failed(error)),
    }
}
