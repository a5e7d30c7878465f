//! One member's session: its owner, attached stream, mailbox and message outcomes.

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

/// An encoded `ServerMessage` for one stream. `ack` differs per reader, so the encoder appends it to the shared bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The encoded message without `ack`.
    pub bytes: Bytes,
    /// The `ack` to append, or 0 for none.
    pub ack: u64,
}

impl Frame {
    /// Encodes a message for one reader.
    pub fn new(message: &ServerMessage) -> Self {
        Self { bytes: message.encode_to_vec().into(), ack: 0 }
    }

    /// Encodes a message without a sequence number.
    pub fn unnumbered(body: Body) -> Self {
        Self::new(&ServerMessage { body: Some(body), ..ServerMessage::default() })
    }

    fn ack_only(ack: u64) -> Self {
        Self { bytes: Bytes::new(), ack }
    }
}

/// The rpc that a stream belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Bidirectional streaming. The stream carries acks and `undelivered` reports, and HTTP/2 PING detects a dead
    /// client.
    Exchange,
    /// Server streaming. Responses to `Send` carry acks and `undelivered` reports, and a silence timeout detects a dead
    /// client.
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
    /// Identifies the attached stream. Calls of a stream with an older generation have no effect.
    pub(crate) generation: u64,
    pub(crate) presence: Presence,
    pub(crate) signal_rate: TokenBucket,
    pub(crate) joined: Instant,
    /// Peers to which this member was the first to report a connection.
    pub(crate) reported_peers: BTreeSet<MemberId>,
    pub(crate) outcomes: Outcomes,
    pub(crate) last_received: Instant,
    mailbox: Mailbox,
    last_sent: Instant,
    /// Since when entries have waited while the stream took none.
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

    /// Returns the number of waiting entries and their size in bytes.
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

    /// Returns whether entries have waited for `timeout` while the attached stream took none.
    pub(crate) fn is_stalled(&self, now: Instant, timeout: Duration) -> bool {
        self.is_connected() && self.stalled_since.is_some_and(|since| now.saturating_duration_since(since) >= timeout)
    }

    // === frames for the stream ===

    /// Returns the next frame. Reports go first, so that each precedes the ack that covers it.
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

    /// Returns an ack or heartbeat if one is due. `Err` holds the time when the next one is due.
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

    /// Returns the frames that `leave` flushes before the stream ends: all reports, then the last ack.
    pub(crate) fn final_frames(&mut self) -> VecDeque<Frame> {
        let mut frames = VecDeque::new();
        while let Some(report) = self.outcomes.next_report() {
            frames.push_back(Frame::unnumbered(Body::Undelivered(report)));
        }
        frames.extend(self.last_ack());
        frames
    }

    /// Returns the ack that the stream has not sent yet, if any.
    pub(crate) fn last_ack(&mut self) -> Option<Frame> {
        let ack = self.outcomes.take_ack();
        (ack > 0).then(|| Frame::ack_only(ack))
    }

    // === streams ===

    /// Attaches a new stream that reads after `after_seq`. Returns the number of entries that it will replay.
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

    /// Detaches the stream and keeps the session until `until`.
    pub(crate) fn suspend(&mut self, until: Instant) {
        self.presence = Presence::SuspendedUntil(until);
        self.member.state = MemberState::Suspended.into();
        self.outcomes.suspend();
        self.waker = None;
        self.stalled_since = None;
    }
}
