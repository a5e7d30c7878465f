//! The room under test and its model. The test applies every operation to both and compares them.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Waker,
    time::{Duration, Instant},
};

use signalbox_core::{
    End, Error, Limits, Newcomer, Next, Permit, Policy, Room, StreamKind, WatchNext,
    count::{Counts, UNDELIVERED_REASONS},
    id::{MemberId, Secret},
};
use signalbox_proto::v1::{DuplicateIdentity, LeaveReason, Member, MemberState};

use crate::{
    client::Roster,
    model::{Entry, Session, roster},
    policy::{hash, name},
    streams::decode,
};

const MAX_MEMBERS: u32 = 4;
pub(crate) const MAILBOX_ENTRIES: usize = 6;
const MEMBERSHIP_RESERVE: usize = 256;

/// A random operation. A member is an index into the live sessions, modulo their number.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Join { identity: u8, passcode: Option<u8> },
    Signal { from: usize, to: To, numbering: Numbering },
    DataToAll { from: usize },
    Read { member: usize, limit: usize },
    Ack { member: usize, offset: i64 },
    Drop { member: usize },
    LateDrop { member: usize },
    Resume { member: usize, back: u64, ahead: bool, lost: bool },
    ForeignResume { member: usize },
    Leave { member: usize },
    Kick { member: usize },
    Advance { seconds: u64 },
    Close,
    SetPolicy { max_members: u32, locked: bool, duplicate: DuplicateIdentity, passcode: u8 },
    Ban { identity: u8, seconds: u64 },
    Report { member: usize, peer: usize },
}

/// The addressee of a signal.
#[derive(Debug, Clone)]
pub(crate) enum To {
    Member(usize),
    /// An empty `to`: the only other member.
    Empty,
    /// A member id that does not exist.
    Unknown,
}

/// The sequence number of a signal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Numbering {
    Next,
    Again,
    Gap,
    None,
}

pub(crate) struct World {
    pub(crate) room: Room,
    pub(crate) policy: Policy,
    /// The number of a watch of the room.
    pub(crate) watch: u64,
    /// The roster according to the events of the watch.
    pub(crate) watched: BTreeMap<String, MemberState>,
    /// Pairs of members that reported a connection.
    pub(crate) connected_pairs: BTreeSet<BTreeSet<MemberId>>,
    pub(crate) limits: Limits,
    pub(crate) now: Instant,
    pub(crate) head: u64,
    pub(crate) joins: u64,
    pub(crate) texts: u64,
    pub(crate) live: Vec<Session>,
    pub(crate) counts: Counts,
}

