//! The room's log and a session's view of it.
//!
//! An entry is encoded once, when it is appended; every reader shares the bytes. A view is the log filtered to what is
//! addressed to one session, with a cursor: entries before the cursor were taken by a stream and are kept for a
//! replay, entries after it wait. Replay and outgoing queue are so the same memory, and it is bounded.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use signalbox_proto::v1::{ServerMessage, server_message::Body};

use super::id::MemberId;
use crate::mutant::{self, Mutant};

/// What an entry says, and of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Joined(MemberId),
    Updated(MemberId),
    Left(MemberId),
    SignalOf(MemberId),
}

/// An entry of the log.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its position.
    pub(super) seq: u64,
    pub(super) about: About,
    /// The encoded `ServerMessage`, without `ack`, which each reader appends.
    pub(super) bytes: Bytes,
}

/// Numbers and encodes what happens in a room.
#[derive(Debug, Default)]
pub(super) struct Log {
    head: u64,
}

impl Log {
    /// Position of the newest entry; 0 before the first.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Encodes what would be the next entry. It takes its place with `commit`.
    pub(super) fn draft(&self, about: About, negotiation: u64, body: Body) -> Entry {
        let seq = self.head + 1;
        let from = if let About::SignalOf(id) = about { id.to_string() } else { String::new() };
        let message = ServerMessage { seq, ack: 0, from, negotiation, body: Some(body) };
        Entry { seq, about, bytes: message.encode_to_vec().into() }
    }

    /// Makes a draft the newest entry.
    pub(super) fn commit(&mut self, entry: &Entry) {
        debug_assert_eq!(entry.seq, self.head + 1, "drafts are committed at once");
        self.head = entry.seq;
    }
}

/// How much may wait in a view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cap {
    /// Entries.
    pub(super) entries: usize,
    /// Bytes.
    pub(super) bytes: usize,
}

/// The view has no room for an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The view no longer holds what a replay would need.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incomplete;

/// A session's view of the log.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Oldest first; the first `taken` were taken by a stream.
    entries: VecDeque<(Entry, Instant)>,
    taken: usize,
    waiting_bytes: usize,
    kept_bytes: usize,
    /// Everything up to here was dropped.
    floor: u64,
    /// Highest position that a stream was ever given.
    delivered: u64,
    /// Highest position whose effect the client may know without having read it: a snapshot showed it, or the client
    /// addressed a signal to a member who had joined by then.
    known: u64,
}

impl View {
    /// Adds an entry. Full: it is not added. What was taken makes place for what waits, oldest first.
    ///
    /// What members do to themselves must not fill the mailboxes of others: an update replaces an earlier one, and a
    /// visit (join, updates and leave) without a signal is dropped. Both apply only to entries above everything that
    /// the client may know of, so a client receives the leave of every member that it may have learned of.
    pub(super) fn push(&mut self, now: Instant, entry: Entry, cap: Cap) -> Result<(), Full> {
        match entry.about {
            About::Updated(_) => self.forget_unseen(|about| about == entry.about),
            About::Left(id) if self.is_unseen(About::Joined(id)) && !self.is_unseen(About::SignalOf(id)) => {
                self.forget_unseen(|about| about == About::Joined(id) || about == About::Updated(id));
                return Ok(());
            }
            _ => {}
        }
        let size = entry.bytes.len();
        let full = self.waiting() >= cap.entries || self.waiting_bytes + size > cap.bytes;
        if full && !mutant::is(Mutant::UnboundedQueue) {
            return Err(Full);
        }
        while self.taken > 0 && (self.entries.len() >= cap.entries || self.kept_bytes + size > cap.bytes) {
            self.drop_oldest();
        }
        self.waiting_bytes += size;
        self.kept_bytes += size;
        self.entries.push_back((entry, now));
        if mutant::is(Mutant::SwapTwo) && self.waiting() > 1 {
            let last = self.entries.len() - 1;
            self.entries.swap(last, last - 1);
        }
        Ok(())
    }

