//! Core logic of a room, independent of transport, store and clock: time and random bits are arguments.
//!
//! Joining, leaving and every signal append one entry to the room's log; a member's stream is the log, filtered to what
//! is addressed to it, from its cursor on. Check and change, snapshot and subscribe happen under the one lock that the
//! owner of a `Room` holds around each call, so a roster and the entries after it have no gap and no overlap.
//!
//! A call never waits. Streams that have something to do afterwards are collected as wakers, which the owner wakes
//! after it has let go of the lock.

pub mod count;
pub mod id;
mod log;
mod permit;
mod policy;
pub mod relay;
mod roster;
mod say;
mod session;
mod stream;
mod watch;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use signalbox_proto::v1::{
    LeaveReason, Member, MemberJoined, MemberLeft, MemberState, MemberUpdated, Undelivered, server_message::Body,
};

use self::{
    count::Counts,
    id::{MemberId, Secret},
    log::{About, Cap, Log},
    session::Session,
    watch::Watch,
};
pub use self::{
    permit::Permit,
    policy::Policy,
    session::{Carrier, Frame},
    watch::Seen,
};
use crate::{
    error::Error,
    limit::Limits,
    mutant::{self, Mutant},
};

/// What a mailbox holds for joins, updates and leaves beyond what it holds for signals, so that signals alone cannot
/// push a member out.
const MEMBERSHIP_RESERVE: Cap = Cap { entries: 256, bytes: 256 * 1024 };

/// When to try again what a stopping server refuses; streams are told a time of their own.
pub const RETRY: Duration = Duration::from_secs(1);

/// Somebody about to join.
#[derive(Debug)]
pub struct Newcomer {
    /// Fresh and random.
    pub id: MemberId,
    /// Fresh and random.
    pub secret: Secret,
    /// Identity, display name, attributes and time of joining; the room fills in the rest.
    pub member: Member,
    /// The hash that its passcode was found to fit.
    pub proven: Option<Arc<str>>,
    /// What the session may do, and until when.
    pub permit: Permit,
}

/// A session that was opened or resumed, seen from its new stream.
#[derive(Debug)]
pub struct Opened {
    /// The stream's generation; its later calls name it.
    pub generation: u64,
    /// Where the session's reading begins.
    pub seq: u64,
    /// Highest client message that was handled.
    pub ack: u64,
    /// Entries that will be replayed.
    pub replayed: u64,
    /// The member itself.
    pub you: Member,
    /// The others, in join order.
    pub members: Vec<Member>,
}

/// By which way a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The stream of this generation.
    Stream(u64),
    /// A unary call.
    Unary,
}

/// What became of a message.
#[derive(Debug, Default)]
pub struct Handled {
    /// Who did not get it, and why.
    pub undelivered: Vec<Undelivered>,
    /// Highest client message of the session that was handled.
    pub ack: u64,
    /// It was a leave: the session is over.
    pub left: bool,
}

/// What a stream does next.
#[derive(Debug)]
pub enum Next {
    /// Send this.
    Frame(Frame),
    /// Wait to be woken, until then at the latest.
    Wait(Instant),
    /// End.
    End(End),
}

/// Why a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client said leave.
    Left,
    /// Anything else.
    Fault(Error),
}

/// Whether the room takes part in anything any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Streams read what waits for them and end; nothing is accepted.
    Draining,
    /// Empty and given up: a newcomer needs a new one.
    Retired,
}

/// The end of a stream, and what comes before it.
struct Ended {
    farewell: VecDeque<Frame>,
    end: End,
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        Self { farewell: VecDeque::new(), end }
    }
}

/// A room's live state.
pub struct Room {
    policy: Policy,
    limits: Limits,
    phase: Phase,
    log: Log,
    counts: Counts,
    sessions: BTreeMap<MemberId, Session>,
    /// Why a session's or stream's end came, until its stream has asked or is gone.
    ended: BTreeMap<(MemberId, u64), Ended>,
    watches: BTreeMap<u64, Watch>,
    watches_begun: u64,
    wakes: Vec<Waker>,
}

impl Room {
    /// An empty room.
    pub fn new(policy: Policy, limits: Limits) -> Self {
        Self {
            policy,
            limits,
            phase: Phase::Open,
            log: Log::default(),
            counts: Counts::default(),
            sessions: BTreeMap::new(),
            ended: BTreeMap::new(),
            watches: BTreeMap::new(),
            watches_begun: 0,
            wakes: Vec::new(),
        }
    }

