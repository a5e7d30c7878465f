//! One member's session: who it is, which stream carries it, what it has read of the log, what became of what it said.

use std::{
    collections::{BTreeSet, VecDeque},
    task::Waker,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use signalbox_proto::v1::{Member, MemberState, ServerMessage, Undelivered, server_message::Body};

use super::{
    Permit,
    id::{MemberId, Secret},
    log::{Cap, Entry, Full, View},
};
use crate::{
    error::Error,
    limit::{Bucket, Limits},
    mutant::{self, Mutant},
};

/// An ack leaves at most this much after the message that it acknowledges...
const ACK_DELAY: Duration = Duration::from_millis(50);
/// ... or this many messages after it, whichever is first.
const ACK_EVERY: u32 = 32;
/// Outcomes of unnumbered messages that may wait for the stream to take them; those of numbered ones are bounded by the
/// client's window. A client that sends faster than it reads them is too slow.
const MAX_WAITING_OUTCOMES: usize = 1024;

/// An encoded `ServerMessage` on its way out; `ack` is per reader and is appended to the shared bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The encoded message without `ack`.
    pub bytes: Bytes,
    /// The `ack` to append; 0 = none.
    pub ack: u64,
}

impl Frame {
    /// Encodes a message of one reader's own.
    pub fn new(message: &ServerMessage) -> Self {
        Self { bytes: message.encode_to_vec().into(), ack: 0 }
    }

    /// A message that is not part of the log.
    pub fn unlogged(body: Body) -> Self {
        Self::new(&ServerMessage { body: Some(body), ..ServerMessage::default() })
    }
}

/// What kind of stream carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Bidirectional: acks and undelivered leave on it. HTTP/2 PING watches it.
    Exchange,
    /// One way: acks and undelivered are in the responses to `Send`, and silence means that it is lost.
    Subscribe,
}

/// Whether a stream carries the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Connected(Carrier),
    SuspendedUntil(Instant),
}

/// What to do with a numbered message.
pub(super) enum Admission {
    /// Handle it.
    New,
    /// It was handled before; this became of it.
    Again(Vec<Undelivered>),
}

pub(super) struct Session {
    pub(super) member: Member,
    pub(super) secret: Secret,
    /// Counts the streams that have carried the session; a late event of an older one does nothing.
    pub(super) permit: Permit,
    pub(super) generation: u64,
    pub(super) presence: Presence,
    pub(super) bucket: Bucket,
    pub(super) joined: Instant,
    /// Members to whom this one reported a connection before they did.
    pub(super) met: BTreeSet<MemberId>,
    view: View,
    /// Highest client message that was handled.
    handled: u64,
    /// What was not delivered: kept for as long as the client may ask again, and queue to the stream in one. The first
    /// `told` of them were given to the stream.
    outcomes: VecDeque<Undelivered>,
    told: usize,
    /// Highest message whose outcome was given to any stream.
    ever_told: u64,
    /// Highest ack given to the stream, and when the next is due.
    acked: u64,
    ack_due: Option<Instant>,
    ack_owed: u32,
    pub(super) last_heard: Instant,
    last_said: Instant,
    /// Since when entries wait without any being taken.
    stalled_since: Option<Instant>,
    waker: Option<Waker>,
}

impl Session {
    pub(super) fn new(now: Instant, member: Member, secret: Secret, permit: Permit, carrier: Carrier) -> Self {
        Self {
            member,
            secret,
            permit,
            generation: 1,
            presence: Presence::Connected(carrier),
            bucket: Bucket::full(now),
            joined: now,
            met: BTreeSet::new(),
            view: View::default(),
            handled: 0,
            outcomes: VecDeque::new(),
            told: 0,
            ever_told: 0,
            acked: 0,
            ack_due: None,
            ack_owed: 0,
            last_heard: now,
            last_said: now,
            stalled_since: None,
            waker: None,
        }
    }

