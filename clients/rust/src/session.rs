//! A session as the application sees it: events come, signals go, each with its outcome.

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicU64, Ordering},
};

use signalbox_proto::v1::{
    ClientMessage, ConnectionReport, Data, IceCandidate, IceServers, Member, MemberLeft, MemberUpdate,
    SessionDescription, Undelivered, Welcome, client_message::Body,
};
use tokio::sync::{mpsc, oneshot};

use crate::Error;

/// Something that happened in the session, in the order of the room's log.
#[derive(Debug, Clone)]
pub enum Event {
    /// Somebody joined: make the offer.
    MemberJoined(Member),
    /// Somebody's state, name or attributes changed. Keep the media of a suspended member.
    MemberUpdated(Member),
    /// Somebody's session ended.
    MemberLeft(MemberLeft),
    /// Somebody sent a signal.
    Signal(Received),
    /// Fresh ICE servers.
    IceServers(IceServers),
    /// The connection is lost; the client is resuming the session. Keep the media.
    Suspended,
    /// The session goes on; nothing was lost. The others, as they are now.
    Resumed(Vec<Member>),
    /// The session could not be resumed, so the client joined again. This is its new session: renegotiate.
    Rejoined(Box<Welcome>),
    /// The session ended for good; no event follows.
    Ended(Error),
}

/// A signal that somebody sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The sender's `member_id`, stamped by the server.
    pub from: String,
    /// As the sender gave it.
    pub negotiation: u64,
    /// What was sent: offer, answer, candidate or data.
    pub body: Body,
}

/// What became of something that was said.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is in the room's log, addressed to a live session.
    Accepted,
    /// It was not delivered: to whom, and why.
    Undelivered(Vec<Undelivered>),
    /// The session ended before the server said what became of it.
    Unknown,
}

/// Something to say.
#[derive(Debug, Clone)]
pub struct Signal(ClientMessage);

impl Signal {
    /// An SDP offer for a member.
    pub fn offer(to: impl Into<String>, sdp: impl Into<String>) -> Self {
        Self::new(to.into(), Body::Offer(SessionDescription { sdp: sdp.into() }))
    }

    /// An SDP answer for a member.
    pub fn answer(to: impl Into<String>, sdp: impl Into<String>) -> Self {
        Self::new(to.into(), Body::Answer(SessionDescription { sdp: sdp.into() }))
    }

    /// An ICE candidate for a member.
    pub fn candidate(to: impl Into<String>, candidate: IceCandidate) -> Self {
        Self::new(to.into(), Body::Candidate(candidate))
    }

    /// Application data for a member; for all others when `to` is empty.
    pub fn data(to: impl Into<String>, data: Data) -> Self {
        Self::new(to.into(), Body::Data(data))
    }

    /// A change of this member's name or attributes.
    pub fn update(update: MemberUpdate) -> Self {
        Self::new(String::new(), Body::Update(update))
    }

    /// What a peer connection came to.
    pub fn report(report: ConnectionReport) -> Self {
        Self::new(String::new(), Body::Report(report))
    }

    /// Ties offer, answer and candidates of one ICE session together.
    #[must_use]
    pub fn with_negotiation(mut self, negotiation: u64) -> Self {
        self.0.negotiation = negotiation;
        self
    }

    fn new(to: String, body: Body) -> Self {
        Self(ClientMessage { to, body: Some(body), ..ClientMessage::default() })
    }
}

/// What the application says to the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Say { message: Box<ClientMessage>, session: u64, outcome: oneshot::Sender<Outcome> },
    Leave(oneshot::Sender<()>),
}

/// A promise of an outcome. Dropping it loses nothing but the outcome.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Outcome>);

impl Receipt {
    /// Waits for the outcome, across lost connections if need be.
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Outcome::Unknown)
    }
}

/// Says things in a session; can be cloned and moved to other tasks.
#[derive(Debug, Clone)]
pub struct Sender {
    pub(crate) commands: mpsc::Sender<Command>,
    /// Which session the application believes to be in: how many times it was told that one is gone.
    pub(crate) session: Arc<AtomicU64>,
}

impl Sender {
    /// Says something. Waits while as many messages are in flight as the server allows; what is said meanwhile keeps its
    /// order. What was meant for a session that is gone by then is not sent in the next: its outcome is unknown.
    pub async fn send(&self, signal: Signal) -> Receipt {
        let (outcome, receipt) = oneshot::channel();
        // When the session has ended, the command and with it the outcome are dropped: unknown.
        let session = self.session.load(Ordering::Acquire);
        drop(self.commands.send(Command::Say { message: Box::new(signal.0), session, outcome }).await);
        Receipt(receipt)
    }
}

/// An open session. Dropping it drops the connection without a word, so the others see it suspended, then timed out;
/// `leave` says goodbye.
#[derive(Debug)]
pub struct Session {
    pub(crate) sender: Sender,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) welcome: Arc<RwLock<Arc<Welcome>>>,
}

impl Session {
    /// What the server said when the session was opened: who this is, who else is there, ICE servers, limits. After
    /// [`Event::Rejoined`] it is the new session's.
    pub fn welcome(&self) -> Arc<Welcome> {
        self.welcome.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// This member's id.
    pub fn member_id(&self) -> String {
        self.welcome().you.as_ref().map(|you| you.member_id.clone()).unwrap_or_default()
    }

    /// The next event; `None` after the session has ended. Keep calling it: a client that does not read is ended by the
    /// server (SLOW_CONSUMER), and what it sends waits.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        if let Some(Event::Rejoined(_)) = event {
            self.sender.session.fetch_add(1, Ordering::AcqRel);
        }
        event
    }

    /// Says something; see [`Sender::send`].
    pub async fn send(&self, signal: Signal) -> Receipt {
        self.sender.send(signal).await
    }

    /// A sender for other tasks.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Leaves the room: the others see it at once.
    pub async fn leave(mut self) {
        let (done, left) = oneshot::channel();
        if self.sender.commands.send(Command::Leave(done)).await.is_ok() {
            // Events are read meanwhile: the driver may be about to hand one over.
            let drain = async { while self.events.recv().await.is_some() {} };
            tokio::select! {
                _ = left => {}
                () = drain => {}
            }
        }
    }
}
