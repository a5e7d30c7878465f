//! The task behind a session: keeps a stream open, resumes, resends, watches for silence.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use signalbox_proto::reason::{TOKEN_EXPIRED, TOKEN_INVALID};
use signalbox_proto::v1::{
    Action, ClientMessage, Heartbeat, Join, Leave, Resume, SendRequest, ServerMessage, Welcome,
    client_message::Body as Said, server_message::Body, signal_client::SignalClient,
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
    session::{Command, Event, Outcome, Received, Sender, Session},
    stream::{OPEN_TIMEOUT, Stream},
    token::{Credentials, Pending},
};

/// Commands that wait for the driver; a sender beyond that waits itself.
const COMMANDS: usize = 64;
/// Events that wait for the application. When it does not read them, neither does the client.
const EVENTS: usize = 256;
/// The server hears what was processed at the latest after this many entries; it goes along with whatever is said.
const ACK_EVERY: u64 = 32;
/// How long a leave may take before the connection is simply dropped.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens a session and starts the task behind it.
pub(crate) async fn open(client: Client, join: Join) -> Result<Session, Error> {
    let mut credentials = Credentials::new(client.token.clone());
    let (stream, first) = Stream::open(&client, &mut credentials, Said::Join(join.clone())).await?;
    let Some(Body::Welcome(welcome)) = first.body else {
        return Err(Error::Protocol("the first message after a join was not welcome"));
    };
    let (commands, from_application) = mpsc::channel(COMMANDS);
    let (events, to_application) = mpsc::channel(EVENTS);
    let current = Arc::new(RwLock::new(Arc::new(welcome.clone())));
    credentials.accepted();
    let driver = Driver {
        client,
        credentials,
        renewing: None,
        join,
        commands: from_application,
        events,
        current: current.clone(),
        outbox: Outbox::default(),
        resend: VecDeque::new(),
        welcome,
        session: 0,
        last_seq: 0,
        acked: 0,
    };
    tokio::spawn(driver.run(stream));
    Ok(Session { sender: Sender { commands, session: Arc::default() }, events: to_application, welcome: current })
}

/// Why a stream is no longer used.
enum Lost {
    /// Resume, after this time if one was told.
    Resume(Option<Duration>),
    /// Join again.
    Rejoin,
    /// The session ended for good.
    Ended(Error),
    /// The application left or is gone.
    Done,
}

struct Driver {
    client: Client,
    credentials: Credentials,
    /// A newer token, on its way.
    renewing: Option<Pending>,
    join: Join,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    current: Arc<RwLock<Arc<Welcome>>>,
    outbox: Outbox,
    /// What has to be said again on this stream, before anything new.
    resend: VecDeque<ClientMessage>,
    welcome: Welcome,
    /// How many sessions there were before this one.
    session: u64,
    /// Highest log entry handed to the application, and the highest that the server was told of.
    last_seq: u64,
    acked: u64,
}

impl Driver {
    async fn run(mut self, mut stream: Stream) {
        loop {
            let mut lost = self.serve(stream).await;
            if matches!(lost, Lost::Resume(_)) && self.events.send(Event::Suspended).await.is_err() {
                lost = Lost::Done;
            }
            let again = match lost {
                Lost::Resume(wait) => self.resume(wait).await,
                Lost::Rejoin => self.rejoin(Backoff::default()).await,
                Lost::Ended(error) => Err(error),
                Lost::Done => return,
            };
            stream = match again {
                Ok(stream) => stream,
                Err(error) => {
                    self.outbox.abandon();
                    drop(self.events.send(Event::Ended(error)).await);
                    return;
                }
            };
        }
    }