    /// Adds an entry to what waits for this session.
    pub(super) fn push(&mut self, now: Instant, entry: Entry, cap: Cap) -> Result<(), Full> {
        self.view.push(now, entry, cap)?;
        self.stalled_since = (self.view.waiting() > 0).then(|| self.stalled_since.unwrap_or(now));
        Ok(())
    }

    /// The client may know everything up to `seq`; see [`View::mark_known`].
    pub(super) fn mark_known(&mut self, seq: u64) {
        self.view.mark_known(seq);
    }

    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    pub(super) fn handled(&self) -> u64 {
        self.handled
    }

    /// Entries that wait to be taken, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.view.waiting(), self.view.waiting_bytes())
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.view.kept_bytes()
    }

    /// Drops what the client says it has processed.
    pub(super) fn acknowledge(&mut self, seq: u64) {
        self.view.acknowledge(seq);
        if self.view.waiting() == 0 {
            self.stalled_since = None;
        }
    }

    pub(super) fn expire(&mut self, now: Instant, retention: Duration) {
        self.view.expire(now, retention);
    }

    /// Whether a stream is there and has taken nothing for `timeout` of what waits.
    pub(super) fn stalls(&self, now: Instant, timeout: Duration) -> bool {
        self.is_connected() && self.stalled_since.is_some_and(|since| now.saturating_duration_since(since) >= timeout)
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.presence, Presence::Connected(_))
    }

    fn tells_outcomes(&self) -> bool {
        self.presence == Presence::Connected(Carrier::Exchange)
    }

    // === what the client says ===

    /// Looks at a message's number before it is handled.
    pub(super) fn admit(&mut self, now: Instant, seq: u64) -> Result<Admission, Error> {
        if seq == 0 || seq == self.handled + 1 || (mutant::is(Mutant::NoDedupe) && seq <= self.handled) {
            return Ok(Admission::New);
        }
        if seq > self.handled {
            return Err(Error::SeqGap { expected: self.handled + 1 });
        }
        let again: Vec<_> = self.outcomes.iter().filter(|o| o.client_seq == seq).cloned().collect();
        if self.tells_outcomes() && !again.is_empty() {
            self.told = 0;
        }
        // The client asks because it has not seen the ack.
        self.acked = self.acked.min(seq - 1);
        self.owe_ack(now);
        Ok(Admission::Again(again))
    }

    /// Remembers what became of a message. `Full`: too many outcomes wait for the client to read them.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        seq: u64,
        undelivered: &[Undelivered],
        limits: &Limits,
    ) -> Result<(), Full> {
        if seq != 0 || self.tells_outcomes() {
            self.outcomes.extend(undelivered.iter().cloned());
        }
        if seq != 0 {
            self.handled = self.handled.max(seq);
            self.owe_ack(now);
        }
        // A client that keeps to its window cannot ask again for what is older.
        let window = u64::from(limits.max_unacked);
        while let Some(oldest) =
            self.outcomes.front().filter(|o| o.client_seq != 0 && o.client_seq + window <= self.handled)
        {
            if self.tells_outcomes() && oldest.client_seq > self.ever_told {
                return Err(Full);
            }
            self.outcomes.pop_front();
            self.told = self.told.saturating_sub(1);
        }
        let unnumbered = if seq == 0 { self.outcomes.iter().filter(|o| o.client_seq == 0).count() } else { 0 };
        if unnumbered > MAX_WAITING_OUTCOMES { Err(Full) } else { Ok(()) }
    }

    fn owe_ack(&mut self, now: Instant) {
        self.ack_owed += 1;
        if self.ack_owed >= ACK_EVERY {
            self.ack_due = Some(now);
        } else {
            self.ack_due.get_or_insert(now + ACK_DELAY);
        }
    }

    /// Whether the stream should look: to tell an outcome, to arm the timer of an ack, or because one is due.
    pub(super) fn wants_stream(&self) -> bool {
        self.tells_outcomes() && (self.told < self.outcomes.len() || self.ack_owed == 1 || self.ack_owed == ACK_EVERY)
    }

    // === what the stream takes ===

    /// The next frame for the stream: outcomes before any ack that covers them, then entries.
    pub(super) fn next(&mut self, now: Instant) -> Option<Frame> {
        let frame = if let Some(undelivered) = self.next_outcome() {
            Frame::unlogged(Body::Undelivered(undelivered))
        } else {
            let entry = self.view.take(now)?;
            self.stalled_since = (self.view.waiting() > 0).then_some(now);
            Frame { bytes: entry.bytes, ack: self.take_ack() }
        };
        self.last_said = now;
        Some(frame)
    }

    /// A due ack or heartbeat, when there is nothing else to say; else when the next will be due.
    pub(super) fn next_idle(&mut self, now: Instant, heartbeat: Duration) -> Result<Frame, Instant> {
        let ack_due = self.ack_due.filter(|_| self.tells_outcomes() && self.handled > self.acked);
        let beat_due = self.last_said + heartbeat;
        if beat_due <= now {
            self.last_said = now;
            return Ok(Frame {
                ack: self.take_ack(),
                ..Frame::unlogged(Body::Heartbeat(signalbox_proto::v1::Heartbeat {}))
            });
        }
        match ack_due {
            Some(due) if due <= now => {
                self.last_said = now;
                Ok(Frame { bytes: Bytes::new(), ack: self.take_ack() })
            }
            Some(due) => Err(due.min(beat_due)),
            None => Err(beat_due),
        }
    }

    /// What an orderly end still owes the client: outcomes and the last ack, in that order.
    pub(super) fn farewell(&mut self) -> VecDeque<Frame> {
        let mut frames = VecDeque::new();
        while let Some(outcome) = self.next_outcome() {
            frames.push_back(Frame::unlogged(Body::Undelivered(outcome)));
        }
        frames.extend(self.last_ack());
        frames
    }

    /// The ack that is owed, if any.
    pub(super) fn last_ack(&mut self) -> Option<Frame> {
        let ack = self.take_ack();
        (ack > 0).then(|| Frame { bytes: Bytes::new(), ack })
    }

    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    fn next_outcome(&mut self) -> Option<Undelivered> {
        if !self.tells_outcomes() {
            return None;
        }
        let outcome = self.outcomes.get(self.told)?.clone();
        if outcome.client_seq == 0 {
            // Nobody can ask again for an unnumbered message.
            self.outcomes.remove(self.told);
        } else {
            self.ever_told = self.ever_told.max(outcome.client_seq);
            self.told += 1;
        }
        Some(outcome)
    }

    /// Called when no outcome waits, so none can come after the ack that covers it.
    fn take_ack(&mut self) -> u64 {
        if !self.tells_outcomes() || self.handled <= self.acked {
            return 0;
        }
        self.acked = self.handled;
        self.ack_owed = 0;
        self.ack_due = None;
        self.acked
    }

    // === streams come and go ===

    /// Continues on a new stream, after `after_seq`; says how many entries are replayed.
    pub(super) fn resume(
        &mut self,
        now: Instant,
        carrier: Carrier,
        after_seq: u64,
    ) -> Result<usize, super::log::Incomplete> {
        let replayed = self.view.rewind(after_seq)?;
        self.generation += 1;
        self.presence = Presence::Connected(carrier);
        self.member.state = MemberState::Connected.into();
        self.last_heard = now;
        self.last_said = now;
        self.stalled_since = (replayed > 0).then_some(now);
        // What the lost stream may have swallowed: every outcome is told again, and then an ack settles them.
        self.told = 0;
        self.acked = 0;
        self.ack_owed = 0;
        self.ack_due = (self.handled > 0).then_some(now);
        Ok(replayed)
    }

    /// Goes on without a stream.
    pub(super) fn suspend(&mut self, until: Instant) {
        self.presence = Presence::SuspendedUntil(until);
        self.member.state = MemberState::Suspended.into();
        self.waker = None;
        self.stalled_since = None;
        // Unnumbered outcomes were for this stream only.
        self.outcomes.retain(|outcome| outcome.client_seq != 0);
        self.told = self.told.min(self.outcomes.len());
    }
}
