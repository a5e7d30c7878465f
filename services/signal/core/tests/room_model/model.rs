//! The model of a session: the entries that must reach it, and a client that checks the entries it receives.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use signalbox_core::id::{MemberId, Secret};
use signalbox_proto::v1::{LeaveReason, Member, MemberState, ServerMessage, server_message::Body};

use crate::client::{Client, Roster};

/// An entry of a session's mailbox.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Entry {
    Joined(String),
    Updated(String, MemberState),
    Left(String, LeaveReason),
    Signal { from: String, text: String },
}

/// The model of a session, with its client.
pub(crate) struct Session {
    pub(crate) id: MemberId,
    pub(crate) secret: Secret,
    pub(crate) identity: String,
    /// All entries addressed to the session, with sequence numbers.
    pub(crate) inbox: Vec<(u64, Entry)>,
    pub(crate) taken_at: Vec<Instant>,
    /// Number of leading entries that the mailbox has dropped.
    pub(crate) kept_from: usize,
    /// Index of the first waiting entry.
    pub(crate) cursor: usize,
    pub(crate) delivered: u64,
    /// Highest sequence number that the client may know of before it receives the entry.
    pub(crate) known: u64,
    pub(crate) generation: u64,
    pub(crate) suspended_since: Option<Instant>,
    pub(crate) waits_since: Option<Instant>,
    pub(crate) handled: u64,
    /// Messages whose `undelivered` report the current stream has not sent yet.
    pub(crate) unreported: BTreeSet<u64>,
    pub(crate) failed: BTreeSet<u64>,
    /// Entries that the client has processed.
    pub(crate) processed: Vec<(u64, Entry)>,
    pub(crate) last_seq: u64,
    pub(crate) last_ack: u64,
    pub(crate) roster: Roster,
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
            unreported: BTreeSet::new(),
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

    /// Returns whether the mailbox has space for another waiting entry.
    pub(crate) fn fits(&self, cap: usize) -> bool {
        self.inbox.len() - self.cursor < cap
    }

    /// Adds an entry, and drops taken entries to make space. Among entries that the client cannot know of, keeps only a
    /// member's latest update and cancels the join and leave of a member that sent nothing.
    pub(crate) fn deliver(&mut self, now: Instant, seq: u64, entry: Entry, cap: usize) {
        let known = self.delivered.max(self.known);
        match &entry {
            Entry::Updated(id, _) => {
                self.inbox.retain(|(at, n)| *at <= known || !matches!(n, Entry::Updated(of, _) if of == id));
            }
            Entry::Left(id, _) => {
                let mut unseen = self.inbox.iter().filter(|(at, _)| *at > known);
                let sent_signal = unseen.clone().any(|(_, n)| matches!(n, Entry::Signal { from, .. } if from == id));
                if !sent_signal && unseen.any(|(_, n)| *n == Entry::Joined(id.clone())) {
                    let is_about = |n: &Entry| matches!(n, Entry::Joined(of) | Entry::Updated(of, _) if of == id);
                    self.inbox.retain(|(at, n)| *at <= known || !is_about(n));
                    self.waits_since = self.waits_since.filter(|_| self.cursor < self.inbox.len());
                    return;
                }
            }
            Entry::Joined(_) | Entry::Signal { .. } => {}
        }
        while self.inbox.len() - self.kept_from >= cap && self.kept_from < self.cursor {
            self.kept_from += 1;
        }
        self.inbox.push((seq, entry));
        self.waits_since.get_or_insert(now);
    }

    /// Records the outcome of a handled message.
    pub(crate) fn settle(&mut self, seq: u64, failed: bool, ack: u64) {
        if seq != 0 {
            self.handled = seq;
            if failed {
                self.failed.insert(seq);
                self.unreported.insert(seq);
            }
        }
        assert_eq!(ack, self.handled);
    }

    /// Acknowledges all entries up to `seq`.
    pub(crate) fn acknowledge(&mut self, now: Instant, seq: u64) {
        let acked = self.inbox.partition_point(|(at, _)| *at <= seq.min(self.delivered));
        self.kept_from = self.kept_from.max(acked);
        self.cursor = self.cursor.max(self.kept_from);
        self.taken_at.resize(self.cursor.max(self.taken_at.len()), now);
        self.waits_since = self.waits_since.filter(|_| self.cursor < self.inbox.len());
    }