    /// Tries until the session goes on: resumed, or as a new one.
    async fn resume(&mut self, wait: Option<Duration>) -> Result<Stream, Error> {
        let mut backoff = Backoff::default();
        if let Some(wait) = wait {
            sleep(wait).await;
        }
        loop {
            sleep(backoff.next((self.client.random)())).await;
            if self.events.is_closed() {
                return Err(Error::Protocol("nobody is listening"));
            }
            let resume = Resume { session_token: self.welcome.session_token.clone(), after_seq: self.last_seq };
            match Stream::open(&self.client, &mut self.credentials, Said::Resume(resume)).await {
                Ok((stream, ServerMessage { ack, body: Some(Body::Resumed(resumed)), .. })) => {
                    self.acked = 0;
                    self.credentials.accepted();
                    // The outcome of what was handled before is settled by the next ack. What was not goes again.
                    self.resend = self.outbox.after(ack).collect();
                    drop(self.events.send(Event::Resumed(resumed.members)).await);
                    return Ok(stream);
                }
                Ok(_) => return Err(Error::Protocol("the first message after a resume was not resumed")),
                Err(error) if error.is_temporary() => debug!(%error, "could not resume yet"),
                Err(error) if is_token_refused(&error) && self.credentials.refused() => {}
                Err(error) if error.reason() == signalbox_proto::reason::SESSION_GONE => {
                    return self.rejoin(backoff).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tries until there is a new session.
    async fn rejoin(&mut self, mut backoff: Backoff) -> Result<Stream, Error> {
        self.outbox.abandon();
        self.resend.clear();
        self.last_seq = 0;
        self.acked = 0;
        loop {
            match Stream::open(&self.client, &mut self.credentials, Said::Join(self.join.clone())).await {
                Ok((stream, ServerMessage { body: Some(Body::Welcome(welcome)), .. })) => {
                    self.welcome = welcome.clone();
                    self.credentials.accepted();
                    self.session += 1;
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(welcome.clone());
                    drop(self.events.send(Event::Rejoined(Box::new(welcome))).await);
                    return Ok(stream);
                }
                Ok(_) => return Err(Error::Protocol("the first message after a join was not welcome")),
                Err(error) if error.is_temporary() => debug!(%error, "could not join again yet"),
                Err(error) if is_token_refused(&error) && self.credentials.refused() => continue,
                Err(error) => return Err(error),
            }
            sleep(backoff.next((self.client.random)())).await;
            if self.events.is_closed() {
                return Err(Error::Protocol("nobody is listening"));
            }
        }
    }

    /// Carries the session on a stream until that is lost.
    async fn serve(&mut self, mut stream: Stream) -> Lost {
        let limits = self.welcome.limits.unwrap_or_default();
        let heartbeat = limits.heartbeat_interval.and_then(|d| d.try_into().ok()).unwrap_or(Duration::from_secs(15));
        let silence = 2 * heartbeat + Duration::from_secs(5);
        let max_unacked = limits.max_unacked.max(1) as usize;
        let mut deadline = Instant::now() + silence;
        loop {
            let window_is_open = !self.resend.is_empty() || self.outbox.len() < max_unacked;
            let next = async {
                // A connection that takes nothing must not keep the driver from noticing that it is dead.
                match stream.outgoing.reserve().await {
                    Ok(permit) if !self.resend.is_empty() => (permit, None),
                    Ok(permit) => (permit, Some(self.commands.recv().await)),
                    // A lost stream, which the other arm sees.
                    Err(_) => std::future::pending().await,
                }
            };
            let due = self.credentials.due();
            let renewal = async {
                match (&mut self.renewing, due) {
                    (Some(token), _) => Some(token.await),
                    (None, Some(due)) => {
                        sleep_until(due).await;
                        None
                    }
                    (None, None) => std::future::pending().await,
                }
            };
            tokio::select! {
                // What is said first: it is bounded by the window, so what is heard gets its turn.
                biased;
                (permit, command) = next, if window_is_open => match command {
                    None => {
                        if let Some(message) = self.resend.pop_front() {
                            permit.send(with_ack(message, self.last_seq, &mut self.acked));
                        }
                    }
                    // Meant for a session that is gone, by somebody who has not heard of that yet.
                    Some(Some(Command::Say { session, outcome, .. })) if session != self.session => {
                        drop(outcome.send(Outcome::Unknown));
                    }
                    Some(Some(Command::Say { message, outcome, .. })) => {
                        let message = self.outbox.add(*message, outcome);
                        permit.send(with_ack(message, self.last_seq, &mut self.acked));
                    }
                    Some(Some(Command::Leave(done))) => {
                        permit.send(ClientMessage { body: Some(Said::Leave(Leave::default())), ..ClientMessage::default() });
                        self.leave(&mut stream.incoming).await;
                        // The application may have stopped waiting.
                        let _ = done.send(());
                        return Lost::Done;
                    }
                    Some(None) => return Lost::Done,
                },
                message = timeout_at(deadline, stream.incoming.message()) => match message {
                    Ok(Ok(Some(message))) => {
                        deadline = Instant::now() + silence;
                        if let Err(lost) = self.receive(&stream, message).await {
                            return lost;
                        }
                    }
                    Ok(Err(status)) => return after(status.into()),
                    // Ended without a word, or looks open and says nothing.
                    Ok(Ok(None)) | Err(_) => return Lost::Resume(None),
                },
                renewal = renewal => match renewal {
                    None => self.renewing = self.credentials.renew(),
                    Some(token) => {
                        self.renewing = None;
                        match token {
                            Ok(token) => self.show(&stream.channel, token),
                            Err(error) => debug!(%error, "no newer token yet"),
                        }
                    }
                },
            }
        }
    }

    /// Renews the session with a token: by a call of its own, since a stream's metadata are sent but once.
    fn show(&mut self, channel: &Channel, token: String) {
        self.credentials.take(token);
        let beat = ClientMessage { body: Some(Said::Heartbeat(Heartbeat {})), ..ClientMessage::default() };
        let request = SendRequest { session_token: self.welcome.session_token.clone(), messages: vec![beat] };
        let Ok(request) = self.credentials.request(request) else { return };
        let mut client = SignalClient::new(channel.clone());
        tokio::spawn(async move {
            // What comes of it shows at the latest when the session ends, and then another token is asked for.
            match timeout(OPEN_TIMEOUT, client.send(request)).await {
                Ok(Err(error)) => debug!(%error, "the session was not renewed"),
                Ok(Ok(_)) => {}
                Err(_) => debug!("the session was not renewed in time"),
            }
        });
    }

    /// Waits, within reason, for the server to answer everything and end the stream.
    async fn leave(&mut self, incoming: &mut Streaming<ServerMessage>) {
        let goodbye = async {
            while let Ok(Some(message)) = incoming.message().await {
                match message.body {
                    Some(Body::Undelivered(report)) => self.outbox.undelivered(report),
                    _ => self.outbox.settle(message.ack),
                }
            }
        };
        drop(timeout(LEAVE_TIMEOUT, goodbye).await);
    }

    async fn receive(&mut self, stream: &Stream, message: ServerMessage) -> Result<(), Lost> {
        let ServerMessage { seq, ack, from, negotiation, body } = message;
        if let Some(Body::Undelivered(report)) = body {
            self.outbox.undelivered(report);
            return Ok(());
        }
        self.outbox.settle(ack);
        if seq != 0 && seq <= self.last_seq {
            return Ok(()); // A replay of what the application has.
        }
        let signal = |body| Event::Signal(Received { from: from.clone(), negotiation, body });
        let event = match body {
            Some(Body::MemberJoined(joined)) => joined.member.map(Event::MemberJoined),
            Some(Body::MemberUpdated(updated)) => updated.member.map(Event::MemberUpdated),
            Some(Body::MemberLeft(left)) => Some(Event::MemberLeft(left)),
            Some(Body::Offer(offer)) => Some(signal(Said::Offer(offer))),
            Some(Body::Answer(answer)) => Some(signal(Said::Answer(answer))),
            Some(Body::Candidate(candidate)) => Some(signal(Said::Candidate(candidate))),
            Some(Body::Data(data)) => Some(signal(Said::Data(data))),
            Some(Body::IceServers(servers)) => Some(Event::IceServers(servers)),
            Some(Body::GoAway(go_away)) => {
                let wait = go_away.retry_after.and_then(|wait| wait.try_into().ok());
                return match go_away.action() {
                    Action::Resume => Err(Lost::Resume(wait)),
                    Action::Rejoin => {
                        if go_away.reason == TOKEN_EXPIRED {
                            self.credentials.refused();
                        }
                        Err(Lost::Rejoin)
                    }
                    // The status that follows says why.
                    Action::Stop | Action::Unspecified => Ok(()),
                };
            }
            Some(Body::Heartbeat(_)) => {
                let beat = ClientMessage { body: Some(Said::Heartbeat(Heartbeat {})), ..ClientMessage::default() };
                drop(stream.outgoing.try_send(with_ack(beat, self.last_seq, &mut self.acked)));
                None
            }
            None | Some(Body::Welcome(_) | Body::Resumed(_) | Body::Undelivered(_)) => None,
        };
        if let Some(event) = event
            && self.events.send(event).await.is_err()
        {
            return Err(Lost::Done);
        }
        if seq != 0 {
            self.last_seq = seq;
            if seq >= self.acked + ACK_EVERY {
                // When the connection has no room, a later one will do.
                let ack = with_ack(ClientMessage::default(), self.last_seq, &mut self.acked);
                drop(stream.outgoing.try_send(ack));
            }
        }
        Ok(())
    }
}

/// Tells the server along with a message what was processed.
fn with_ack(mut message: ClientMessage, last_seq: u64, acked: &mut u64) -> ClientMessage {
    message.ack = last_seq;
    *acked = last_seq;
    message
}

/// Whether another token may help.
fn is_token_refused(error: &Error) -> bool {
    [TOKEN_EXPIRED, TOKEN_INVALID].contains(&error.reason())
}

/// What to do after a stream ended with this error.
fn after(error: Error) -> Lost {
    use signalbox_proto::reason::{DRAINING, FENCED, HEARTBEAT_TIMEOUT, SEQ_GAP, SESSION_GONE, SLOW_CONSUMER};
    match error.reason() {
        // No reason: the connection was lost. Fenced: only this client has the token, so it was an attempt to resume of
        // its own that it had given up and that arrived late.
        DRAINING | FENCED | HEARTBEAT_TIMEOUT | SEQ_GAP | "" => Lost::Resume(None),
        SESSION_GONE | SLOW_CONSUMER | TOKEN_EXPIRED => Lost::Rejoin,
        _ => Lost::Ended(error),
    }
}