    // === sessions begin and end ===

    /// Opens a session. The others see it join.
    pub fn join(&mut self, now: Instant, newcomer: Newcomer, carrier: Carrier) -> Result<Opened, Error> {
        self.check_open()?;
        if let Some(replaced) = self.admit(now, &newcomer)? {
            self.end(now, replaced, LeaveReason::Replaced, End::Fault(Error::Replaced));
        }

        let Newcomer { id, secret, mut member, permit, .. } = newcomer;
        self.counts.opened += 1;
        member.member_id = id.to_string();
        member.join_order = self.counts.opened;
        member.state = MemberState::Connected.into();
        self.announce(now, About::Joined(id), Body::MemberJoined(MemberJoined { member: Some(member.clone()) }));
        let opened = Opened {
            generation: 1,
            seq: self.log.head(),
            ack: 0,
            replayed: 0,
            members: self.others(id),
            you: member.clone(),
        };
        self.sessions.insert(id, Session::new(now, member, secret, permit, carrier));
        Ok(opened)
    }

    /// Continues a session on a new stream, reading on after `after_seq`. A stream that still carries it is fenced.
    pub fn resume(
        &mut self,
        now: Instant,
        id: MemberId,
        secret: &Secret,
        after_seq: u64,
        carrier: Carrier,
    ) -> Result<Opened, Error> {
        self.check_open()?;
        let head = self.log.head();
        let session = self.session(id, secret)?;
        if after_seq > head {
            return Err(Error::invalid("resume.after_seq", format!("the room's log has not got beyond {head}")));
        }
        let was_connected = session.is_connected();
        let old_stream = session.take_waker();
        let Ok(replayed) = session.resume(now, carrier, after_seq) else {
            self.wakes.extend(old_stream);
            // It cannot be made whole, so it is over, and the others are told now rather than after the window.
            self.end(now, id, LeaveReason::TimedOut, End::Fault(Error::SessionGone));
            return Err(Error::SessionGone);
        };
        let (generation, ack, you) = (session.generation, session.handled(), session.member.clone());
        let mut replayed = replayed as u64;
        let waiting = session.waiting();
        self.counts.resumed += 1;
        self.counts.waits(waiting);
        self.wakes.extend(old_stream);
        if !was_connected {
            self.announce(now, About::Updated(id), Body::MemberUpdated(MemberUpdated { member: Some(you.clone()) }));
        }
        // The snapshot is the room as it is now: the announcement may have ended members that were too slow for it.
        let head = self.log.head();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.mark_known(head);
            replayed = session.waiting().0 as u64;
        }
        Ok(Opened { generation, seq: after_seq, ack, replayed, you, members: self.others(id) })
    }

    /// Gives up a session whose welcome never left: nobody can resume it.
    pub fn abandon(&mut self, now: Instant, id: MemberId) {
        self.end(now, id, LeaveReason::Left, End::Left);
        self.ended.remove(&(id, 1));
    }

    /// Removes a member: no grace, its token is worth nothing any more.
    pub fn remove(&mut self, now: Instant, id: MemberId) -> Result<(), Error> {
        if !self.sessions.contains_key(&id) {
            return Err(Error::NoSuchMember);
        }
        self.end(now, id, LeaveReason::Removed, End::Fault(Error::Removed));
        Ok(())
    }

    /// Removes every member of that identity.
    pub fn remove_identity(&mut self, now: Instant, identity: &str) {
        let same = self.sessions.iter().filter(|(_, session)| session.member.identity == identity);
        for id in same.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(now, id, LeaveReason::Removed, End::Fault(Error::Removed));
        }
    }

    /// Ends every session and every watch at once: the room is closed for good.
    pub fn close(&mut self, now: Instant) {
        for (id, mut session) in std::mem::take(&mut self.sessions) {
            self.counts.ended[LeaveReason::RoomClosed as usize] += 1;
            self.wakes.extend(session.take_waker());
            if session.is_connected() {
                self.ended.insert((id, session.generation), End::Fault(Error::RoomClosed).into());
            }
            let reason = LeaveReason::RoomClosed.into();
            self.tell_news(now, 0, Body::MemberLeft(MemberLeft { member_id: id.to_string(), reason }));
        }
        self.close_watches();
    }

    /// Lets every stream read what waits for it and end. Nothing is accepted any more.
    pub fn drain(&mut self) {
        self.phase = Phase::Draining;
        for session in self.sessions.values_mut() {
            self.wakes.extend(session.take_waker());
        }
        self.wake_watches();
    }

    /// Gives the room up if nobody is in it or watches it; a newcomer then finds it retired.
    pub fn retire_if_empty(&mut self) -> bool {
        if self.sessions.is_empty() && !self.is_watched() && self.phase == Phase::Open {
            self.phase = Phase::Retired;
        }
        self.is_retired()
    }

    /// Whether the room was given up.
    pub fn is_retired(&self) -> bool {
        self.phase == Phase::Retired
    }

    /// Ends a session and tells the others.
    fn end(&mut self, now: Instant, id: MemberId, reason: LeaveReason, end: End) {
        let mut leaving = vec![(id, reason, end)];
        // A member for whom even the news of a leave no longer fits leaves too.
        while let Some((id, reason, end)) = leaving.pop() {
            let Some(mut session) = self.sessions.remove(&id) else { continue };
            self.counts.ended[reason as usize] += 1;
            self.wakes.extend(session.take_waker());
            self.sessions.values_mut().for_each(|other| _ = other.met.remove(&id));
            if session.is_connected() {
                // Whoever says goodbye has everything answered; other ends cut in at once.
                let farewell = if end == End::Left { session.farewell() } else { VecDeque::new() };
                self.ended.insert((id, session.generation), Ended { farewell, end });
            }
            if mutant::is(Mutant::SilentEnd) && reason == LeaveReason::TimedOut {
                continue;
            }
            let news = Body::MemberLeft(MemberLeft { member_id: id.to_string(), reason: reason.into() });
            leaving.extend(
                self.append_for_others(now, About::Left(id), news)
                    .into_iter()
                    .map(|slow| (slow, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer))),
            );
        }
    }

    /// Tells the others what happened to a member.
    fn announce(&mut self, now: Instant, about: About, news: Body) {
        for slow in self.append_for_others(now, about, news) {
            self.end(now, slow, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer));
        }
    }

    /// Appends an entry addressed to all but the member it is about; says for whom it no longer fits.
    fn append_for_others(&mut self, now: Instant, about: About, news: Body) -> Vec<MemberId> {
        let (About::Joined(id) | About::Updated(id) | About::Left(id) | About::SignalOf(id)) = about;
        let told = (!self.watches.is_empty()).then(|| news.clone());
        let entry = self.log.draft(about, 0, news);
        self.log.commit(&entry);
        if let Some(news) = told {
            self.tell_news(now, entry.seq, news);
        }
        let cap = Cap {
            entries: self.limits.mailbox_entries + MEMBERSHIP_RESERVE.entries,
            bytes: self.limits.mailbox_bytes + MEMBERSHIP_RESERVE.bytes,
        };
        let mut slow = Vec::new();
        for (other, session) in &mut self.sessions {
            if *other == id {
                continue;
            }
            match session.push(now, entry.clone(), cap) {
                Ok(()) => {
                    self.counts.waits(session.waiting());
                    self.wakes.extend(session.take_waker());
                }
                Err(log::Full) => slow.push(*other),
            }
        }
        slow
    }

    fn check_open(&self) -> Result<(), Error> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Draining => Err(Error::Draining(RETRY)),
            Phase::Retired => Err(Error::SessionGone),
        }
    }

    /// The session of that id, for whoever knows its secret.
    fn session(&mut self, id: MemberId, secret: &Secret) -> Result<&mut Session, Error> {
        self.sessions.get_mut(&id).filter(|session| session.secret.matches(secret)).ok_or(Error::SessionGone)
    }

    /// Checks that a session is there and that the caller owns it.
    pub fn authenticate(&mut self, id: MemberId, secret: &Secret) -> Result<(), Error> {
        self.session(id, secret).map(drop)
    }

    /// The streams that have something to do; to be woken without the lock.
    pub fn take_wakes(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakes)
    }
}

/// Whether attributes or labels are within their limits: bytes of keys and values together, and entries.
pub fn map_fits(map: &HashMap<String, String>, limits: &Limits) -> bool {
    let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    bytes <= limits.attributes_bytes && map.len() <= limits.attributes
}
