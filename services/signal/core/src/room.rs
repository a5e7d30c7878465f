//! A room: its sessions, and how they open, resume and end.
//!
//! Every event (join, update, leave, signal) gets the next sequence number and goes, encoded once, into the mailbox of
//! each addressee. Check and change, snapshot and subscribe happen in one call under the one lock of the room, so a
//! roster and the entries after it have no gap and no overlap.

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

/// Space for joins, updates and leaves on top of the space for signals, so that signals alone cannot end a session.
const MEMBERSHIP_RESERVE: Capacity = Capacity { entries: 256, bytes: 256 * 1024 };

/// A member that is about to join.
#[derive(Debug)]
pub struct Newcomer {
    /// Fresh and random.
    pub id: MemberId,
    /// Fresh and random.
    pub secret: Secret,
    /// Identity, display name, attributes and time of joining; the room fills in the rest.
    pub member: Member,
    /// What the session may do, and until when.
    pub permit: Permit,
}

/// A session that was opened or resumed, from the view of its new stream.
#[derive(Debug)]
pub struct SessionStart {
    /// Generation of the stream; its later calls must pass it.
    pub generation: u64,
    /// The stream reads on after this sequence number.
    pub seq: u64,
    /// Highest client message that was handled.
    pub ack: u64,
    /// Number of entries that will be replayed.
    pub replayed: u64,
    /// The member itself.
    pub you: Member,
    /// The other members, in join order.
    pub members: Vec<Member>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Streams read what waits for them and end; the room accepts nothing.
    Draining,
    /// Empty and no longer in use: a join must create a new room.
    Retired,
}

/// How a stream ends, and the frames before that.
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
/// Sessions open and end here. [`handle`](Self::handle) takes client messages, [`poll`](Self::poll) gives a stream its
/// next frame, [`tick`](Self::tick) lets time pass, [`watch`](Self::watch) serves operators.
pub struct Room {
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) phase: Phase,
    pub(crate) sequencer: Sequencer,
    pub(crate) counts: Counts,
    pub(crate) sessions: BTreeMap<MemberId, Session>,
    /// Why a stream ends, by member and generation. Kept until the stream asks or is lost.
    pub(crate) ended: BTreeMap<(MemberId, u64), Ended>,
    pub(crate) watchers: BTreeMap<u64, Watcher>,
    pub(crate) watchers_opened: u64,
    /// Streams to wake once the lock is released.
    pub(crate) wakers: Vec<Waker>,
}

impl Room {
    /// An empty room.
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

    /// Opens a session. The other members receive `member_joined`. `verified_hash` is the passcode hash that the
    /// newcomer's passcode matches.
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

    /// Continues a session on a new stream that reads on after `after_seq`. The old stream, if any, is fenced.
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
        // The snapshot is taken last: the announcement may have ended members that were too slow for it.
        let head = self.sequencer.head();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.mark_known(head);
            replayed = session.waiting().0;
        }
        Ok(SessionStart { generation, seq: after_seq, ack, replayed: replayed as u64, you, members: self.others(id) })
    }

    /// Ends a session whose `Welcome` never left, so that no client can resume it.
    pub fn abandon(&mut self, now: Instant, id: MemberId) {
        self.end(now, id, LeaveReason::Left, End::Left);
        self.ended.remove(&(id, 1));
    }

    /// Removes a member at once. Its session token becomes invalid.
    pub fn remove(&mut self, now: Instant, id: MemberId) -> Result<(), Error> {
        if !self.sessions.contains_key(&id) {
            return Err(Error::NoSuchMember);
        }
        self.end(now, id, LeaveReason::Removed, End::Fault(Error::Removed));
        Ok(())
    }

    /// Removes every member of an identity.
    pub fn remove_identity(&mut self, now: Instant, identity: &str) {
        let same = self.sessions.iter().filter(|(_, session)| session.member.identity == identity);
        for id in same.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(now, id, LeaveReason::Removed, End::Fault(Error::Removed));
        }
    }

    /// Ends every session and every watch at once, since the room is deleted or has expired.
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

    /// Lets every stream read what waits for it and end. The room accepts nothing from now on.
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

    /// Whether the room is retired.
    pub fn is_retired(&self) -> bool {
        self.phase == Phase::Retired
    }

    /// Ends a session and notifies the others.
    pub(crate) fn end(&mut self, now: Instant, id: MemberId, reason: LeaveReason, end: End) {
        let mut leaving = vec![(id, reason, end)];
        // A member whose mailbox has no space even for a leave is ended too.
        while let Some((id, reason, end)) = leaving.pop() {
            let Some(mut session) = self.sessions.remove(&id) else { continue };
            self.counts.add_ended(reason);
            self.wakers.extend(session.take_waker());
            self.sessions.values_mut().for_each(|other| _ = other.reported_peers.remove(&id));
            if session.is_connected() {
                // After `leave`, pending outcomes are flushed first. All other endings are immediate.
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

    /// Sends all other members an entry about one member. Ends the session of any whose mailbox is full.
    pub(crate) fn announce(&mut self, now: Instant, subject: Subject, body: Body) {
        for slow in self.push_to_others(now, subject, body) {
            self.end(now, slow, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer));
        }
    }

    /// Adds an entry to the mailbox of every member but the one that it is about. Returns the members whose mailbox has
    /// no space for it.
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

    /// The session with that id, if `secret` is its secret.
    pub(crate) fn session(&mut self, id: MemberId, secret: &Secret) -> Result<&mut Session, Error> {
        self.sessions.get_mut(&id).filter(|session| session.secret.matches(secret)).ok_or(Error::SessionGone)
    }

    /// Checks that a session exists and that the caller knows its secret.
    pub fn authenticate(&mut self, id: MemberId, secret: &Secret) -> Result<(), Error> {
        self.session(id, secret).map(drop)
    }

    /// The wakers of streams that have something to do. Wake them after releasing the lock.
    pub fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }
}
