//! What members of both kinds share: what they are told to do, what they say, and the book that they keep of a session.

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
    history::{Outcome, What},
    notes::Notes,
};

/// How often a member says something.
pub const TICK: Duration = Duration::from_millis(40);
/// Signals that one member has on their way at most.
pub const IN_FLIGHT: usize = 60;
/// One signal out of so many goes to all others.
const TO_ALL: u32 = 40;
/// Stands for all others in a payload.
const ALL: &str = "*";
/// How soon somebody who left or was killed is back.
const PAUSE_MS: std::ops::Range<u64> = 50..1500;

/// What the nemesis tells a member to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Leave, and join again as somebody new.
    Leave,
    /// Vanish without a word, and join again as somebody new.
    Kill,
    /// Say this many things of this many bytes at once to this member.
    Burst(usize, String, usize),
    /// Hear nothing for this time, and go on otherwise.
    Deaf(Duration),
    /// Give up all connections and take new ones, as after a change of networks. Pages only.
    Switch,
}

/// How far the run is, for its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Talk.
    Load,
    /// Listen.
    Quiet,
    /// Note the roster and stop.
    Finish,
}

/// A member's place in the run, over all its sessions.
pub struct Place {
    /// Number of the run.
    pub run: u64,
    /// Number of the client.
    pub client: u32,
    /// Its room.
    pub room: String,
    /// Where it connects to.
    pub addr: SocketAddr,
    /// Signals a tick, averaged.
    pub pace: f64,
    /// Whom it says that it is; a new session is somebody else.
    pub identity: String,
    /// Its random numbers.
    pub rng: StdRng,
    /// Where it notes.
    pub notes: Notes,
    /// What it is told.
    pub orders: mpsc::Receiver<Order>,
    /// How far the run is.
    pub phase: watch::Receiver<Phase>,
    /// Whether it has a session and a stream.
    pub connected: Arc<AtomicBool>,
    /// Its present or last session.
    pub seat: watch::Sender<Seat>,
}

/// Who somebody is.
#[derive(Debug, Clone, Default)]
pub struct Seat {
    /// The session.
    pub session: String,
    /// Whom it says that it is.
    pub identity: String,
}

/// How a session went on.
pub enum Next {
    /// Join again.
    Again,
    /// The run is over.
    Stop,
}

impl Place {
    /// How it joins.
    pub fn join(&self) -> Join {
        Join {
            room: self.room.clone(),
            identity: self.identity.clone(),
            display_name: format!("client {}", self.client),
            ..Join::default()
        }
    }

    /// Becomes somebody else: the session that was is not to be replaced by the next.
    pub fn renew(&mut self) {
        self.identity = format!("client-{}-{:x}", self.client, self.rng.random::<u64>());
    }

    /// A random wait before joining again.
    pub fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(PAUSE_MS))
    }

    /// How many signals to send in this tick, and whether all of them to one.
    pub fn share(&mut self) -> usize {
        let whole = self.pace.floor();
        let more = self.rng.random_bool(self.pace - whole);
        // Small: fits.
        whole as usize + usize::from(more)
    }

    /// Whether the run wants load.
    pub fn talks(&self) -> bool {
        *self.phase.borrow() == Phase::Load
    }

    /// Says whether it has a session and a stream.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }
}

/// What a member knows of its session; what it learns is noted.
pub struct Book {
    notes: Notes,
    run: u64,
    session: String,
    /// The others.
    roster: BTreeSet<String>,
    /// Signals that it has sent.
    said: u64,
}

/// A signal that was noted as sent.
pub struct Said {
    /// To whom; empty: to all others.
    pub to: String,
    /// Which.
    pub number: u64,
    /// The content.
    pub body: Body,
}

impl Book {
    /// A session was opened; a page's or not.
    pub fn open(place: &Place, welcome: &Welcome, page: bool) -> Self {
        let session = welcome.you.as_ref().map(|you| you.member_id.clone()).unwrap_or_default();
        let roster = ids(&welcome.members);
        place.seat.send_replace(Seat { session: session.clone(), identity: place.identity.clone() });
        place.notes.note(What::Opened {
            session: session.clone(),
            room: place.room.clone(),
            roster: roster.iter().cloned().collect(),
            page,
        });
        Self { notes: place.notes.clone(), run: place.run, session, roster, said: 0 }
    }

