//! The mailbox of a session: entries that wait for a stream, and entries kept for a replay, in the same bounded memory.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::sequencer::{Entry, Subject};

/// How much may wait in a mailbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

/// A bounded queue has no space left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The mailbox no longer holds every entry that a replay needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Incomplete;

/// The entries addressed to one session, with a cursor: entries before it were taken by a stream, the others wait.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// Oldest first, each with the time when it was added or last taken. The first `taken` were taken by a stream.
    entries: VecDeque<(Entry, Instant)>,
    taken: usize,
    waiting_bytes: usize,
    held_bytes: usize,
    /// Everything up to this number was dropped.
    floor: u64,
    /// Highest number that any stream took.
    delivered: u64,
    /// Highest number whose effect the client may know without having received it: a snapshot showed it, or the client
    /// addressed a signal to a member who had joined by then.
    known: u64,
}

impl Mailbox {
    /// Adds an entry, unless the waiting entries leave no space. Taken entries are dropped for it, oldest first.
    ///
    /// A member must not fill the mailboxes of others with its own state: an update replaces an earlier one, and the
    /// join and leave of a member that sent nothing cancel out. Both apply only to entries above everything that the
    /// client may know of, so a client receives the leave of every member that it may have learned of.
    pub(crate) fn push(&mut self, now: Instant, entry: Entry, capacity: Capacity) -> Result<(), Full> {
        match entry.subject {
            Subject::Updated(_) => self.drop_unseen(|subject| subject == entry.subject),
            Subject::Left(id) if self.has_unseen(Subject::Joined(id)) && !self.has_unseen(Subject::SignalFrom(id)) => {
                self.drop_unseen(|subject| subject == Subject::Joined(id) || subject == Subject::Updated(id));
                return Ok(());
            }
            _ => {}
        }
        let size = entry.bytes.len();
        if self.waiting() >= capacity.entries || self.waiting_bytes + size > capacity.bytes {
            return Err(Full);
        }
        while self.taken > 0 && (self.entries.len() >= capacity.entries || self.held_bytes + size > capacity.bytes) {
            self.drop_oldest();
        }
        self.waiting_bytes += size;
        self.held_bytes += size;
        self.entries.push_back((entry, now));
        Ok(())
    }

    /// Marks everything up to `seq` as known to the client: none of it is merged or dropped from now on.
    pub(crate) fn mark_known(&mut self, seq: u64) {
        self.known = self.known.max(seq);
    }

    /// The first entry that the client cannot know of. Entries that a stream took may wait again after a rewind.
    fn first_unseen(&self) -> usize {
        let known = self.delivered.max(self.known);
        self.entries.partition_point(|(entry, _)| entry.seq <= known)
    }

    fn has_unseen(&self, subject: Subject) -> bool {
        self.entries.range(self.first_unseen()..).any(|(entry, _)| entry.subject == subject)
    }

    fn drop_unseen(&mut self, is_dropped: impl Fn(Subject) -> bool) {
        for index in (self.first_unseen()..self.entries.len()).rev() {
            if is_dropped(self.entries[index].0.subject)
                && let Some((entry, _)) = self.entries.remove(index)
            {
                self.waiting_bytes -= entry.bytes.len();
                self.held_bytes -= entry.bytes.len();
            }
        }
    }

    /// Takes the next waiting entry, which is kept for a replay.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Entry> {
        let (entry, at) = self.entries.get_mut(self.taken)?;
        *at = now;
        self.taken += 1;
        self.waiting_bytes -= entry.bytes.len();
        self.delivered = self.delivered.max(entry.seq);
        Some(entry.clone())
    }

    /// Drops the entries that the client has handled. A client cannot acknowledge what no stream took.
    pub(crate) fn acknowledge(&mut self, seq: u64) {
        let seq = seq.min(self.delivered);
        while self.entries.front().is_some_and(|(entry, _)| entry.seq <= seq) {
            self.drop_oldest();
        }
        self.shrink();
    }

    /// Moves the cursor back to just after `seq`, for a replay. Returns how many entries wait then.
    pub(crate) fn rewind(&mut self, seq: u64) -> Result<usize, Incomplete> {
        if seq < self.floor {
            return Err(Incomplete);
        }
        self.taken = self.entries.partition_point(|(entry, _)| entry.seq <= seq);
        self.waiting_bytes = self.entries.range(self.taken..).map(|(entry, _)| entry.bytes.len()).sum();
        Ok(self.waiting())
    }

    /// Drops entries that were taken longer than `retention` ago.
    pub(crate) fn expire(&mut self, now: Instant, retention: Duration) {
        while self.taken > 0
            && self.entries.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > retention)
        {
            self.drop_oldest();
        }
        self.shrink();
    }

    /// Number of waiting entries.
    pub(crate) fn waiting(&self) -> usize {
        self.entries.len() - self.taken
    }

    /// Bytes of the waiting entries.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of all entries.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn drop_oldest(&mut self) {
        let Some((entry, _)) = self.entries.pop_front() else { return };
        self.floor = entry.seq;
        self.held_bytes -= entry.bytes.len();
        if self.taken > 0 {
            self.taken -= 1;
        } else {
            // Only after a rewind: the client acknowledged entries that an earlier stream took.
            self.waiting_bytes -= entry.bytes.len();
        }
    }

    /// Frees the memory of a burst.
    fn shrink(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 16 {
            self.entries = VecDeque::new();
        }
    }
}
