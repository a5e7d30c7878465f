//! A room: its sessions, and how they open, resume and end.
//!
//! Every event (join, update, leave, signal) gets the next sequence number. The room encodes it once and adds it to the
//! mailbox of each addressee.
//!
//! One lock guards the room, so taking a snapshot and subscribing to later entries is atomic. A roster and the entries
//! after it have no gap and no overlap.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::Waker,
    time::Instant,
};

use signalbox_proto::v1::{
    LeaveReason, Member, MemberJoined, MemberLeft, MemberState, MemberUpdated, server_message::Body,
};

use crate::{
    count::Counts,
    error::Error,
    id::{MemberId, Secret},
    limits::Limits,
    mailbox::{Capacity, Full},
    permit::Permit,
    policy::Policy,
    sequencer::{Sequencer, Subject},
    session::{Frame, Session, StreamKind},
    stream::End,
    watch::Watcher,
};

/// Extra mailbox capacity for joins, updates and leaves, so that signals alone cannot end a session.
const MEMBERSHIP_RESERVE: Capacity = Capacity { entries: 256, bytes: 256 * 1024 };

/// A member that is about to join.
#[derive(Debug)]
pub struct Newcomer {
    /// A new random id.
    pub id: MemberId,
    /// A new random secret.
    pub secret: Secret,
    /// Contains identity, display name, attributes and join time. The room sets the other fields.
    pub member: Member,
    /// What the session may do, and until when.
    pub permit: Permit,
}

/// A session as its new stream sees it after a join or resume.
#[derive(Debug)]
pub struct SessionStart {
    /// Generation of the stream, which later calls of the stream must pass.
    pub generation: u64,
    /// Sequence number after which the stream reads.
    pub seq: u64,
    /// Highest client `seq` that the room has handled.
    pub ack: u64,
    /// Number of entries that the stream will replay.
    pub replayed: u64,
    /// The session's own member.
    pub you: Member,
    /// The other members, in join order.
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Streams deliver their waiting entries and end. The room accepts nothing.
    Draining,
    /// The room is empty and no longer used, so a join must create a new one.
    Retired,
}

/// The final frames of a stream, and why it ends.
pub(crate) struct Ended {
    pub(crate) final_frames: VecDeque<Frame>,
    pub(crate) end: End,
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        Self { final_frames: VecDeque::new(), end }
    }
}

/// The live state of a room.
///
/// [`handle`](Self::handle) processes client messages, [`poll`](Self::poll) returns a stream's next frame,
/// [`tick`](Self::tick) runs the timers, and [`watch`](Self::watch) serves operators.
pub struct Room {
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) phase: Phase,
    pub(crate) sequencer: Sequencer,
    pub(crate) counts: Counts,
    pub(crate) sessions: BTreeMap<MemberId, Session>,
    /// Ended streams, by member and generation. An entry stays until its stream has read the reason or is lost.
    pub(crate) ended: BTreeMap<(MemberId, u64), Ended>,
    pub(crate) watchers: BTreeMap<u64, Watcher>,
    pub(crate) watchers_opened: u64,
    /// Wakers that the caller wakes after it releases the lock.
    pub(crate) wakers: Vec<Waker>,
}

impl Room {
    /// Creates an empty room.
    pub fn new(policy: Policy, limits: Limits) -> Self {
        Self {
            policy,
            limits,
            phase: Phase::Open,
            sequencer: Sequencer::default(),
            counts: Counts::default(),
            sessions: BTreeMap::new(),
            ended: BTreeMap::new(),
            watchers: BTreeMap::new(),
            watchers_opened: 0,
            wakers: Vec::new(),
        }
    }

