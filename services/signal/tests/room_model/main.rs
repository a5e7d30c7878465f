//! Random operations on a room, checked against a model that is too simple to be wrong.
//!
//! The model keeps, for each session, the whole list of what must reach it. A client reads its streams and must have
//! seen a prefix of that list at any time, and all of it once its stream has nothing more to say: no gap, no
//! duplicate, in order, over any number of resumes. `PROPTEST_CASES=100000` runs more sequences.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod model;
mod policy;

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Waker,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use proptest::prelude::*;
use prost::{Message, encoding};
use signalbox_proto::v1::{
    ClientMessage, Data, DuplicateIdentity, Leave, LeaveReason, Member, MemberState, ServerMessage, SessionDescription,
    client_message::Body as Said,
};
use signalbox_server::{
    error::Error,
    limit::Limits,
    room::{
        Carrier, End, Frame, Newcomer, Next, Permit, Policy, Room, Seen, Via,
        count::{Counts, REASONS},
        id::{MemberId, Secret},
    },
};

use crate::{
    model::{News, Session, roster},
    policy::{hash, name},
};

const SEATS: u32 = 4;
const MAILBOX: usize = 6;
const RESERVE: usize = 256;

#[derive(Debug, Clone)]
enum Op {
    Join { identity: u8, passcode: Option<u8> },
    Signal { from: usize, to: To, numbering: Numbering },
    DataToAll { from: usize },
    Read { who: usize, most: usize },
    Ack { who: usize, offset: i64 },
    Drop { who: usize },
    LateDrop { who: usize },
    Resume { who: usize, back: u64, ahead: bool },
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
enum To {
    Member(usize),
    Empty,
    Nobody,
}

#[derive(Debug, Clone, Copy)]
enum Numbering {
    Next,
    Again,
    Gap,
    None,
}

fn op() -> impl Strategy<Value = Op> {
    let who = || 0usize..8;
    let to = prop_oneof![8 => who().prop_map(To::Member), 1 => Just(To::Empty), 1 => Just(To::Nobody)];
    let numbering = prop_oneof![
        6 => Just(Numbering::Next), 1 => Just(Numbering::Again), 1 => Just(Numbering::Gap), 2 => Just(Numbering::None)
    ];
    let duplicate = prop_oneof![
        3 => Just(DuplicateIdentity::Replace), 1 => Just(DuplicateIdentity::Reject), 1 => Just(DuplicateIdentity::Allow)
    ];
    prop_oneof![
        6 => (0u8..4, prop_oneof![9 => Just(None), 1 => (0u8..3).prop_map(Some)])
            .prop_map(|(identity, passcode)| Op::Join { identity, passcode }),
        20 => (who(), to, numbering).prop_map(|(from, to, numbering)| Op::Signal { from, to, numbering }),
        3 => who().prop_map(|from| Op::DataToAll { from }),
        10 => (who(), 0usize..6).prop_map(|(who, most)| Op::Read { who, most }),
        3 => (who(), -3i64..4).prop_map(|(who, offset)| Op::Ack { who, offset }),
        4 => who().prop_map(|who| Op::Drop { who }),
        1 => who().prop_map(|who| Op::LateDrop { who }),
        5 => (who(), 0u64..4, prop::bool::weighted(0.1)).prop_map(|(who, back, ahead)| Op::Resume { who, back, ahead }),
        1 => who().prop_map(|who| Op::ForeignResume { who }),
        1 => who().prop_map(|who| Op::Leave { who }),
        1 => who().prop_map(|who| Op::Kick { who }),
        3 => prop_oneof![0u64..40, 60u64..120].prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Close),
        2 => (1u32..7, prop::bool::weighted(0.2), duplicate, prop_oneof![2 => Just(0u8), 1 => 1u8..3]).prop_map(
            |(seats, locked, duplicate, passcode)| Op::SetPolicy { seats, locked, duplicate, passcode }
        ),
        1 => (0u8..4, 0u64..90).prop_map(|(identity, seconds)| Op::Ban { identity, seconds }),
        3 => (who(), who()).prop_map(|(who, peer)| Op::Report { who, peer }),
    ]
}

struct World {
    room: Room,
    policy: Policy,
    /// A watch, and who is in the room by what it told.
    watch: u64,
    watched: BTreeMap<String, MemberState>,
    /// Pairs that reported a connection.
    met: BTreeSet<BTreeSet<MemberId>>,
    limits: Limits,
    now: Instant,
    head: u64,
    joins: u64,
    texts: u64,
    live: Vec<Session>,
    counts: Counts,
}