impl World {
    pub(crate) fn new() -> Self {
        let limits = Limits {
            mailbox_entries: MAILBOX_ENTRIES,
            signals_per_second: 1_000_000,
            signal_burst: 1_000_000,
            ..Limits::default()
        };
        let policy = Policy { max_members: MAX_MEMBERS, ..Policy::default() };
        let mut room = Room::new(policy.clone(), limits.clone());
        let (watch, present) = room.watch().unwrap();
        assert!(present.is_empty());
        Self {
            room,
            policy,
            watch,
            watched: BTreeMap::new(),
            connected_pairs: BTreeSet::new(),
            limits,
            now: Instant::now(),
            head: 0,
            joins: 0,
            texts: 0,
            live: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn pick(&self, member: usize) -> Option<usize> {
        (!self.live.is_empty()).then(|| member % self.live.len())
    }

    // === the model ===

    pub(crate) fn announce(&mut self, except: MemberId, entry: &Entry) {
        self.head += 1;
        for index in (0..self.live.len()).filter(|index| self.live[*index].id != except).collect::<Vec<_>>() {
            assert!(
                self.live[index].fits(MAILBOX_ENTRIES + MEMBERSHIP_RESERVE),
                "sequences are too short to fill the reserve"
            );
            self.deliver(index, entry.clone(), MAILBOX_ENTRIES + MEMBERSHIP_RESERVE);
        }
    }

    pub(crate) fn deliver(&mut self, index: usize, entry: Entry, cap: usize) {
        self.live[index].deliver(self.now, self.head, entry, cap);
        self.count_waiting(index);
    }

    pub(crate) fn count_waiting(&mut self, index: usize) {
        let session = &self.live[index];
        self.counts.max_waiting_entries =
            self.counts.max_waiting_entries.max((session.inbox.len() - session.cursor) as u64);
    }

    pub(crate) fn count_undelivered(&mut self, reason: &str) {
        self.counts.undelivered[UNDELIVERED_REASONS.iter().position(|known| *known == reason).unwrap()] += 1;
    }

    pub(crate) fn end(&mut self, index: usize, reason: LeaveReason, expected: Option<Error>) {
        let mut ended = self.live.remove(index);
        self.counts.ended[reason as usize] += 1;
        if ended.is_connected() {
            // The stream ends once, with the expected reason. After `leave` it first flushes pending outcomes.
            let end = expected.map_or(End::Left, End::Fault);
            let mut next = self.room.poll(self.now, ended.id, ended.generation, Waker::noop());
            while let (End::Left, Next::Frame(frame)) = (&end, &next) {
                ended.receive(self.now, decode(frame));
                next = self.room.poll(self.now, ended.id, ended.generation, Waker::noop());
            }
            assert!(matches!(&next, Next::End(e) if *e == end), "{next:?}, not {end:?}");
            assert!(end != End::Left || (ended.unreported.is_empty() && ended.last_ack == ended.handled));
            self.room.stream_lost(self.now, ended.id, ended.generation);
        }
        self.announce(ended.id, &Entry::Left(ended.id.to_string(), reason));
    }

    // === operations on room and model ===

    pub(crate) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Join { identity, passcode } => self.join(identity, passcode),
            Op::Signal { from, ref to, numbering } => self.signal(from, to, numbering),
            Op::DataToAll { from } => self.data_to_all(from),
            Op::Read { member, limit } => {
                if let Some(index) = self.pick(member) {
                    self.read(index, limit);
                }
            }
            Op::Ack { member, offset } => self.ack(member, offset),
            Op::Drop { member } => self.drop_stream(member),
            Op::LateDrop { member } => {
                // A late event of an older stream must have no effect.
                if let Some(index) = self.pick(member) {
                    let (id, generation) = (self.live[index].id, self.live[index].generation);
                    self.room.stream_lost(self.now, id, generation - 1);
                    self.room.break_stream(self.now, id, generation - 1, Error::HeartbeatTimeout);
                }
            }
            Op::Resume { member, back, ahead, lost } => self.resume(member, back, ahead, lost),
            Op::ForeignResume { member } => {
                if let Some(index) = self.pick(member) {
                    let (id, wrong) = (self.live[index].id, Secret::new([0; 32]));
                    let result = self.room.resume(self.now, id, &wrong, 0, StreamKind::Exchange);
                    assert_eq!(result.err(), Some(Error::SessionGone));
                }
            }
            Op::Leave { member } => self.leave(member),
            Op::Kick { member } => {
                if let Some(index) = self.pick(member) {
                    self.room.remove(self.now, self.live[index].id).unwrap();
                    self.end(index, LeaveReason::Removed, Some(Error::Removed));
                }
            }
            Op::Advance { seconds } => self.advance(Duration::from_secs(seconds)),
            Op::SetPolicy { max_members, locked, duplicate, passcode } => {
                self.set_policy(max_members, locked, duplicate, passcode);
            }
            Op::Ban { identity, seconds } => self.ban(identity, Duration::from_secs(seconds)),
            Op::Report { member, peer } => self.report(member, peer),
            Op::Close => {
                self.room.close(self.now);
                self.drain_watch();
                assert!(self.watched.is_empty());
                assert!(matches!(self.room.poll_watch(self.watch, Waker::noop()), WatchNext::End(Error::RoomClosed)));
                self.room.unwatch(self.watch);
                (self.watch, _) = self.room.watch().unwrap();
                for ended in std::mem::take(&mut self.live) {
                    self.counts.ended[LeaveReason::RoomClosed as usize] += 1;
                    if ended.is_connected() {
                        let next = self.room.poll(self.now, ended.id, ended.generation, Waker::noop());
                        assert!(matches!(next, Next::End(End::Fault(Error::RoomClosed))), "{next:?}");
                        self.room.stream_lost(self.now, ended.id, ended.generation);
                    }
                }
            }
        }
    }