    /// Marks everything up to `seq` as known to the client: none of it is merged or dropped from now on.
    pub(super) fn mark_known(&mut self, seq: u64) {
        if !mutant::is(Mutant::MergeKnown) {
            self.known = self.known.max(seq);
        }
    }

    /// The first entry that the client cannot know of. Entries that a stream was given may wait again after a rewind.
    fn first_unseen(&self) -> usize {
        let known = self.delivered.max(self.known);
        self.entries.partition_point(|(entry, _)| entry.seq <= known)
    }

    fn is_unseen(&self, about: About) -> bool {
        self.entries.range(self.first_unseen()..).any(|(entry, _)| entry.about == about)
    }

    fn forget_unseen(&mut self, forget: impl Fn(About) -> bool) {
        for index in (self.first_unseen()..self.entries.len()).rev() {
            if forget(self.entries[index].0.about)
                && let Some((entry, _)) = self.entries.remove(index)
            {
                self.waiting_bytes -= entry.bytes.len();
                self.kept_bytes -= entry.bytes.len();
            }
        }
    }

    /// The next waiting entry; it stays for a replay.
    pub(super) fn take(&mut self, now: Instant) -> Option<Entry> {
        let (entry, at) = self.entries.get_mut(self.taken)?;
        *at = now;
        self.taken += 1;
        self.waiting_bytes -= entry.bytes.len();
        self.delivered = self.delivered.max(entry.seq);
        Some(entry.clone())
    }

    /// Drops what the client has processed. Only what was given to a stream can have been.
    pub(super) fn acknowledge(&mut self, seq: u64) {
        let seq = seq.min(self.delivered);
        while self.entries.front().is_some_and(|(entry, _)| entry.seq <= seq) {
            self.drop_oldest();
        }
        self.shrink();
    }

    /// Moves the cursor back to just after `seq`, for a replay; says how many entries wait then.
    pub(super) fn rewind(&mut self, seq: u64) -> Result<usize, Incomplete> {
        if seq < self.floor {
            return Err(Incomplete);
        }
        self.taken = self.entries.partition_point(|(entry, _)| entry.seq <= seq);
        if mutant::is(Mutant::ReplayOffByOne) {
            self.taken = self.entries.len().min(self.taken + 1);
        }
        self.waiting_bytes = self.entries.range(self.taken..).map(|(entry, _)| entry.bytes.len()).sum();
        Ok(self.waiting())
    }