impl World {
    fn new() -> Self {
        let limits =
            Limits { mailbox_entries: MAILBOX, signal_burst: u32::MAX, signals_per_second: 1, ..Limits::default() };
        let limits = Limits { signals_per_second: 1_000_000, signal_burst: 1_000_000, ..limits };
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

    fn pick(&self, who: usize) -> Option<usize> {
        (!self.live.is_empty()).then(|| who % self.live.len())
    }

    // === the model ===

    fn announce(&mut self, except: MemberId, news: &News) {
        self.head += 1;
        for index in (0..self.live.len()).filter(|index| self.live[*index].id != except).collect::<Vec<_>>() {
            assert!(self.live[index].fits(MAILBOX + RESERVE), "sequences are too short to fill the reserve");
            self.deliver(index, news.clone(), MAILBOX + RESERVE);
        }
    }

    fn deliver(&mut self, index: usize, news: News, cap: usize) {
        self.live[index].deliver(self.now, self.head, news, cap);
        self.count_waiting(index);
    }

    fn count_waiting(&mut self, index: usize) {
        let session = &self.live[index];
        self.counts.most_entries = self.counts.most_entries.max((session.inbox.len() - session.cursor) as u64);
    }

    fn count_refused(&mut self, reason: &str) {
        self.counts.undelivered[REASONS.iter().position(|known| *known == reason).unwrap()] += 1;
    }

    fn end(&mut self, index: usize, reason: LeaveReason, expected: Option<Error>) {
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

    fn apply(&mut self, op: &Op) {
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
            Op::Resume { who, back, ahead } => self.resume(who, back, ahead),
            Op::ForeignResume { who } => {
                if let Some(index) = self.pick(who) {
                    let (id, wrong) = (self.live[index].id, Secret::new([0; 32]));
                    let result = self.room.resume(self.now, id, &wrong, 0, Carrier::Exchange);
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
                assert!(matches!(self.room.poll_watch(self.watch, Waker::noop()), Seen::End(Error::RoomClosed)));
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
    fn join(&mut self, identity: u8, passcode: Option<u8>) {
        let identity = name(identity);
        let asked = self.policy.passcode_hash.clone();
        let proven = passcode.map_or_else(|| asked.clone(), hash);
        let to_prove = self.room.passcode_to_prove(proven.as_ref());
        let number = (self.joins + self.texts * 1000 + 1).to_be_bytes();
        let mut bits = [7; 12];
        bits[..8].copy_from_slice(&number);
        let (id, secret) = (MemberId::new(bits), Secret::new([1; 32]));
        let member = Member { identity: identity.clone(), ..Member::default() };
        let newcomer = Newcomer { id, secret, member, proven: proven.clone(), permit: Permit::default() };
        let result = self.room.join(self.now, newcomer, Carrier::Exchange);

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

    fn signal(&mut self, from: usize, to: &To, numbering: Numbering) {
        let Some(from) = self.pick(from) else { return };
        let (sender, handled) = (self.live[from].id, self.live[from].handled);
        let target = match to {
            To::Member(who) => self.pick(*who),
            To::Empty => (self.live.len() == 2).then(|| 1 - from),
            To::Nobody => None,
        };
        let to_text = match to {
            To::Member(_) => self.live[target.unwrap()].id.to_string(),
            To::Empty => String::new(),
            To::Nobody => MemberId::new([255; 12]).to_string(),
        };
        let seq = match numbering {
            Numbering::Next => handled + 1,
            Numbering::Again if handled > 0 => handled,
            Numbering::Again | Numbering::None => 0,
            Numbering::Gap => handled + 2,
        };
        self.texts += 1;
        let text = format!("signal {}", self.texts);
        let offer = Said::Offer(SessionDescription { sdp: text.clone() });
        let message = ClientMessage { seq, to: to_text, body: Some(offer), ..ClientMessage::default() };
        let result = self.room.handle(self.now, sender, Via::Unary, message);

        if seq > handled + 1 {
            assert_eq!(result.err(), Some(Error::SeqGap { expected: handled + 1 }));
            return;
        }
        let outcome = result.unwrap();
        let reasons: Vec<_> = outcome.undelivered.iter().map(|u| u.reason.as_str()).collect();
        if seq != 0 && seq <= handled {
            // Again: the same answer, nothing happens twice.
            assert_eq!(!reasons.is_empty(), self.live[from].failed.contains(&seq));
            assert_eq!(outcome.ack, handled);
            let failed = self.live[from].failed.clone();
            if failed.contains(&seq) && self.live[from].is_connected() {
                self.live[from].untold = failed;
            }
            self.live[from].last_ack = self.live[from].last_ack.min(seq - 1);
            return;
        }
        let expected = match target {
            None if matches!(to, To::Empty) => vec!["TARGET_REQUIRED"],
            None => vec!["NO_SUCH_MEMBER"],
            Some(target) if target == from => vec!["NO_SUCH_MEMBER"],
            Some(target) if !self.live[target].fits(MAILBOX) => vec!["MAILBOX_FULL"],
            Some(target) => {
                self.head += 1;
                let news = News::Signal { from: sender.to_string(), text };
                self.counts.accepted[0] += 1;
                self.deliver(target, news, MAILBOX);
                vec![]
            }
        };
        assert_eq!(reasons, expected);
        expected.iter().for_each(|reason| self.count_refused(reason));
        self.live[from].settle(seq, !expected.is_empty(), outcome.ack);
    }

    fn data_to_all(&mut self, from: usize) {
        let Some(from) = self.pick(from) else { return };
        let (sender, seq) = (self.live[from].id, self.live[from].handled + 1);
        self.texts += 1;
        let text = format!("data {}", self.texts);
        let data = Said::Data(Data { text: text.clone(), ..Data::default() });
        let message = ClientMessage { seq, body: Some(data), ..ClientMessage::default() };
        let outcome = self.room.handle(self.now, sender, Via::Unary, message).unwrap();

        let (open, full): (Vec<_>, Vec<_>) =
            (0..self.live.len()).filter(|i| *i != from).partition(|i| self.live[*i].fits(MAILBOX));
        if !open.is_empty() {
            self.head += 1;
        }
        for index in open {
            let news = News::Signal { from: sender.to_string(), text: text.clone() };
            self.counts.accepted[3] += 1;
            self.deliver(index, news, MAILBOX);
        }
        let refused: BTreeSet<_> = outcome.undelivered.iter().map(|u| u.to.clone()).collect();
        assert_eq!(refused, full.iter().map(|i| self.live[*i].id.to_string()).collect());
        full.iter().for_each(|_| self.count_refused("MAILBOX_FULL"));
        self.live[from].settle(seq, !full.is_empty(), outcome.ack);
    }

    /// Takes up to `most` frames of the session's stream, as its client; says whether there was no more.
    fn read(&mut self, index: usize, most: usize) -> bool {
        for _ in 0..most {
            let (id, generation) = (self.live[index].id, self.live[index].generation);
            if self.live[index].suspended_since.is_some() {
                return true;
            }
            match self.room.poll(self.now, id, generation, Waker::noop()) {
                Next::Frame(frame) => {
                    self.live[index].receive(self.now, decode(&frame));
                }
                Next::Wait(deadline) => {
                    assert!(deadline > self.now, "a stream that waits has something to wait for");
                    return true;
                }
                Next::End(end) => panic!("a live stream ended: {end:?}"),
            }
        }
        false
    }

    /// Also of what the client has not been given yet: that must not be dropped.
    fn ack(&mut self, who: usize, offset: i64) {
        let Some(index) = self.pick(who) else { return };
        let session = &mut self.live[index];
        let ack = session.last_seq.saturating_add_signed(offset).min(self.head);
        if ack == 0 {
            return;
        }
        let message = ClientMessage { ack, ..ClientMessage::default() };
        self.room.handle(self.now, session.id, Via::Unary, message).unwrap();
        session.acknowledge(self.now, ack);
    }

    fn drop_stream(&mut self, who: usize) {
        let Some(index) = self.pick(who) else { return };
        let (id, generation) = (self.live[index].id, self.live[index].generation);
        self.room.stream_lost(self.now, id, generation);
        if self.live[index].is_connected() {
            self.live[index].suspended_since = Some(self.now);
            self.live[index].waits_since = None;
            self.announce(id, &News::Updated(id.to_string(), MemberState::Suspended));
        }
    }

    fn resume(&mut self, who: usize, back: u64, ahead: bool) {
        let Some(index) = self.pick(who) else { return };
        let (now, head) = (self.now, self.head);
        let session = &mut self.live[index];
        let after = if ahead { head + 1 } else { session.last_seq.saturating_sub(back) };
        let (id, old) = (session.id, session.generation);
        let result = self.room.resume(now, id, &session.secret, after, Carrier::Exchange);
        if ahead {
            assert!(matches!(result, Err(Error::InvalidMessage { .. })));
            return;
        }
        if after < session.floor() {
            assert_eq!(result.err(), Some(Error::SessionGone));
            self.end(index, LeaveReason::TimedOut, Some(Error::SessionGone));
            return;
        }
        let opened = result.unwrap();
        let was_suspended = !session.is_connected();
        assert_eq!(opened.replayed as usize, session.resume(now, after));
        let reached = (opened.seq, opened.ack, opened.generation);
        assert_eq!(reached, (after, session.handled, session.generation));
        self.counts.resumed += 1;
        self.count_waiting(index);
        if was_suspended {
            self.announce(id, &News::Updated(id.to_string(), MemberState::Connected));
        } else {
            let next = self.room.poll(now, id, old, Waker::noop());
            assert!(matches!(next, Next::End(End::Fault(Error::Fenced))), "{next:?}");
        }
        // Late events of the old stream do nothing.
        self.room.stream_lost(now, id, old);
        let late = ClientMessage { seq: 1, ..ClientMessage::default() };
        assert_eq!(self.room.handle(now, id, Via::Stream(old), late).err(), Some(Error::Fenced));
    }

    fn leave(&mut self, who: usize) {
        let Some(index) = self.pick(who) else { return };
        let leave = ClientMessage { body: Some(Said::Leave(Leave::default())), ..ClientMessage::default() };
        let outcome = self.room.handle(self.now, self.live[index].id, Via::Unary, leave).unwrap();
        assert!(outcome.left);
        self.end(index, LeaveReason::Left, None);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.room.tick(self.now);
        let mut due: Vec<_> = self
            .live
            .iter()
            .filter_map(|s| match (s.suspended_since, s.waits_since) {
                (Some(since), _) if since + self.limits.resume_window <= self.now => {
                    Some((s.id, LeaveReason::TimedOut, Error::SessionGone))
                }
                (None, Some(since)) if since + self.limits.stall_timeout <= self.now => {
                    Some((s.id, LeaveReason::SlowConsumer, Error::SlowConsumer))
                }
                _ => None,
            })
            .collect();
        for session in self.live.iter_mut().filter(|s| s.is_connected()) {
            session.expire(self.now, self.limits.retention());
        }
        // The room ends them in the order of their ids.
        due.sort_unstable_by_key(|(id, ..)| *id);
        for (id, reason, error) in due {
            let index = self.live.iter().position(|s| s.id == id).unwrap();
            self.end(index, reason, Some(error));
        }
    }

    // === what holds after every operation ===

    fn check(&mut self) {
        self.see();
        let states = self.live.iter().map(|s| (s.id.to_string(), s.state()));
        assert_eq!(self.watched, states.collect(), "what the watch tells");
        assert_eq!(self.room.member_count(), self.live.len());
        self.counts.most_bytes = self.room.counts().most_bytes;
        assert_eq!(self.room.counts(), &self.counts);
        let ids: BTreeSet<_> = self.room.members().into_iter().map(|m| m.member_id).collect();
        assert_eq!(ids, self.live.iter().map(|s| s.id.to_string()).collect());
        for session in &self.live {
            let kept = self.room.kept_bytes(session.id).unwrap();
            assert!(kept <= self.limits.mailbox_bytes + 256 * 1024, "{kept} bytes kept");
        }
    }

    fn check_roster_of(&self, index: usize) {
        let own = self.live[index].id;
        let present = self.live.iter().filter(|s| s.id != own).map(|s| (s.id.to_string(), s.state()));
        assert_eq!(self.live[index].roster, present.collect());
    }

    /// Everybody comes back and reads to the end: then nothing is missing and all rosters agree.
    fn finish(&mut self) {
        for who in 0..self.live.len() {
            if self.live.get(who).is_some_and(|s| !s.is_connected()) {
                self.resume(who, 0, false);
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

/// What a client makes of a frame: the shared bytes with its own ack appended.
fn decode(frame: &Frame) -> ServerMessage {
    let mut bytes = BytesMut::from(&frame.bytes[..]);
    if frame.ack > 0 {
        encoding::uint64::encode(2, &frame.ack, &mut bytes);
    }
    ServerMessage::decode(bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_room_does_what_the_model_says(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
            world.check();
        }
        world.finish();
    }
}