    /// Opens a session and announces the new member. `verified_hash` is the hash that the newcomer's passcode has
    /// matched.
    pub fn join(
        &mut self,
        now: Instant,
        newcomer: Newcomer,
        verified_hash: Option<&Arc<str>>,
        kind: StreamKind,
    ) -> Result<SessionStart, Error> {
        self.check_open()?;
        if let Some(replaced) = self.admit(now, &newcomer.member.identity, verified_hash)? {
            self.end(now, replaced, LeaveReason::Replaced, End::Fault(Error::Replaced));
        }

        let Newcomer { id, secret, mut member, permit } = newcomer;
        self.counts.opened += 1;
        member.member_id = id.to_string();
        member.join_order = self.counts.opened;
        member.state = MemberState::Connected.into();
        self.announce(now, Subject::Joined(id), Body::MemberJoined(MemberJoined { member: Some(member.clone()) }));
        let start = SessionStart {
            generation: 1,
            seq: self.sequencer.head(),
            ack: 0,
            replayed: 0,
            members: self.others(id),
            you: member.clone(),
        };
        self.sessions.insert(id, Session::new(now, member, secret, permit, kind));
        Ok(start)
    }

    /// Resumes a session on a new stream that reads after `after_seq`. The room fences the old stream, if any.
    pub fn resume(
        &mut self,
        now: Instant,
        id: MemberId,
        secret: &Secret,
        after_seq: u64,
        kind: StreamKind,
    ) -> Result<SessionStart, Error> {
        self.check_open()?;
        let head = self.sequencer.head();
        let session = self.session(id, secret)?;
        if after_seq > head {
            return Err(Error::invalid("resume.after_seq", format!("must be at most {head}, the room's newest seq")));
        }
        let was_connected = session.is_connected();
        let old_stream = session.take_waker();
        let resumed = session.resume(now, kind, after_seq);
        self.wakers.extend(old_stream);
        if resumed.is_err() {
            // The replay would be incomplete. End the session now, so that other members need not wait for the resume window.
            self.end(now, id, LeaveReason::TimedOut, End::Fault(Error::SessionGone));
            return Err(Error::SessionGone);
        }
        self.counts.resumed += 1;
        let session = self.session(id, secret)?;
        let (generation, ack, you) = (session.generation, session.outcomes.handled(), session.member.clone());
        let waiting = session.waiting();
        self.counts.record_waiting(waiting);
        let mut replayed = waiting.0;
        if !was_connected {
            self.announce(now, Subject::Updated(id), Body::MemberUpdated(MemberUpdated { member: Some(you.clone()) }));
        }
        // Take the snapshot last, because the announcement may have ended slow members.
        let head = self.sequencer.head();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.mark_known(head);
            replayed = session.waiting().0;
        }
        Ok(SessionStart { generation, seq: after_seq, ack, replayed: replayed as u64, you, members: self.others(id) })
    }

    /// Ends a session whose `Welcome` was never sent, because no client can resume it.
    pub fn abandon(&mut self, now: Instant, id: MemberId) {
        self.end(now, id, LeaveReason::Left, End::Left);
        self.ended.remove(&(id, 1));
    }

    /// Removes a member immediately and invalidates its session token.
    pub fn remove(&mut self, now: Instant, id: MemberId) -> Result<(), Error> {
        if !self.sessions.contains_key(&id) {
            return Err(Error::NoSuchMember);
        }
        self.end(now, id, LeaveReason::Removed, End::Fault(Error::Removed));
        Ok(())
    }

    /// Removes every member with this identity.
    pub fn remove_identity(&mut self, now: Instant, identity: &str) {
        let same = self.sessions.iter().filter(|(_, session)| session.member.identity == identity);
        for id in same.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(now, id, LeaveReason::Removed, End::Fault(Error::Removed));
        }
    }

    /// Ends every session and watch immediately, because the room was deleted or has expired.
    pub fn close(&mut self, now: Instant) {
        for (id, mut session) in std::mem::take(&mut self.sessions) {
            self.counts.add_ended(LeaveReason::RoomClosed);
            self.wakers.extend(session.take_waker());
            if session.is_connected() {
                self.ended.insert((id, session.generation), End::Fault(Error::RoomClosed).into());
            }
            let reason = LeaveReason::RoomClosed.into();
            self.notify_watchers_of_member(now, 0, Body::MemberLeft(MemberLeft { member_id: id.to_string(), reason }));
        }
        self.close_watchers();
    }

    /// Starts draining: every stream delivers its waiting entries and ends. The room accepts nothing more.
    pub fn drain(&mut self) {
        self.phase = Phase::Draining;
        for session in self.sessions.values_mut() {
            self.wakers.extend(session.take_waker());
        }
        self.wake_watchers();
    }

    /// Retires the room if it has no members and no watchers. Returns whether it is retired.
    pub fn retire_if_empty(&mut self) -> bool {
        if self.sessions.is_empty() && !self.is_watched() && self.phase == Phase::Open {
            self.phase = Phase::Retired;
        }
        self.is_retired()
    }

    /// Returns whether the room is retired.
    pub fn is_retired(&self) -> bool {
        self.phase == Phase::Retired
    }

    /// Ends a session and notifies the other members.
    pub(crate) fn end(&mut self, now: Instant, id: MemberId, reason: LeaveReason, end: End) {
        let mut leaving = vec![(id, reason, end)];
        // A member whose mailbox has no space for the leave ends as well, so ends may cascade.
        while let Some((id, reason, end)) = leaving.pop() {
            let Some(mut session) = self.sessions.remove(&id) else { continue };
            self.counts.add_ended(reason);
            self.wakers.extend(session.take_waker());
            self.sessions.values_mut().for_each(|other| _ = other.reported_peers.remove(&id));
            if session.is_connected() {
                // Only `leave` flushes pending outcomes first. All other endings are immediate.
                let final_frames = if end == End::Left { session.final_frames() } else { VecDeque::new() };
                self.ended.insert((id, session.generation), Ended { final_frames, end });
            }
            let left = Body::MemberLeft(MemberLeft { member_id: id.to_string(), reason: reason.into() });
            leaving.extend(
                self.push_to_others(now, Subject::Left(id), left)
                    .into_iter()
                    .map(|slow| (slow, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer))),
            );
        }
    }

    /// Sends an entry about one member to all others. Ends the sessions whose mailbox is full.
    pub(crate) fn announce(&mut self, now: Instant, subject: Subject, body: Body) {
        for slow in self.push_to_others(now, subject, body) {
            self.end(now, slow, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer));
        }
    }

    /// Adds an entry to the mailboxes of all members except its subject. Returns the members whose mailbox is full.
    fn push_to_others(&mut self, now: Instant, subject: Subject, body: Body) -> Vec<MemberId> {
        let (Subject::Joined(id) | Subject::Updated(id) | Subject::Left(id) | Subject::SignalFrom(id)) = subject;
        let watched = (!self.watchers.is_empty()).then(|| body.clone());
        let entry = self.sequencer.draft(subject, 0, body);
        self.sequencer.commit(&entry);
        if let Some(body) = watched {
            self.notify_watchers_of_member(now, entry.seq, body);
        }
        let capacity = Capacity {
            entries: self.limits.mailbox_entries + MEMBERSHIP_RESERVE.entries,
            bytes: self.limits.mailbox_bytes + MEMBERSHIP_RESERVE.bytes,
        };
        let mut slow = Vec::new();
        for (other, session) in &mut self.sessions {
            if *other == id {
                continue;
            }
            match session.push(now, entry.clone(), capacity) {
                Ok(()) => {
                    self.counts.record_waiting(session.waiting());
                    self.wakers.extend(session.take_waker());
                }
                Err(Full) => slow.push(*other),
            }
        }
        slow
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Draining => Err(Error::Draining),
            Phase::Retired => Err(Error::SessionGone),
        }
    }

    /// Returns a session after checking its secret.
    pub(crate) fn session(&mut self, id: MemberId, secret: &Secret) -> Result<&mut Session, Error> {
        self.sessions.get_mut(&id).filter(|session| session.secret.matches(secret)).ok_or(Error::SessionGone)
    }

    /// Checks that the session exists and that the caller knows its secret.
    pub fn authenticate(&mut self, id: MemberId, secret: &Secret) -> Result<(), Error> {
        self.session(id, secret).map(drop)
    }

    /// Takes the wakers of streams with new work. The caller must wake them after it releases the lock.
    pub fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }
}
