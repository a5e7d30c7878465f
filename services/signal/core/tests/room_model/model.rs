//! The model: a session is the whole list of what must reach it, and a client that checks what does.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use signalbox_core::id::{MemberId, Secret};
use signalbox_proto::v1::{LeaveReason, Member, MemberState, ServerMessage, server_message::Body};

use crate::client::{Client, Roster};

/// What must reach a session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    Joined(String),
    Updated(String, MemberState),
    Left(String, LeaveReason),
    Signal { from: String, text: String },
}

/// A session in the model, with the client that reads it.
pub(crate) struct Session {
    pub(crate) id: MemberId,
    pub(crate) secret: Secret,
    pub(crate) identity: String,
    /// Everything addressed to it, with positions; the first `kept_from` are dropped, those up to `cursor` taken.
    pub(crate) inbox: Vec<(u64, News)>,
    pub(crate) taken_at: Vec<Instant>,
    pub(crate) kept_from: usize,
    pub(crate) cursor: usize,
    pub(crate) delivered: u64,
    /// Highest position that its client may know of without having read it.
    pub(crate) known: u64,
    pub(crate) generation: u64,
    pub(crate) suspended_since: Option<Instant>,
    pub(crate) waits_since: Option<Instant>,
    pub(crate) handled: u64,
    /// Messages whose `undelivered` the present stream has yet to tell.
    pub(crate) untold: BTreeSet<u64>,
    pub(crate) failed: BTreeSet<u64>,
    /// The client: what it has processed.
    pub(crate) processed: Vec<(u64, News)>,
    pub(crate) last_seq: u64,
    pub(crate) last_ack: u64,
    pub(crate) roster: Roster,
    /// What it knows.
    pub(crate) client: Client,
}