    /// Somebody at random, or now and then all, if there is anybody.
    pub fn anybody(&self, rng: &mut StdRng) -> Option<String> {
        let index = (!self.roster.is_empty()).then(|| rng.random_range(0..self.roster.len()))?;
        if rng.random_ratio(1, TO_ALL) { Some(String::new()) } else { self.roster.iter().nth(index).cloned() }
    }

    /// Whether it is one of the others.
    pub fn knows(&self, member: &str) -> bool {
        self.roster.contains(member)
    }

    /// Notes that a signal of at least `size` bytes to `to`, empty: to all others, is about to leave, and makes it.
    pub fn say(&mut self, to: &str, size: usize, rng: &mut StdRng) -> Said {
        self.said += 1;
        let number = self.said;
        // Now and then a large one, to fill buffers.
        let more = if rng.random_ratio(1, 200) { rng.random_range(1000..3000) } else { rng.random_range(0..100) };
        let (padding, whom) = (size + more, if to.is_empty() { ALL } else { to });
        let text = format!("{:x}|{}|{whom}|{number}|{:x<padding$}", self.run, self.session, "");
        let hash = hash(text.as_bytes());
        self.notes.note(What::Sent { session: self.session.clone(), to: to.to_owned(), number, hash });
        let body = match rng.random_range(0..10) {
            _ if to.is_empty() => Body::Data(Data { text, ..Data::default() }),
            // Larger ones of other kinds are refused.
            _ if size > 1000 => Body::Offer(SessionDescription { sdp: text }),
            0 => Body::Offer(SessionDescription { sdp: text }),
            1 => Body::Answer(SessionDescription { sdp: text }),
            2..=5 => Body::Data(Data { payload: text.into_bytes().into(), ..Data::default() }),
            _ => Body::Candidate(IceCandidate { candidate: text, ..IceCandidate::default() }),
        };
        Said { to: to.to_owned(), number, body }
    }

    /// The server answered a signal, with those who did not get it.
    pub fn answered(&self, to: String, number: u64, refused: Vec<Undelivered>) {
        let (of_it, of_some): (Vec<_>, Vec<_>) = refused.into_iter().partition(|report| report.to == to);
        for report in of_some {
            self.settled(report.to, number, Outcome::Undelivered(report.reason));
        }
        let reason = of_it.into_iter().map(|report| report.reason).next();
        self.settled(to, number, reason.map_or(Outcome::Accepted, Outcome::Undelivered));
    }

    /// What became of a signal.
    pub fn settled(&self, to: String, number: u64, outcome: Outcome) {
        self.notes.note(What::Settled { session: self.session.clone(), to, number, outcome });
    }

    /// A signal came.
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
        // One for another session or of another run has no number here: never sent.
        let mine = (to == self.session || to == ALL) && run == format!("{:x}", self.run);
        let number = if mine { number.parse().unwrap_or(0) } else { 0 };
        self.notes.note(What::Delivered {
            session: self.session.clone(),
            from,
            claimed: claimed.to_owned(),
            number,
            hash: hash(content),
        });
    }

    /// Somebody joined.
    pub fn joined(&mut self, member: Member) {
        self.notes.note(What::SawJoin { session: self.session.clone(), member: member.member_id.clone() });
        self.roster.insert(member.member_id);
    }

    /// Somebody's session ended.
    pub fn left(&mut self, member: String, reason: LeaveReason) {
        self.roster.remove(&member);
        let reason = reason.as_str_name().to_owned();
        self.notes.note(What::SawLeave { session: self.session.clone(), member, reason });
    }

    /// The stream is lost, or not listened to.
    pub fn suspended(&self) {
        self.notes.note(What::Suspended { session: self.session.clone() });
    }

    /// It hears again.
    pub fn hears(&self) {
        self.notes.note(What::Resumed { session: self.session.clone() });
    }

    /// The session goes on.
    pub fn resumed(&mut self, members: &[Member]) {
        self.hears();
        self.roster = ids(members);
        let roster = self.roster.iter().cloned().collect();
        self.notes.note(What::SawRoster { session: self.session.clone(), roster });
    }

    /// The session is over.
    pub fn over(&self, reason: &str) {
        self.notes.note(What::Over { session: self.session.clone(), reason: reason.to_owned() });
    }

    /// The roster at the quiet end.
    pub fn finish(&self) {
        let roster = self.roster.iter().cloned().collect();
        self.notes.note(What::Final { session: self.session.clone(), roster });
    }
}

fn ids(members: &[Member]) -> BTreeSet<String> {
    members.iter().map(|member| member.member_id.clone()).collect()
}

/// FNV-1a: the same in every build, unlike the standard library's.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
