//! What native and web members share: commands of the nemesis, signals, and the record of a session.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, rngs::StdRng};
use signalbox_proto::v1::{
    Data, IceCandidate, Join, LeaveReason, Member, SessionDescription, Undelivered, Welcome, client_message::Body,
};
use tokio::sync::{mpsc, watch};

use crate::{
    history::{Event, Outcome},
    recorder::Recorder,
};

/// Time between two bursts of signals of a member.
pub const TICK: Duration = Duration::from_millis(40);
/// Maximum of unsettled signals of a member.
pub const IN_FLIGHT: usize = 60;
/// One signal in this many goes to all others.
const TO_ALL: u32 = 40;
/// Represents all others in a payload.
const ALL: &str = "*";
/// Time until a member rejoins after it left or was killed.
const REJOIN_DELAY_MS: std::ops::Range<u64> = 50..1500;

/// A command of the nemesis to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Leave, and join with another identity.
    Leave,
    /// Drop all connections, and join with another identity.
    Kill,
    /// Send this many signals of this many bytes to this member at once.
    Burst(usize, String, usize),
    /// Do not read for this time.
    StopReading(Duration),
    /// Abandon all connections and open new ones, as after a change of networks. Pages only.
    SwitchNetwork,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Members send signals.
    Load,
    /// Members only receive.
    Quiet,
    /// Members record their roster and stop.
    Finish,
}

/// A participant of a run, over all its sessions.
pub struct Participant {
    /// Number of the run.
    pub run: u64,
    /// Number of the client.
    pub client: u32,
    /// Its room.
    pub room: String,
    /// The address that it connects to.
    pub addr: SocketAddr,
    /// Average number of signals per tick.
    pub pace: f64,
    /// The identity of its session.
    pub identity: String,
    /// Its source of random numbers.
    pub rng: StdRng,
    /// Its recorder.
    pub recorder: Recorder,
    /// Commands of the nemesis.
    pub commands: mpsc::Receiver<Command>,
    /// The phase of the run.
    pub phase: watch::Receiver<Phase>,
    /// Whether it has a session and a stream.
    pub connected: Arc<AtomicBool>,
    /// Its current or last session.
    pub current: watch::Sender<CurrentSession>,
}

/// The current session of a participant.
#[derive(Debug, Clone, Default)]
pub struct CurrentSession {
    /// The session.
    pub session: String,
    /// Its identity.
    pub identity: String,
}

/// What a participant does after a session.
pub enum Next {
    /// Join again.
    Rejoin,
    /// Stop, since the run has ended.
    Stop,
}

impl Participant {
    /// The join of its next session.
    pub fn join(&self) -> Join {
        Join {
            room: self.room.clone(),
            identity: self.identity.clone(),
            display_name: format!("client {}", self.client),
            ..Join::default()
        }
    }

    /// Changes the identity, so that the next session does not replace the last one.
    pub fn change_identity(&mut self) {
        self.identity = format!("client-{}-{:x}", self.client, self.rng.random::<u64>());
    }

    /// A random delay before it joins again.
    pub fn rejoin_delay(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(REJOIN_DELAY_MS))
    }

    /// The number of signals to send in this tick.
    pub fn signals_in_tick(&mut self) -> usize {
        let whole = self.pace.floor();
        let more = self.rng.random_bool(self.pace - whole);
        whole as usize + usize::from(more)
    }

    /// Whether members send signals in this phase.
    pub fn is_under_load(&self) -> bool {
        *self.phase.borrow() == Phase::Load
    }

    /// Sets whether it has a session and a stream.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }
}

/// What a member knows of its session. All changes are recorded.
pub struct SessionRecorder {
    recorder: Recorder,
    run: u64,
    session: String,
    /// The others.
    roster: BTreeSet<String>,
    /// Number of signals sent.
    sent: u64,
}

/// A signal that was recorded as sent.
pub struct OutgoingSignal {
    /// The addressee; empty: all others.
    pub to: String,
    /// Its number.
    pub number: u64,
    /// The content.
    pub body: Body,
}

impl SessionRecorder {
    /// A session was opened, by a page or a native client.
    pub fn open(participant: &Participant, welcome: &Welcome, page: bool) -> Self {
        let session = welcome.you.as_ref().map(|you| you.member_id.clone()).unwrap_or_default();
        let roster = ids(&welcome.members);
        participant
            .current
            .send_replace(CurrentSession { session: session.clone(), identity: participant.identity.clone() });
        participant.recorder.record(Event::Opened {
            session: session.clone(),
            room: participant.room.clone(),
            roster: roster.iter().cloned().collect(),
            page,
        });
        Self { recorder: participant.recorder.clone(), run: participant.run, session, roster, sent: 0 }
    }

    /// A random addressee, which sometimes is all others. `None`: there are no others.
    pub fn pick_addressee(&self, rng: &mut StdRng) -> Option<String> {
        let index = (!self.roster.is_empty()).then(|| rng.random_range(0..self.roster.len()))?;
        if rng.random_ratio(1, TO_ALL) { Some(String::new()) } else { self.roster.iter().nth(index).cloned() }
    }