    /// Returns the sequence number of the newest dropped entry.
    pub(crate) fn floor(&self) -> u64 {
        self.kept_from.checked_sub(1).map_or(0, |last| self.inbox[last].0)
    }

    /// Resumes on a new stream that reads after `after`. Returns the number of entries that it will replay.
    pub(crate) fn resume(&mut self, now: Instant, after: u64) -> usize {
        self.cursor = self.inbox.partition_point(|(seq, _)| *seq <= after).max(self.kept_from);
        self.generation += 1;
        self.unreported = self.failed.clone();
        self.last_ack = 0;
        let replayed = self.inbox.len() - self.cursor;
        self.waits_since = (replayed > 0).then_some(now);
        self.suspended_since = None;
        replayed
    }

    /// Drops entries that a stream took more than `retention` ago.
    pub(crate) fn expire(&mut self, now: Instant, retention: Duration) {
        while self.kept_from < self.cursor && now - self.taken_at[self.kept_from] > retention {
            self.kept_from += 1;
        }
    }

    /// Receives a message, which must be the next one of the model.
    pub(crate) fn receive(&mut self, now: Instant, message: ServerMessage) {
        if message.ack > 0 {
            assert!(message.ack <= self.handled, "ack of an unhandled message");
            assert!(message.ack > self.last_ack, "acks must rise");
            assert!(self.unreported.is_empty(), "ack before the `undelivered` that it covers");
            self.last_ack = message.ack;
        }
        let from = message.from.clone();
        let entry = match message.body {
            Some(Body::Undelivered(undelivered)) => {
                if undelivered.client_seq != 0 {
                    assert!(self.failed.contains(&undelivered.client_seq));
                    self.unreported.remove(&undelivered.client_seq);
                }
                return;
            }
            None | Some(Body::Heartbeat(_)) => return,
            Some(Body::MemberJoined(joined)) => Entry::Joined(joined.member.unwrap().member_id),
            Some(Body::MemberUpdated(updated)) => {
                let member = updated.member.unwrap();
                Entry::Updated(member.member_id.clone(), member.state())
            }
            Some(Body::MemberLeft(left)) => Entry::Left(left.member_id.clone(), left.reason()),
            Some(Body::Offer(offer)) => Entry::Signal { from, text: offer.sdp },
            Some(Body::Data(data)) => Entry::Signal { from, text: data.text },
            other => panic!("unexpected {other:?}"),
        };
        let expected = self.inbox.get(self.cursor).expect("an entry is waiting");
        assert_eq!((message.seq, &entry), (expected.0, &expected.1), "the stream follows the mailbox");
        match self.taken_at.get_mut(self.cursor) {
            Some(at) => *at = now,
            None => self.taken_at.push(now),
        }
        self.cursor += 1;
        self.delivered = self.delivered.max(message.seq);
        self.waits_since = (self.cursor < self.inbox.len()).then_some(now);
        let is_new = message.seq > self.last_seq;
        self.client.receive(is_new.then_some(&entry));
        if !is_new {
            return;
        }
        self.last_seq = message.seq;
        match &entry {
            Entry::Joined(id) => assert!(self.roster.insert(id.clone(), MemberState::Connected).is_none()),
            Entry::Updated(id, state) => assert!(self.roster.insert(id.clone(), *state).is_some()),
            Entry::Left(id, _) => assert!(self.roster.remove(id).is_some()),
            Entry::Signal { from, .. } => assert!(self.roster.contains_key(from), "signal of a non-member"),
        }
        self.processed.push((message.seq, entry));
        assert_eq!(self.processed[..], self.inbox[..self.processed.len()], "a prefix without gaps");
    }
}

/// Converts a snapshot to a roster.
pub(crate) fn roster(members: &[Member]) -> Roster {
    members.iter().map(|m| (m.member_id.clone(), m.state())).collect()
}
