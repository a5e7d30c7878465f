//! The signals of one ordered pair of sessions, and what the receiver was told of the sender.

use std::collections::VecDeque;

use crate::history::Outcome;

/// An outcome without its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    Undelivered,
    Unknown,
}

impl From<&Outcome> for Fate {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Accepted => Self::Accepted,
            Outcome::Undelivered(_) => Self::Undelivered,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// What is known of a signal.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) number: u64,
    pub(super) hash: u64,
    pub(super) sent: u64,
    pub(super) fate: Option<Fate>,
    pub(super) delivered: bool,
    /// The sender had been told that the addressee was gone.
    pub(super) hopeless: bool,
}

/// What a client was told of another member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum View {
    /// Nothing.
    #[default]
    Never,
    /// It is there.
    Here,
    /// A roster came without it. Its last signals and its leave may still follow: a resume tells the roster as it is
    /// now and then replays how it came to that.
    Missing,
    /// It left.
    Gone,
}

/// What came of looking up a signal's number.
pub(super) enum Found<'a> {
    /// Never sent.
    Nothing,
    /// Forgotten, since all had been said: it was delivered.
    Delivered,
    /// Forgotten, since all had been said: it was undelivered.
    Undelivered,
    /// Still open.
    Open(&'a mut Signal),
}

/// State of an ordered pair of sessions.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) from: u32,
    pub(super) to: u32,
    /// What the receiver was told of the sender, and when it was first told.
    pub(super) view: View,
    pub(super) seen: u64,
    /// When the receiver was first told that the sender is gone.
    pub(super) told: Option<u64>,
    /// The sender was told that the receiver is gone.
    pub(super) hopeless: bool,
    /// Highest number delivered.
    pub(super) highest: u64,
    /// The signals of which not everything is known, and those after them.
    pub(super) open: VecDeque<Signal>,
    /// Highest number of those before.
    done: u64,
    /// Which of those before were undelivered, as ranges.
    refused: Vec<(u64, u64)>,
    /// Signals to all that came, or were refused, though the sender did not know yet that the receiver was there: their
    /// numbers, and whether they came.
    aside: Vec<(u64, bool)>,
}

impl Pair {
    pub(super) fn new(from: u32, to: u32) -> Self {
        Self {
            from,
            to,
            view: View::Never,
            seen: 0,
            told: None,
            hopeless: false,
            highest: 0,
            open: VecDeque::new(),
            done: 0,
            refused: Vec::new(),
            aside: Vec::new(),
        }
    }

    /// Number of the last signal that the sender sent.
    pub(super) fn last(&self) -> u64 {
        self.open.back().map_or(self.done, |signal| signal.number)
    }

    pub(super) fn find(&mut self, number: u64) -> Found<'_> {
        if number != 0 && number <= self.done {
            let range = self.refused.partition_point(|&(_, last)| last < number);
            let refused = self.refused.get(range).is_some_and(|&(first, _)| first <= number);
            return if refused { Found::Undelivered } else { Found::Delivered };
        }
        match self.open.binary_search_by_key(&number, |signal| signal.number) {
            Ok(index) => Found::Open(&mut self.open[index]),
            Err(_) => Found::Nothing,
        }
    }

    /// A signal to all came, or was refused, that the sender did not know to be for this receiver; says what had become
    /// of it before.
    pub(super) fn set_aside(&mut self, number: u64, came: bool) -> Option<bool> {
        let before = self.aside.iter().find(|(known, _)| *known == number).map(|(_, came)| *came);
        if before.is_none() {
            self.aside.push((number, came));
        }
        before
    }

    /// The oldest open signal, if it will never arrive in its place any more though it was accepted.
    pub(super) fn skipped(&self) -> Option<u64> {
        let first = self.open.front()?;
        let skipped = first.fate == Some(Fate::Accepted) && !first.delivered && first.number < self.highest;
        skipped.then_some(first.number)
    }

    /// Forgets the signals of which all is known.
    pub(super) fn prune(&mut self) {
        while let Some(signal) = self.open.front() {
            let undelivered = signal.fate == Some(Fate::Undelivered);
            // Whether an unknown one may be unknown depends on how its sender ends.
            let arrived = signal.delivered && signal.fate == Some(Fate::Accepted);
            if !(undelivered || arrived) {
                return;
            }
            if undelivered {
                match self.refused.last_mut() {
                    // The one before it, too.
                    Some((_, last)) if *last == self.done => *last = signal.number,
                    _ => self.refused.push((signal.number, signal.number)),
                }
            }
            self.done = signal.number;
            self.open.pop_front();
        }
    }
}
