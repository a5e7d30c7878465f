//! A session's mailbox: a bounded queue of entries that wait for a stream and entries kept for a replay.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::sequencer::{Entry, Subject};

/// Limits on the entries that wait in a mailbox.
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

/// The entries addressed to one session. A cursor separates the entries that a stream has taken from those that wait.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// The entries, oldest first, each with the time when it was added or last taken.
    entries: VecDeque<(Entry, Instant)>,
    /// The cursor: number of leading entries that a stream has taken.
    taken: usize,
    waiting_bytes: usize,
    held_bytes: usize,
    /// Highest sequence number dropped from the front of the queue. A replay cannot start before it.
    floor: u64,
    /// Highest sequence number that a stream has taken.
    delivered: u64,
    /// Highest sequence number whose effect the client may know before it receives the entry. A snapshot or the
    /// client's own signal to a new member can reveal it.
    known: u64,
}

impl Mailbox {
    /// Adds an entry, and drops the oldest taken entries to make space. Fails if the waiting entries leave no space.
    pub(crate) fn push(&mut self, now: Instant, entry: Entry, capacity: Capacity) -> Result<(), Full> {
        // To protect the mailboxes of others, a member's newer update replaces an older one, and its join and leave
        // cancel out if it sent no signal. Entries that the client may know of stay: the client must receive the leave
        // of every member that it has seen.
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

    /// Marks entries up to `seq` as known to the client, so that `push` no longer replaces or cancels them.
    pub(crate) fn mark_known(&mut self, seq: u64) {
        self.known = self.known.max(seq);
    }

    /// Returns the index of the first entry that the client cannot know of. The cursor is not enough, since a rewind
    /// moves it back over delivered entries.
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

    /// Takes the next waiting entry and keeps it for a replay.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Entry> {
        let (entry, at) = self.entries.get_mut(self.taken)?;
        *at = now;
        self.taken += 1;
        self.waiting_bytes -= entry.bytes.len();
        self.delivered = self.delivered.max(entry.seq);
        Some(entry.clone())
    }

    /// Drops the entries up to `seq`, which the client has acknowledged. Entries that no stream has taken stay.
    pub(crate) fn acknowledge(&mut self, seq: u64) {
        let seq = seq.min(self.delivered);
        while self.entries.front().is_some_and(|(entry, _)| entry.seq <= seq) {
            self.drop_oldest();
        }
        self.shrink();
    }

    /// Moves the cursor to the first entry after `seq`, for a replay. Returns the number of waiting entries.
    pub(crate) fn rewind(&mut self, seq: u64) -> Result<usize, Incomplete> {
        if seq < self.floor {
            return Err(Incomplete);
        }
        self.taken = self.entries.partition_point(|(entry, _)| entry.seq <= seq);
        self.waiting_bytes = self.entries.range(self.taken..).map(|(entry, _)| entry.bytes.len()).sum();
        Ok(self.waiting())
    }

    /// Drops entries that a stream took more than `retention` ago.
    pub(crate) fn expire(&mut self, now: Instant, retention: Duration) {
        while self.taken > 0
            && self.entries.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > retention)
        {
            self.drop_oldest();
        }
        self.shrink();
    }

    pub(crate) fn waiting(&self) -> usize {
        self.entries.len() - self.taken
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Returns the size of all entries, waiting and taken, in bytes.
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
            // After a rewind, the client may acknowledge entries that an earlier stream took and that now wait again.
            self.waiting_bytes -= entry.bytes.len();
        }
    }

    /// Frees the buffer that a burst has allocated.
    fn shrink(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 16 {
            self.entries = VecDeque::new();
        }
    }
}
