//! What a room counts, in plain numbers that whoever looks collects: nothing is shared, and nothing is sent anywhere.

use signalbox_proto::{undelivered, v1::LeaveReason};

/// Kinds of signals, in the order of [`Counts::accepted`].
pub const KINDS: [&str; 4] = ["offer", "answer", "candidate", "data"];
/// Why signals are not delivered, in the order of [`Counts::undelivered`].
pub const REASONS: [&str; 6] = [
    undelivered::FORBIDDEN,
    undelivered::MAILBOX_FULL,
    undelivered::NO_SUCH_MEMBER,
    undelivered::RATE_LIMITED,
    undelivered::TARGET_REQUIRED,
    undelivered::TOO_LARGE,
];

/// What happened in a room since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Signals put into a mailbox, by kind: one for all others counts once for each of them.
    pub accepted: [u64; KINDS.len()],
    /// What was reported as undelivered, by reason: once for each addressee who did not get it.
    pub undelivered: [u64; REASONS.len()],
    /// Sessions opened.
    pub opened: u64,
    /// Sessions ended, by `LeaveReason`.
    pub ended: [u64; LeaveReason::ServerLost as usize + 1],
    /// Sessions continued on another stream.
    pub resumed: u64,
    /// Pairs of sessions that reported a connection between them.
    pub calls: u64,
    /// Most entries that ever waited for one session.
    pub most_entries: u64,
    /// Most bytes that ever waited for one session.
    pub most_bytes: u64,
}

impl Counts {
    /// So much waits for a session.
    pub(super) fn waits(&mut self, (entries, bytes): (usize, usize)) {
        self.most_entries = self.most_entries.max(entries as u64);
        self.most_bytes = self.most_bytes.max(bytes as u64);
    }

    /// Something was not delivered.
    pub(super) fn refused(&mut self, reason: &str) {
        if let Some(index) = REASONS.iter().position(|known| *known == reason) {
            self.undelivered[index] += 1;
        }
    }

    /// Adds what another room has counted.
    pub fn add(&mut self, other: &Self) {
        let sum = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        sum(&mut self.accepted, &other.accepted);
        sum(&mut self.undelivered, &other.undelivered);
        sum(&mut self.ended, &other.ended);
        self.opened += other.opened;
        self.resumed += other.resumed;
        self.calls += other.calls;
        self.most_entries = self.most_entries.max(other.most_entries);
        self.most_bytes = self.most_bytes.max(other.most_bytes);
    }
}
