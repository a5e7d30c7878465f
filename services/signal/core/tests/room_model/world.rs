//! A room and its model, side by side: every operation is done to both, and they must agree.

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
    model::{News, Session, roster},
    policy::{hash, name},
    streams::decode,
};

const SEATS: u32 = 4;
pub(crate) const MAILBOX: usize = 6;
const RESERVE: usize = 256;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Join { identity: u8, passcode: Option<u8> },
    Signal { from: usize, to: To, numbering: Numbering },
    DataToAll { from: usize },
    Read { who: usize, most: usize },
    Ack { who: usize, offset: i64 },
    Drop { who: usize },
    LateDrop { who: usize },
    Resume { who: usize, back: u64, ahead: bool, lost: bool },
    ForeignResume { who: usize },
    Leave { who: usize },
    Kick { who: usize },
    Pass { seconds: u64 },
    Close,
    SetPolicy { seats: u32, locked: bool, duplicate: DuplicateIdentity, passcode: u8 },
    Ban { identity: u8, seconds: u64 },
    Report { who: usize, peer: usize },
}

#[derive(Debug, Clone)]
pub(crate) enum To {
    Member(usize),
    Empty,
    Nobody,
}

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
    /// A watch, and who is in the room by what it told.
    pub(crate) watch: u64,
    pub(crate) watched: BTreeMap<String, MemberState>,
    /// Pairs that reported a connection.
    pub(crate) met: BTreeSet<BTreeSet<MemberId>>,
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
            mailbox_entries: MAILBOX,
            signals_per_second: 1_000_000,
            signal_burst: 1_000_000,
            ..Limits::default()
        };
        let policy = Policy { max_members: SEATS, ..Policy::default() };
        let mut room = Room::new(policy.clone(), limits.clone());
        let (watch, there) = room.watch().unwrap();
        assert!(there.is_empty());
        Self {
            room,
            policy,
            watch,
            watched: BTreeMap::new(),
            met: BTreeSet::new(),
            limits,
            now: Instant::now(),
            head: 0,
            joins: 0,
            texts: 0,
            live: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn pick(&self, who: usize) -> Option<usize> {
        (!self.live.is_empty()).then(|| who % self.live.len())
    }

    // === the model ===

    pub(crate) fn announce(&mut self, except: MemberId, news: &News) {
        self.head += 1;
        for index in (0..self.live.len()).filter(|index| self.live[*index].id != except).collect::<Vec<_>>() {
            assert!(self.live[index].fits(MAILBOX + RESERVE), "sequences are too short to fill the reserve");
            self.deliver(index, news.clone(), MAILBOX + RESERVE);
        }
    }

    pub(crate) fn deliver(&mut self, index: usize, news: News, cap: usize) {
        self.live[index].deliver(self.now, self.head, news, cap);
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
        let mut gone = self.live.remove(index);
        self.counts.ended[reason as usize] += 1;
        if gone.is_connected() {
            // Its stream is told why, once; then it goes. Whoever leaves has everything answered before.
            let end = expected.map_or(End::Left, End::Fault);
            let mut next = self.room.poll(self.now, gone.id, gone.generation, Waker::noop());
            while let (End::Left, Next::Frame(frame)) = (&end, &next) {
                gone.receive(self.now, decode(frame));
                next = self.room.poll(self.now, gone.id, gone.generation, Waker::noop());
            }
            assert!(matches!(&next, Next::End(e) if *e == end), "{next:?}, not {end:?}");
            assert!(end != End::Left || (gone.untold.is_empty() && gone.last_ack == gone.handled));
            self.room.stream_lost(self.now, gone.id, gone.generation);
        }
        self.announce(gone.id, &News::Left(gone.id.to_string(), reason));
    }

    // === one operation, on both ===

    pub(crate) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Join { identity, passcode } => self.join(identity, passcode),
            Op::Signal { from, ref to, numbering } => self.signal(from, to, numbering),
            Op::DataToAll { from } => self.data_to_all(from),
            Op::Read { who, most } => {
                if let Some(index) = self.pick(who) {
                    self.read(index, most);
                }
            }
            Op::Ack { who, offset } => self.ack(who, offset),
            Op::Drop { who } => self.drop_stream(who),
            Op::LateDrop { who } => {
                // An event of a stream that no longer carries the session.
                if let Some(index) = self.pick(who) {
                    let (id, generation) = (self.live[index].id, self.live[index].generation);
                    self.room.stream_lost(self.now, id, generation - 1);
                    self.room.break_stream(self.now, id, generation - 1, Error::HeartbeatTimeout);
                }
            }
            Op::Resume { who, back, ahead, lost } => self.resume(who, back, ahead, lost),
            Op::ForeignResume { who } => {
                if let Some(index) = self.pick(who) {
                    let (id, wrong) = (self.live[index].id, Secret::new([0; 32]));
                    let result = self.room.resume(self.now, id, &wrong, 0, StreamKind::Exchange);
                    assert_eq!(result.err(), Some(Error::SessionGone));
                }
            }
            Op::Leave { who } => self.leave(who),
            Op::Kick { who } => {
                if let Some(index) = self.pick(who) {
                    self.room.remove(self.now, self.live[index].id).unwrap();
                    self.end(index, LeaveReason::Removed, Some(Error::Removed));
                }
            }
            Op::Pass { seconds } => self.pass(Duration::from_secs(seconds)),
            Op::SetPolicy { seats, locked, duplicate, passcode } => self.set_policy(seats, locked, duplicate, passcode),
            Op::Ban { identity, seconds } => self.ban(identity, Duration::from_secs(seconds)),
            Op::Report { who, peer } => self.report(who, peer),
            Op::Close => {
                self.room.close(self.now);
                self.see();
                assert!(self.watched.is_empty());
                assert!(matches!(self.room.poll_watch(self.watch, Waker::noop()), WatchNext::End(Error::RoomClosed)));
                self.room.unwatch(self.watch);
                (self.watch, _) = self.room.watch().unwrap();
                for gone in std::mem::take(&mut self.live) {
                    self.counts.ended[LeaveReason::RoomClosed as usize] += 1;
                    if gone.is_connected() {
                        let next = self.room.poll(self.now, gone.id, gone.generation, Waker::noop());
                        assert!(matches!(next, Next::End(End::Fault(Error::RoomClosed))), "{next:?}");
                        self.room.stream_lost(self.now, gone.id, gone.generation);
                    }
                }
            }
        }
    }

    /// A passcode was proven to fit the hash of that number; `None`: the one that is asked for.
    pub(crate) fn join(&mut self, identity: u8, passcode: Option<u8>) {
        let identity = name(identity);
        let asked = self.policy.passcode_hash.clone();
        let proven = passcode.map_or_else(|| asked.clone(), hash);
        let to_prove = self.room.required_passcode_hash(proven.as_ref());
        let number = (self.joins + self.texts * 1000 + 1).to_be_bytes();
        let mut bits = [7; 12];
        bits[..8].copy_from_slice(&number);
        let (id, secret) = (MemberId::new(bits), Secret::new([1; 32]));
        let member = Member { identity: identity.clone(), ..Member::default() };
        let newcomer = Newcomer { id, secret, member, permit: Permit::default() };
        let result = self.room.join(self.now, newcomer, proven.as_ref(), StreamKind::Exchange);

        let Policy { max_members, locked, duplicate_identity, .. } = self.policy;
        // Any member of that identity: the one with the lowest id is replaced.
        let named = |s: &&Session| !identity.is_empty() && s.identity == identity;
        let same = self
            .live
            .iter()
            .filter(named)
            .map(|s| s.id)
            .min()
            .filter(|_| duplicate_identity != DuplicateIdentity::Allow);
        let refused = if locked {
            Some(Error::RoomLocked)
        } else if asked.is_some() && asked != proven {
            assert_eq!(to_prove, asked);
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
        if let Some(refused) = refused {
            assert_eq!(result.err(), Some(refused));
            self.texts += 1;
            return;
        }
        assert_eq!(to_prove, None);
        let same = same.map(|id| self.live.iter().position(|s| s.id == id).unwrap());
        if let Some(replaced) = same {
            self.end(replaced, LeaveReason::Replaced, Some(Error::Replaced));
        }
        let opened = result.unwrap();
        self.joins += 1;
        self.counts.opened += 1;
        self.announce(id, &News::Joined(id.to_string()));
        assert_eq!((opened.seq, opened.generation, opened.you.join_order), (self.head, 1, self.joins));
        self.live.push(Session::new(id, secret, identity, roster(&opened.members)));
        self.check_roster_of(self.live.len() - 1);
    }

    // === what holds after every operation ===

    pub(crate) fn check(&mut self) {
        self.see();
        let states = self.live.iter().map(|s| (s.id.to_string(), s.state()));
        assert_eq!(self.watched, states.collect(), "what the watch tells");
        assert_eq!(self.room.member_count(), self.live.len());
        self.counts.max_waiting_bytes = self.room.counts().max_waiting_bytes;
        assert_eq!(self.room.counts(), &self.counts);
        let ids: BTreeSet<_> = self.room.members().into_iter().map(|m| m.member_id).collect();
        assert_eq!(ids, self.live.iter().map(|s| s.id.to_string()).collect());
        for session in &self.live {
            let kept = self.room.held_bytes_of(session.id).unwrap();
            assert!(kept <= self.limits.mailbox_bytes + 256 * 1024, "{kept} bytes kept");
        }
    }

    pub(crate) fn check_roster_of(&self, index: usize) {
        assert_eq!(self.live[index].roster, self.others(index));
    }

    /// The stream has nothing more to say: what the client knows must be the room as it is.
    pub(crate) fn check_client(&self, index: usize) {
        self.live[index].client.check(&self.others(index));
    }

    fn others(&self, index: usize) -> Roster {
        let own = self.live[index].id;
        self.live.iter().filter(|s| s.id != own).map(|s| (s.id.to_string(), s.state())).collect()
    }

    /// Everybody comes back and reads to the end: then nothing is missing and all rosters agree.
    pub(crate) fn finish(&mut self) {
        for who in 0..self.live.len() {
            if self.live.get(who).is_some_and(|s| !s.is_connected()) {
                self.resume(who, 0, false, false);
            }
        }
        for index in 0..self.live.len() {
            while !self.read(index, 100) {}
            let session = &self.live[index];
            assert_eq!(session.processed, session.inbox, "all that was accepted has arrived");
            assert!(session.untold.is_empty());
            self.check_roster_of(index);
        }
        while !self.live.is_empty() {
            self.leave(0);
        }
        assert_eq!(self.room.member_count(), 0);
        assert!(!self.room.retire_if_empty(), "somebody watches");
        self.room.unwatch(self.watch);
        assert!(self.room.retire_if_empty());
    }
}
