//! The application's view of a session: an ordered stream of events, and a sender with an outcome per signal.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::RwLock;
use signalbox_proto::v1::{
    ClientMessage, ConnectionReport, Data, IceCandidate, IceServers, Member, MemberLeft, MemberUpdate,
    SessionDescription, Undelivered, Welcome, client_message::Body,
};
use tokio::sync::{mpsc, oneshot};

use crate::Error;

/// A session event. Events arrive in the room's order.
#[derive(Debug, Clone)]
pub enum Event {
    /// A member joined. Send it an offer.
    MemberJoined(Member),
    /// The state, name or attributes of a member changed. Keep the media of a suspended member.
    MemberUpdated(Member),
    /// The session of a member ended.
    MemberLeft(MemberLeft),
    /// A member sent a signal.
    Signal(Received),
    /// The server sent new ICE servers.
    IceServers(IceServers),
    /// The connection is lost, and the client is resuming the session. Keep the media.
    Suspended,
    /// The client resumed the session, and nothing was lost. Holds the current state of the other members.
    Resumed(Vec<Member>),
    /// The session could not be resumed, so the client joined again. Holds the `Welcome` of the new session.
    /// Renegotiate all peer connections.
    Rejoined(Box<Welcome>),
    /// The session ended, and the client does not reconnect. This is the last event.
    Ended(Error),
}

/// A signal from another member.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The sender's `member_id`, which the server sets.
    pub from: String,
    /// The `negotiation` that the sender set.
    pub negotiation: u64,
    /// The payload: offer, answer, candidate or data.
    pub body: Body,
}

/// The outcome of a sent signal.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The server accepted the signal into the mailbox of every addressee.
    Accepted,
    /// The server did not deliver the signal to at least one addressee. Each report names the receiver and the reason.
    Undelivered(Vec<Undelivered>),
    /// The session ended before the server reported an outcome.
    Unknown,
}

/// A signal, update or report to send.
#[derive(Debug, Clone)]
pub struct Signal(ClientMessage);

impl Signal {
    /// Creates an SDP offer to a member.
    pub fn offer(to: impl Into<String>, sdp: impl Into<String>) -> Self {
        Self::new(to.into(), Body::Offer(SessionDescription { sdp: sdp.into() }))
    }

    /// Creates an SDP answer to a member.
    pub fn answer(to: impl Into<String>, sdp: impl Into<String>) -> Self {
        Self::new(to.into(), Body::Answer(SessionDescription { sdp: sdp.into() }))
    }

    /// Creates a signal with an ICE candidate for a member.
    pub fn candidate(to: impl Into<String>, candidate: IceCandidate) -> Self {
        Self::new(to.into(), Body::Candidate(candidate))
    }

    /// Creates application data for a member, or for all other members if `to` is empty.
    pub fn data(to: impl Into<String>, data: Data) -> Self {
        Self::new(to.into(), Body::Data(data))
    }

    /// Creates an update of this member's name or attributes.
    pub fn update(update: MemberUpdate) -> Self {
        Self::new(String::new(), Body::Update(update))
    }

    /// Creates a report on the state of a peer connection.
    pub fn report(report: ConnectionReport) -> Self {
        Self::new(String::new(), Body::Report(report))
    }

    /// Sets the negotiation number, which links the offer, answer and candidates of one ICE session.
    #[must_use]
    pub fn with_negotiation(mut self, negotiation: u64) -> Self {
        self.0.negotiation = negotiation;
        self
    }

    fn new(to: String, body: Body) -> Self {
        Self(ClientMessage { to, body: Some(body), ..ClientMessage::default() })
    }
}

/// A command from the application to the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Send { message: Box<ClientMessage>, epoch: u64, outcome: oneshot::Sender<Outcome> },
    Leave(oneshot::Sender<()>),
}

/// The pending outcome of a sent signal. Dropping it does not cancel the signal.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Outcome>);

impl Receipt {
    /// Waits for the outcome, even across reconnects.
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Outcome::Unknown)
    }
}

/// Sends signals in a session. Clone it to send from several tasks.
#[derive(Debug, Clone)]
pub struct Sender {
    pub(crate) commands: mpsc::Sender<Command>,
    /// Number of [`Event::Rejoined`] events that the application received. Signals carry it to identify their session.
    pub(crate) epoch: Arc<AtomicU64>,
}

impl Sender {
    /// Sends a signal, in order with earlier ones. Waits while the maximum number of unacknowledged messages is in
    /// flight.
    ///
    /// If the session ends first, the client does not resend the signal in the next session, and the outcome is
    /// [`Outcome::Unknown`].
    pub async fn send(&self, signal: Signal) -> Receipt {
        let (outcome, receipt) = oneshot::channel();
        let epoch = self.epoch.load(Ordering::Acquire);
        // If the session has ended, `send` fails and drops the command, which makes the outcome unknown.
        drop(self.commands.send(Command::Send { message: Box::new(signal.0), epoch, outcome }).await);
        Receipt(receipt)
    }
}

/// An open session.
///
/// Dropping it closes the connection without leaving the room: other members see this member suspended, then timed out.
/// While a [`Sender`] of the session exists, the connection closes only at the next event. Use [`Session::leave`] to
/// leave immediately.
#[derive(Debug)]
pub struct Session {
    pub(crate) sender: Sender,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) welcome: Arc<RwLock<Arc<Welcome>>>,
}

impl Session {
    /// Returns the `Welcome` of the current session: this member, the other members at the time of the join, ICE
    /// servers and limits. A rejoin replaces it.
    pub fn welcome(&self) -> Arc<Welcome> {
        self.welcome.read().clone()
    }

    /// Returns this member's id.
    pub fn member_id(&self) -> String {
        self.welcome().you.as_ref().map(|you| you.member_id.clone()).unwrap_or_default()
    }

    /// Waits for the next event. Returns `None` after the session has ended.
    ///
    /// Call it continuously: if the application does not read events, sent signals wait and the server ends the session
    /// with `SLOW_CONSUMER`.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        if let Some(Event::Rejoined(_)) = event {
            self.sender.epoch.fetch_add(1, Ordering::AcqRel);
        }
        event
    }

    /// Sends a signal; see [`Sender::send`].
    pub async fn send(&self, signal: Signal) -> Receipt {
        self.sender.send(signal).await
    }

    /// Returns a sender for other tasks.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// Leaves the room. Other members receive `member_left` immediately.
    ///
    /// While the connection is lost, this waits for a reconnect without a deadline.
    pub async fn leave(mut self) {
        let (done, left) = oneshot::channel();
        if self.sender.commands.send(Command::Leave(done)).await.is_ok() {
            // Drain the events, because the driver may be blocked on a full event queue.
            let drain = async { while self.events.recv().await.is_some() {} };
            tokio::select! {
                _ = left => {}
                () = drain => {}
            }
        }
    }
}