impl Session {
    pub(crate) fn new(id: MemberId, secret: Secret, identity: String, roster: Roster) -> Self {
        Self {
            id,
            secret,
            identity,
            inbox: Vec::new(),
            taken_at: Vec::new(),
            kept_from: 0,
            cursor: 0,
            delivered: 0,
            known: 0,
            generation: 1,
            suspended_since: None,
            waits_since: None,
            handled: 0,
            untold: BTreeSet::new(),
            failed: BTreeSet::new(),
            processed: Vec::new(),
            last_seq: 0,
            last_ack: 0,
            client: Client::welcome(roster.clone()),
            roster,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.suspended_since.is_none()
    }

    pub(crate) fn state(&self) -> MemberState {
        if self.is_connected() { MemberState::Connected } else { MemberState::Suspended }
    }

    /// Whether another entry may wait.
    pub(crate) fn fits(&self, cap: usize) -> bool {
        self.inbox.len() - self.cursor < cap
    }

    /// What was taken makes place for what waits. Of what the client cannot know, the latest update of a member counts,
    /// and a member that came and went without a signal does not.
    pub(crate) fn deliver(&mut self, now: Instant, seq: u64, news: News, cap: usize) {
        let known = self.delivered.max(self.known);
        match &news {
            News::Updated(id, _) => {
                self.inbox.retain(|(at, n)| *at <= known || !matches!(n, News::Updated(of, _) if of == id));
            }
            News::Left(id, _) => {
                let mut unseen = self.inbox.iter().filter(|(at, _)| *at > known);
                let spoke = unseen.clone().any(|(_, n)| matches!(n, News::Signal { from, .. } if from == id));
                if !spoke && unseen.any(|(_, n)| *n == News::Joined(id.clone())) {
                    let of_it = |n: &News| matches!(n, News::Joined(of) | News::Updated(of, _) if of == id);
                    self.inbox.retain(|(at, n)| *at <= known || !of_it(n));
                    self.waits_since = self.waits_since.filter(|_| self.cursor < self.inbox.len());
                    return;
                }
            }
            News::Joined(_) | News::Signal { .. } => {}
        }
        while self.inbox.len() - self.kept_from >= cap && self.kept_from < self.cursor {
            self.kept_from += 1;
        }
        self.inbox.push((seq, news));
        self.waits_since.get_or_insert(now);
    }

    /// A message of this session was handled.
    pub(crate) fn settle(&mut self, seq: u64, failed: bool, ack: u64) {
        if seq != 0 {
            self.handled = seq;
            if failed {
                self.failed.insert(seq);
                self.untold.insert(seq);
            }
        }
        assert_eq!(ack, self.handled);
    }

    /// The client says that it has processed everything up to `seq`.
    pub(crate) fn acknowledge(&mut self, now: Instant, seq: u64) {
        let acked = self.inbox.partition_point(|(at, _)| *at <= seq.min(self.delivered));
        self.kept_from = self.kept_from.max(acked);
        self.cursor = self.cursor.max(self.kept_from);
        self.taken_at.resize(self.cursor.max(self.taken_at.len()), now);
        self.waits_since = self.waits_since.filter(|_| self.cursor < self.inbox.len());
    }

    /// Position of the newest entry that is no longer kept.
    pub(crate) fn floor(&self) -> u64 {
        self.kept_from.checked_sub(1).map_or(0, |last| self.inbox[last].0)
    }

    /// A new stream reads on after `seq`; says how many entries it will replay.
    pub(crate) fn resume(&mut self, now: Instant, after: u64) -> usize {
        self.cursor = self.inbox.partition_point(|(seq, _)| *seq <= after).max(self.kept_from);
        self.generation += 1;
        self.untold = self.failed.clone();
        self.last_ack = 0;
        let replayed = self.inbox.len() - self.cursor;
        self.waits_since = (replayed > 0).then_some(now);
        self.suspended_since = None;
        replayed
    }

    /// What was taken too long ago is no longer kept.
    pub(crate) fn expire(&mut self, now: Instant, retention: Duration) {
        while self.kept_from < self.cursor && now - self.taken_at[self.kept_from] > retention {
            self.kept_from += 1;
        }
    }

    /// The client gets a message: it must be what the model says, and nothing may be missing before it.
    pub(crate) fn receive(&mut self, now: Instant, message: ServerMessage) {
        if message.ack > 0 {
            assert!(message.ack <= self.handled, "acked before it was handled");
            assert!(message.ack > self.last_ack, "acks rise");
            assert!(self.untold.is_empty(), "an ack came before the undelivered that it covers");
            self.last_ack = message.ack;
        }
        let from = message.from.clone();
        let news = match message.body {
            Some(Body::Undelivered(undelivered)) => {
                if undelivered.client_seq != 0 {
                    assert!(self.failed.contains(&undelivered.client_seq));
                    self.untold.remove(&undelivered.client_seq);
                }
                return;
            }
            None | Some(Body::Heartbeat(_)) => return,
            Some(Body::MemberJoined(joined)) => News::Joined(joined.member.unwrap().member_id),
            Some(Body::MemberUpdated(updated)) => {
                let member = updated.member.unwrap();
                News::Updated(member.member_id.clone(), member.state())
            }
            Some(Body::MemberLeft(left)) => News::Left(left.member_id.clone(), left.reason()),
            Some(Body::Offer(offer)) => News::Signal { from, text: offer.sdp },
            Some(Body::Data(data)) => News::Signal { from, text: data.text },
            other => panic!("unexpected {other:?}"),
        };
        let expected = self.inbox.get(self.cursor).expect("nothing was left for this session");
        assert_eq!((message.seq, &news), (expected.0, &expected.1), "the stream follows the log");
        match self.taken_at.get_mut(self.cursor) {
            Some(at) => *at = now,
            None => self.taken_at.push(now),
        }
        self.cursor += 1;
        self.delivered = self.delivered.max(message.seq);
        self.waits_since = (self.cursor < self.inbox.len()).then_some(now);
        let is_new = message.seq > self.last_seq;
        self.client.entry(is_new.then_some(&news));
        if !is_new {
            return; // A replay of what the client has: it drops it.
        }
        self.last_seq = message.seq;
        match &news {
            News::Joined(id) => assert!(self.roster.insert(id.clone(), MemberState::Connected).is_none()),
            News::Updated(id, state) => assert!(self.roster.insert(id.clone(), *state).is_some()),
            News::Left(id, _) => assert!(self.roster.remove(id).is_some()),
            News::Signal { from, .. } => assert!(self.roster.contains_key(from), "a signal of a non-member"),
        }
        self.processed.push((message.seq, news));
        assert_eq!(self.processed[..], self.inbox[..self.processed.len()], "a gap-free prefix");
    }
}

/// A roster as the client keeps it.
pub(crate) fn roster(members: &[Member]) -> Roster {
    members.iter().map(|m| (m.member_id.clone(), m.state())).collect()
}
