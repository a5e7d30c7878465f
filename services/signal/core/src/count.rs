//! Counters of a room, for metrics and room records. They are plain integers because the room's lock protects them.

use prost::Message;
use signalbox_proto::{
    undelivered,
    v1::{LeaveReason, server_message::Body},
};

use crate::{id::MemberId, room::Room, session::Session};

/// The kind of a signal, used as an index into [`Counts::accepted`] and [`SIGNAL_KINDS`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum SignalKind {
    Offer,
    Answer,
    Candidate,
    Data,
}

impl SignalKind {
    pub(crate) fn of(signal: &Body) -> Self {
        match signal {
            Body::Offer(_) => Self::Offer,
            Body::Answer(_) => Self::Answer,
            Body::Candidate(_) => Self::Candidate,
            _ => Self::Data,
        }
    }
}

/// Labels of the signal kinds, in the order of [`Counts::accepted`].
pub const SIGNAL_KINDS: [&str; 4] = ["offer", "answer", "candidate", "data"];
/// Reasons for undelivered messages, in the order of [`Counts::undelivered`].
pub const UNDELIVERED_REASONS: [&str; 6] = [
    undelivered::FORBIDDEN,
    undelivered::MAILBOX_FULL,
    undelivered::NO_SUCH_MEMBER,
    undelivered::RATE_LIMITED,
    undelivered::TARGET_REQUIRED,
    undelivered::TOO_LARGE,
];
/// Length of [`Counts::ended`], which has one counter per `LeaveReason`.
const LEAVE_REASONS: usize = LeaveReason::ServerLost as usize + 1;

/// Event counters of a room since it became live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Signals accepted into a mailbox, by kind. A broadcast counts once per addressee.
    pub accepted: [u64; SIGNAL_KINDS.len()],
    /// `undelivered` reports by reason, one per addressee.
    pub undelivered: [u64; UNDELIVERED_REASONS.len()],
    /// Sessions opened.
    pub opened: u64,
    /// Sessions ended, by `LeaveReason`.
    pub ended: [u64; LEAVE_REASONS],
    /// Sessions resumed.
    pub resumed: u64,
    /// Pairs of sessions with a reported peer connection.
    pub calls: u64,
    /// Highest number of entries that waited in one mailbox.
    pub max_waiting_entries: u64,
    /// Highest number of bytes that waited in one mailbox.
    pub max_waiting_bytes: u64,
}

impl Counts {
    pub(crate) fn record_waiting(&mut self, (entries, bytes): (usize, usize)) {
        self.max_waiting_entries = self.max_waiting_entries.max(entries as u64);
        self.max_waiting_bytes = self.max_waiting_bytes.max(bytes as u64);
    }

    pub(crate) fn add_ended(&mut self, reason: LeaveReason) {
        if let Some(count) = self.ended.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub(crate) fn add_undelivered(&mut self, reason: &str) {
        if let Some(index) = UNDELIVERED_REASONS.iter().position(|known| *known == reason) {
            self.undelivered[index] += 1;
        }
    }

    /// Adds another room's counters: sums the totals and keeps the larger maxima.
    pub fn add(&mut self, other: &Self) {
        let sum = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        sum(&mut self.accepted, &other.accepted);
        sum(&mut self.undelivered, &other.undelivered);
        sum(&mut self.ended, &other.ended);
        self.opened += other.opened;
        self.resumed += other.resumed;
        self.calls += other.calls;
        self.max_waiting_entries = self.max_waiting_entries.max(other.max_waiting_entries);
        self.max_waiting_bytes = self.max_waiting_bytes.max(other.max_waiting_bytes);
    }
}

impl Room {
    /// Returns the counters since the room became live.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns the number of bytes in a member's mailbox.
    pub fn held_bytes_of(&self, id: MemberId) -> Option<usize> {
        self.sessions.get(&id).map(Session::held_bytes)
    }

    /// Returns a lower bound of the bytes that the room holds: all members plus the largest mailbox. Mailboxes share
    /// encoded entries, so a sum over them would count shared bytes repeatedly.
    pub fn held_bytes(&self) -> usize {
        let members: usize = self.sessions.values().map(|session| session.member.encoded_len()).sum();
        members + self.sessions.values().map(Session::held_bytes).max().unwrap_or_default()
    }
}