    /// Drops what was taken longer than `retention` ago.
    pub(super) fn expire(&mut self, now: Instant, retention: Duration) {
        while self.taken > 0
            && self.entries.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > retention)
        {
            self.drop_oldest();
        }
        self.shrink();
    }

    /// How many entries wait.
    pub(super) fn waiting(&self) -> usize {
        self.entries.len() - self.taken
    }

    /// Bytes of those.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of all that is held.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    fn drop_oldest(&mut self) {
        let Some((entry, _)) = self.entries.pop_front() else { return };
        self.floor = entry.seq;
        self.kept_bytes -= entry.bytes.len();
        if self.taken > 0 {
            self.taken -= 1;
        } else {
            // Only after a rewind: the client acknowledged what it was given before.
            self.waiting_bytes -= entry.bytes.len();
        }
    }

    /// Gives back the memory of a burst.
    fn shrink(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 16 {
            self.entries = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Cap = Cap { entries: 4, bytes: 100 };

    fn entry(seq: u64, size: usize) -> Entry {
        Entry { seq, about: About::SignalOf(MemberId::new([0; 12])), bytes: vec![0; size].into() }
    }

    #[test]
    fn what_waits_is_never_dropped_and_what_was_taken_makes_place() {
        let now = Instant::now();
        let mut view = View::default();
        for seq in 1..=4 {
            assert_eq!(view.push(now, entry(seq, 10), CAP), Ok(()));
        }
        assert_eq!(view.push(now, entry(5, 10), CAP), Err(Full));
        assert_eq!(view.take(now).map(|e| e.seq), Some(1));
        assert_eq!(view.push(now, entry(5, 10), CAP), Ok(()));
        assert_eq!(view.rewind(0), Err(Incomplete), "entry 1 made place for entry 5");
        assert_eq!(view.rewind(1), Ok(4));
        assert_eq!((0..4).filter_map(|_| view.take(now)).map(|e| e.seq).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert!(view.take(now).is_none());
    }

    #[test]
    fn bytes_are_capped_too() {
        let now = Instant::now();
        let mut view = View::default();
        assert_eq!(view.push(now, entry(1, 100), CAP), Ok(()));
        assert_eq!(view.push(now, entry(2, 1), CAP), Err(Full));
        view.take(now);
        assert_eq!(view.push(now, entry(2, 1), CAP), Ok(()));
        assert_eq!(view.kept_bytes(), 1);
    }

    #[test]
    fn an_acknowledgement_never_drops_what_no_stream_was_given() {
        let now = Instant::now();
        let mut view = View::default();
        view.push(now, entry(3, 1), CAP).expect("there is room");
        view.push(now, entry(4, 1), CAP).expect("there is room");
        view.take(now);
        view.acknowledge(4);
        assert_eq!(view.waiting(), 1);
        assert_eq!(view.take(now).map(|e| e.seq), Some(4));
        assert_eq!(view.rewind(3), Ok(1));
        assert_eq!(view.rewind(2), Err(Incomplete));
    }

    #[test]
    fn what_members_do_to_themselves_does_not_fill_mailboxes() {
        let now = Instant::now();
        let mut view = View::default();
        let id = MemberId::new([0; 12]);
        let mut seq = 0;
        let mut push = |view: &mut View, about| {
            seq += 1;
            view.push(now, Entry { seq, about, bytes: vec![0; 10].into() }, CAP)
        };
        let read = |view: &mut View| -> Vec<_> { std::iter::from_fn(|| view.take(now)).map(|e| e.about).collect() };
        // Updates take each other's place, and a visit unseen leaves nothing.
        for about in [About::Joined(id), About::Updated(id), About::Updated(id), About::Updated(id), About::Updated(id)]
        {
            assert_eq!(push(&mut view, about), Ok(()));
        }
        assert_eq!(view.waiting(), 2);
        assert_eq!(push(&mut view, About::Left(id)), Ok(()));
        assert_eq!((view.waiting(), view.kept_bytes()), (0, 0));
        // Whoever said something, or was seen, is told of to the end.
        for about in [About::Joined(id), About::SignalOf(id), About::Left(id)] {
            assert_eq!(push(&mut view, about), Ok(()));
        }
        assert_eq!(read(&mut view), [About::Joined(id), About::SignalOf(id), About::Left(id)]);
        assert_eq!(push(&mut view, About::Joined(id)), Ok(()));
        assert_eq!(read(&mut view), [About::Joined(id)]);
        assert_eq!(push(&mut view, About::Left(id)), Ok(()));
        assert_eq!(read(&mut view), [About::Left(id)]);
    }

    #[test]
    fn what_was_taken_is_kept_for_the_retention_only() {
        let now = Instant::now();
        let mut view = View::default();
        view.push(now, entry(1, 1), CAP).expect("there is room");
        view.push(now, entry(2, 1), CAP).expect("there is room");
        view.take(now);
        let second = Duration::from_secs(1);
        view.expire(now + second, second);
        assert_eq!(view.rewind(0), Ok(2));
        view.take(now);
        view.expire(now + 2 * second, second);
        assert_eq!(view.rewind(0), Err(Incomplete));
        assert_eq!(view.rewind(1), Ok(1), "what waits does not age");
    }
}