    /// Whether it is in the roster.
    pub fn knows(&self, member: &str) -> bool {
        self.roster.contains(member)
    }

    /// Makes a signal of at least `size` bytes to `to`, empty: to all others, and records it as sent.
    pub fn new_signal(&mut self, to: &str, size: usize, rng: &mut StdRng) -> OutgoingSignal {
        self.sent += 1;
        let number = self.sent;
        // Some are large, to fill buffers.
        let more = if rng.random_ratio(1, 200) { rng.random_range(1000..3000) } else { rng.random_range(0..100) };
        let (padding, addressee) = (size + more, if to.is_empty() { ALL } else { to });
        let text = format!("{:x}|{}|{addressee}|{number}|{:x<padding$}", self.run, self.session, "");
        let hash = hash(text.as_bytes());
        self.recorder.record(Event::Sent { session: self.session.clone(), to: to.to_owned(), number, hash });
        let body = match rng.random_range(0..10) {
            _ if to.is_empty() => Body::Data(Data { text, ..Data::default() }),
            // The server refuses large ones of other kinds.
            _ if size > 1000 => Body::Offer(SessionDescription { sdp: text }),
            0 => Body::Offer(SessionDescription { sdp: text }),
            1 => Body::Answer(SessionDescription { sdp: text }),
            2..=5 => Body::Data(Data { payload: text.into_bytes().into(), ..Data::default() }),
            _ => Body::Candidate(IceCandidate { candidate: text, ..IceCandidate::default() }),
        };
        OutgoingSignal { to: to.to_owned(), number, body }
    }

    /// The server settled a signal, with reports of the members that did not get it.
    pub fn acknowledged(&self, to: String, number: u64, refused: Vec<Undelivered>) {
        let (to_addressee, to_members): (Vec<_>, Vec<_>) = refused.into_iter().partition(|report| report.to == to);
        for report in to_members {
            self.settled(report.to, number, Outcome::Undelivered(report.reason));
        }
        let reason = to_addressee.into_iter().map(|report| report.reason).next();
        self.settled(to, number, reason.map_or(Outcome::Accepted, Outcome::Undelivered));
    }

    /// The outcome of a signal.
    pub fn settled(&self, to: String, number: u64, outcome: Outcome) {
        self.recorder.record(Event::Settled { session: self.session.clone(), to, number, outcome });
    }

    /// A signal was received.
    pub fn received(&self, from: String, body: &Body) {
        let content = match body {
            Body::Offer(sdp) | Body::Answer(sdp) => sdp.sdp.as_bytes(),
            Body::Data(data) if data.payload.is_empty() => data.text.as_bytes(),
            Body::Data(data) => &data.payload,
            Body::Candidate(candidate) => candidate.candidate.as_bytes(),
            _ => b"",
        };
        let text = String::from_utf8_lossy(content);
        let mut parts = text.split('|');
        let mut part = || parts.next().unwrap_or_default();
        let (run, claimed, to, number) = (part(), part(), part(), part());
        // A signal to another session or of another run gets number 0, which is never sent.
        let is_mine = (to == self.session || to == ALL) && run == format!("{:x}", self.run);
        let number = if is_mine { number.parse().unwrap_or(0) } else { 0 };
        self.recorder.record(Event::Delivered {
            session: self.session.clone(),
            from,
            claimed: claimed.to_owned(),
            number,
            hash: hash(content),
        });
    }

    /// A member joined.
    pub fn joined(&mut self, member: Member) {
        self.recorder.record(Event::SawJoin { session: self.session.clone(), member: member.member_id.clone() });
        self.roster.insert(member.member_id);
    }

    /// A member left.
    pub fn left(&mut self, member: String, reason: LeaveReason) {
        self.roster.remove(&member);
        let reason = reason.as_str_name().to_owned();
        self.recorder.record(Event::SawLeave { session: self.session.clone(), member, reason });
    }

    /// The stream is lost, or not read.
    pub fn suspended(&self) {
        self.recorder.record(Event::Suspended { session: self.session.clone() });
    }

    /// The stream is read again.
    pub fn reads_again(&self) {
        self.recorder.record(Event::Resumed { session: self.session.clone() });
    }

    /// The session was resumed.
    pub fn resumed(&mut self, members: &[Member]) {
        self.reads_again();
        self.roster = ids(members);
        let roster = self.roster.iter().cloned().collect();
        self.recorder.record(Event::SawRoster { session: self.session.clone(), roster });
    }

    /// The session ended.
    pub fn over(&self, reason: &str) {
        self.recorder.record(Event::Over { session: self.session.clone(), reason: reason.to_owned() });
    }

    /// Records the roster at the quiet end.
    pub fn finish(&self) {
        let roster = self.roster.iter().cloned().collect();
        self.recorder.record(Event::Final { session: self.session.clone(), roster });
    }
}

fn ids(members: &[Member]) -> BTreeSet<String> {
    members.iter().map(|member| member.member_id.clone()).collect()
}

/// FNV-1a: the same in every build, unlike the standard library's.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
