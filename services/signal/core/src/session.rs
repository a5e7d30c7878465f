//! One member's session: its owner, the stream that is attached to it, its mailbox and the outcomes of its messages.

use std::{
    collections::{BTreeSet, VecDeque},
    task::Waker,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use signalbox_proto::v1::{Heartbeat, Member, MemberState, ServerMessage, server_message::Body};

use crate::{
    bucket::TokenBucket,
    id::{MemberId, Secret},
    mailbox::{Capacity, Full, Incomplete, Mailbox},
    outcomes::Outcomes,
    permit::Permit,
    sequencer::Entry,
};

/// An encoded `ServerMessage` for a stream. `ack` differs per reader, so it is appended to the shared bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The encoded message without `ack`.
    pub bytes: Bytes,
    /// The `ack` to append; 0 = none.
    pub ack: u64,
}

impl Frame {
    /// Encodes a message for one reader.
    pub fn new(message: &ServerMessage) -> Self {
        Self { bytes: message.encode_to_vec().into(), ack: 0 }
    }

    /// A message without a sequence number.
    pub fn unnumbered(body: Body) -> Self {
        Self::new(&ServerMessage { body: Some(body), ..ServerMessage::default() })
    }

    fn ack_only(ack: u64) -> Self {
        Self { bytes: Bytes::new(), ack }
    }
}

/// The call that a stream belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Bidirectional. Acks and undelivered reports leave on the stream, and HTTP/2 PING detects a dead client.
    Exchange,
    /// Server streaming. Acks and undelivered reports are in the responses to `Send`, and silence means a dead client.
    Subscribe,
}

/// Whether a stream is attached to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Connected(StreamKind),
    SuspendedUntil(Instant),
}

pub(crate) struct Session {
    pub(crate) member: Member,
    pub(crate) secret: Secret,
    pub(crate) permit: Permit,
    /// Number of streams that were attached so far. Calls of an older stream have no effect.
    pub(crate) generation: u64,
    pub(crate) presence: Presence,
    pub(crate) signal_rate: TokenBucket,
    pub(crate) joined: Instant,
    /// Members to whom this one reported a connection before they did.
    pub(crate) reported_peers: BTreeSet<MemberId>,
    pub(crate) outcomes: Outcomes,
    pub(crate) last_received: Instant,
    mailbox: Mailbox,
    last_sent: Instant,
    /// Since when entries wait without the stream taking any.
    stalled_since: Option<Instant>,
    waker: Option<Waker>,
}

impl Session {
    pub(crate) fn new(now: Instant, member: Member, secret: Secret, permit: Permit, kind: StreamKind) -> Self {
        Self {
            member,
            secret,
            permit,
            generation: 1,
            presence: Presence::Connected(kind),
            signal_rate: TokenBucket::full(now),
            joined: now,
            reported_peers: BTreeSet::new(),
            outcomes: Outcomes::new(kind == StreamKind::Exchange),
            last_received: now,
            mailbox: Mailbox::default(),
            last_sent: now,
            stalled_since: None,
            waker: None,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.presence, Presence::Connected(_))
    }

    pub(crate) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    pub(crate) fn set_waker(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    // === mailbox ===

    pub(crate) fn push(&mut self, now: Instant, entry: Entry, capacity: Capacity) -> Result<(), Full> {
        self.mailbox.push(now, entry, capacity)?;
        self.stalled_since = (self.mailbox.waiting() > 0).then(|| self.stalled_since.unwrap_or(now));
        Ok(())
    }

    /// See [`Mailbox::mark_known`].
    pub(crate) fn mark_known(&mut self, seq: u64) {
        self.mailbox.mark_known(seq);
    }

    /// Waiting entries, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.mailbox.waiting(), self.mailbox.waiting_bytes())
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.mailbox.held_bytes()
    }

    pub(crate) fn acknowledge(&mut self, seq: u64) {
        self.mailbox.acknowledge(seq);
        if self.mailbox.waiting() == 0 {
            self.stalled_since = None;
        }
    }

    pub(crate) fn expire(&mut self, now: Instant, retention: Duration) {
        self.mailbox.expire(now, retention);
    }

    /// Whether a stream is attached and has left entries waiting for `timeout` without taking any.
    pub(crate) fn is_stalled(&self, now: Instant, timeout: Duration) -> bool {
        self.is_connected() && self.stalled_since.is_some_and(|since| now.saturating_duration_since(since) >= timeout)
    }

    // === frames for the stream ===

    /// The next frame: undelivered reports before any ack that covers them, then entries.
    pub(crate) fn next_frame(&mut self, now: Instant) -> Option<Frame> {
        let frame = if let Some(report) = self.outcomes.next_report() {
            Frame::unnumbered(Body::Undelivered(report))
        } else {
            let entry = self.mailbox.take(now)?;
            self.stalled_since = (self.mailbox.waiting() > 0).then_some(now);
            Frame { bytes: entry.bytes, ack: self.outcomes.take_ack() }
        };
        self.last_sent = now;
        Some(frame)
    }

    /// A due ack or heartbeat when no other frame waits. `Err`: when the next one is due.
    pub(crate) fn next_idle_frame(&mut self, now: Instant, heartbeat: Duration) -> Result<Frame, Instant> {
        let heartbeat_due = self.last_sent + heartbeat;
        let ack_due = self.outcomes.ack_due();
        let frame = if heartbeat_due <= now {
            Frame { ack: self.outcomes.take_ack(), ..Frame::unnumbered(Body::Heartbeat(Heartbeat {})) }
        } else if ack_due.is_some_and(|due| due <= now) {
            Frame::ack_only(self.outcomes.take_ack())
        } else {
            return Err(ack_due.map_or(heartbeat_due, |due| due.min(heartbeat_due)));
        };
        self.last_sent = now;
        Ok(frame)
    }

    /// What an orderly end still owes the client: all reports, then the last ack.
    pub(crate) fn final_frames(&mut self) -> VecDeque<Frame> {
        let mut frames = VecDeque::new();
        while let Some(report) = self.outcomes.next_report() {
            frames.push_back(Frame::unnumbered(Body::Undelivered(report)));
        }
        frames.extend(self.last_ack());
        frames
    }

    /// The ack that the client has not received yet, if any.
    pub(crate) fn last_ack(&mut self) -> Option<Frame> {
        let ack = self.outcomes.take_ack();
        (ack > 0).then(|| Frame::ack_only(ack))
    }

    // === streams ===

    /// Attaches a new stream that reads on after `after_seq`. Returns how many entries it will replay.
    pub(crate) fn resume(&mut self, now: Instant, kind: StreamKind, after_seq: u64) -> Result<usize, Incomplete> {
        let replayed = self.mailbox.rewind(after_seq)?;
        self.generation += 1;
        self.presence = Presence::Connected(kind);
        self.member.state = MemberState::Connected.into();
        self.outcomes.resume(now, kind == StreamKind::Exchange);
        self.last_received = now;
        self.last_sent = now;
        self.stalled_since = (replayed > 0).then_some(now);
        Ok(replayed)
    }

    /// Continues without a stream.
    pub(crate) fn suspend(&mut self, until: Instant) {
        self.presence = Presence::SuspendedUntil(until);
        self.member.state = MemberState::Suspended.into();
        self.outcomes.suspend();
        self.waker = None;
        self.stalled_since = None;
    }
}