    /// Joins with `passcode` as the verified passcode. `None` means the required passcode.
    pub(crate) fn join(&mut self, identity: u8, passcode: Option<u8>) {
        let identity = name(identity);
        let policy_hash = self.policy.passcode_hash.clone();
        let verified = passcode.map_or_else(|| policy_hash.clone(), hash);
        let required_hash = self.room.required_passcode_hash(verified.as_ref());
        let number = (self.joins + self.texts * 1000 + 1).to_be_bytes();
        let mut bits = [7; 12];
        bits[..8].copy_from_slice(&number);
        let (id, secret) = (MemberId::new(bits), Secret::new([1; 32]));
        let member = Member { identity: identity.clone(), ..Member::default() };
        let newcomer = Newcomer { id, secret, member, permit: Permit::default() };
        let result = self.room.join(self.now, newcomer, verified.as_ref(), StreamKind::Exchange);

        let Policy { max_members, locked, duplicate_identity, .. } = self.policy;
        // If several members have the identity, the room replaces the one with the lowest id.
        let named = |s: &&Session| !identity.is_empty() && s.identity == identity;
        let same = self
            .live
            .iter()
            .filter(named)
            .map(|s| s.id)
            .min()
            .filter(|_| duplicate_identity != DuplicateIdentity::Allow);
        let rejection = if locked {
            Some(Error::RoomLocked)
        } else if policy_hash.is_some() && policy_hash != verified {
            assert_eq!(required_hash, policy_hash);
            Some(Error::PasscodeWrong)
        } else if self.policy.bans.get(&identity).is_some_and(|until| *until > self.now) {
            Some(Error::Banned)
        } else if same.is_some() && duplicate_identity == DuplicateIdentity::Reject {
            Some(Error::IdentityTaken)
        } else if self.live.len() - usize::from(same.is_some()) >= max_members as usize {
            Some(Error::RoomFull(max_members))
        } else {
            None
        };
        if let Some(rejection) = rejection {
            assert_eq!(result.err(), Some(rejection));
            self.texts += 1;
            return;
        }
        assert_eq!(required_hash, None);
        let same = same.map(|id| self.live.iter().position(|s| s.id == id).unwrap());
        if let Some(replaced) = same {
            self.end(replaced, LeaveReason::Replaced, Some(Error::Replaced));
        }
        let start = result.unwrap();
        self.joins += 1;
        self.counts.opened += 1;
        self.announce(id, &Entry::Joined(id.to_string()));
        assert_eq!((start.seq, start.generation, start.you.join_order), (self.head, 1, self.joins));
        self.live.push(Session::new(id, secret, identity, roster(&start.members)));
        self.check_roster_of(self.live.len() - 1);
    }

    // === invariants after every operation ===

    pub(crate) fn check(&mut self) {
        self.drain_watch();
        let states = self.live.iter().map(|s| (s.id.to_string(), s.state()));
        assert_eq!(self.watched, states.collect(), "roster of the watch");
        assert_eq!(self.room.member_count(), self.live.len());
        self.counts.max_waiting_bytes = self.room.counts().max_waiting_bytes;
        assert_eq!(self.room.counts(), &self.counts);
        let ids: BTreeSet<_> = self.room.members().into_iter().map(|m| m.member_id).collect();
        assert_eq!(ids, self.live.iter().map(|s| s.id.to_string()).collect());
        for session in &self.live {
            let held = self.room.held_bytes_of(session.id).unwrap();
            assert!(held <= self.limits.mailbox_bytes + 256 * 1024, "{held} bytes held");
        }
    }

    pub(crate) fn check_roster_of(&self, index: usize) {
        assert_eq!(self.live[index].roster, self.others(index));
    }

    /// Checks that the client's roster equals the room's, once the stream is idle.
    pub(crate) fn check_client(&self, index: usize) {
        self.live[index].client.check(&self.others(index));
    }

    fn others(&self, index: usize) -> Roster {
        let own = self.live[index].id;
        self.live.iter().filter(|s| s.id != own).map(|s| (s.id.to_string(), s.state())).collect()
    }

    /// Resumes all sessions and reads them to the end. Then no entry may be missing, and all rosters must agree.
    pub(crate) fn finish(&mut self) {
        for member in 0..self.live.len() {
            if self.live.get(member).is_some_and(|s| !s.is_connected()) {
                self.resume(member, 0, false, false);
            }
        }
        for index in 0..self.live.len() {
            while !self.read(index, 100) {}
            let session = &self.live[index];
            assert_eq!(session.processed, session.inbox, "every accepted signal has arrived");
            assert!(session.unreported.is_empty());
            self.check_roster_of(index);
        }
        while !self.live.is_empty() {
            self.leave(0);
        }
        assert_eq!(self.room.member_count(), 0);
        assert!(!self.room.retire_if_empty(), "the room is watched");
        self.room.unwatch(self.watch);
        assert!(self.room.retire_if_empty());
    }
}
