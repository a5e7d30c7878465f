//! The mailbox of a session: entries that wait for a stream, and entries kept for a replay, in the same bounded memory.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MemberId;

    const CAPACITY: Capacity = Capacity { entries: 4, bytes: 100 };

    fn entry(seq: u64, size: usize) -> Entry {
        Entry { seq, subject: Subject::SignalFrom(MemberId::new([0; 12])), bytes: vec![0; size].into() }
    }

    #[test]
    fn waiting_entries_are_never_dropped_but_taken_ones_are() {
        let now = Instant::now();
        let mut mailbox = Mailbox::default();
        for seq in 1..=4 {
            assert_eq!(mailbox.push(now, entry(seq, 10), CAPACITY), Ok(()));
        }
        assert_eq!(mailbox.push(now, entry(5, 10), CAPACITY), Err(Full));
        assert_eq!(mailbox.take(now).map(|e| e.seq), Some(1));
        assert_eq!(mailbox.push(now, entry(5, 10), CAPACITY), Ok(()));
        assert_eq!(mailbox.rewind(0), Err(Incomplete), "entry 1 was dropped for entry 5");
        assert_eq!(mailbox.rewind(1), Ok(4));
        assert_eq!((0..4).filter_map(|_| mailbox.take(now)).map(|e| e.seq).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert!(mailbox.take(now).is_none());
    }

    #[test]
    fn bytes_are_limited() {
        let now = Instant::now();
        let mut mailbox = Mailbox::default();
        assert_eq!(mailbox.push(now, entry(1, 100), CAPACITY), Ok(()));
        assert_eq!(mailbox.push(now, entry(2, 1), CAPACITY), Err(Full));
        mailbox.take(now);
        assert_eq!(mailbox.push(now, entry(2, 1), CAPACITY), Ok(()));
        assert_eq!(mailbox.held_bytes(), 1);
    }

    #[test]
    fn acknowledging_never_drops_an_entry_that_no_stream_took() {
        let now = Instant::now();
        let mut mailbox = Mailbox::default();
        mailbox.push(now, entry(3, 1), CAPACITY).expect("there is space");
        mailbox.push(now, entry(4, 1), CAPACITY).expect("there is space");
        mailbox.take(now);
        mailbox.acknowledge(4);
        assert_eq!(mailbox.waiting(), 1);
        assert_eq!(mailbox.take(now).map(|e| e.seq), Some(4));
        assert_eq!(mailbox.rewind(3), Ok(1));
        assert_eq!(mailbox.rewind(2), Err(Incomplete));
    }

    #[test]
    fn updates_and_visits_of_a_member_do_not_fill_mailboxes() {
        let now = Instant::now();
        let mut mailbox = Mailbox::default();
        let id = MemberId::new([0; 12]);
        let mut seq = 0;
        let mut push = |mailbox: &mut Mailbox, subject| {
            seq += 1;
            mailbox.push(now, Entry { seq, subject, bytes: vec![0; 10].into() }, CAPACITY)
        };
        let read =
            |mailbox: &mut Mailbox| -> Vec<_> { std::iter::from_fn(|| mailbox.take(now)).map(|e| e.subject).collect() };
        // Updates replace each other, and an unseen visit leaves nothing.
        for subject in [
            Subject::Joined(id),
            Subject::Updated(id),
            Subject::Updated(id),
            Subject::Updated(id),
            Subject::Updated(id),
        ] {
            assert_eq!(push(&mut mailbox, subject), Ok(()));
        }
        assert_eq!(mailbox.waiting(), 2);
        assert_eq!(push(&mut mailbox, Subject::Left(id)), Ok(()));
        assert_eq!((mailbox.waiting(), mailbox.held_bytes()), (0, 0));
        // The leave of a member that sent a signal, or was seen, is delivered.
        for subject in [Subject::Joined(id), Subject::SignalFrom(id), Subject::Left(id)] {
            assert_eq!(push(&mut mailbox, subject), Ok(()));
        }
        assert_eq!(read(&mut mailbox), [Subject::Joined(id), Subject::SignalFrom(id), Subject::Left(id)]);
        assert_eq!(push(&mut mailbox, Subject::Joined(id)), Ok(()));
        assert_eq!(read(&mut mailbox), [Subject::Joined(id)]);
        assert_eq!(push(&mut mailbox, Subject::Left(id)), Ok(()));
        assert_eq!(read(&mut mailbox), [Subject::Left(id)]);
    }

    #[test]
    fn taken_entries_are_kept_for_the_retention_only() {
        let now = Instant::now();
        let mut mailbox = Mailbox::default();
        mailbox.push(now, entry(1, 1), CAPACITY).expect("there is space");
        mailbox.push(now, entry(2, 1), CAPACITY).expect("there is space");
        mailbox.take(now);
        let second = Duration::from_secs(1);
        mailbox.expire(now + second, second);
        assert_eq!(mailbox.rewind(0), Ok(2));
        mailbox.take(now);
        mailbox.expire(now + 2 * second, second);
        assert_eq!(mailbox.rewind(0), Err(Incomplete));
        assert_eq!(mailbox.rewind(1), Ok(1), "waiting entries do not age");
    }
}
