//! The signals of an ordered pair of sessions, and what the receiver knows of the sender.

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

/// The state of a signal.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) number: u64,
    pub(super) hash: u64,
    pub(super) sent: u64,
    pub(super) fate: Option<Fate>,
    pub(super) delivered: bool,
    /// The sender had received the leave of the addressee.
    pub(super) after_leave: bool,
}

/// What a client knows of another member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum View {
    /// Nothing.
    #[default]
    Never,
    /// It is present.
    Here,
    /// A roster lacks it. Its last signals and its leave may follow, since a resume has the current roster first and then
    /// the replay.
    Missing,
    /// It left.
    Gone,
}

/// The result of a lookup by number.
pub(super) enum Found<'a> {
    /// Never sent.
    Nothing,
    /// Settled and delivered, and no longer kept.
    Delivered,
    /// Undelivered, and no longer kept.
    Undelivered,
    /// Still open.
    Open(&'a mut Signal),
}

/// State of an ordered pair of sessions.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) from: u32,
    pub(super) to: u32,
    /// What the receiver knows of the sender, and since when.
    pub(super) view: View,
    pub(super) seen: u64,
    /// When the receiver learned that the sender has left.
    pub(super) notified: Option<u64>,
    /// The sender has received the leave of the receiver.
    pub(super) after_leave: bool,
    /// Highest number delivered.
    pub(super) highest: u64,
    /// The signals of which not all is known, and those after them.
    pub(super) open: VecDeque<Signal>,
    /// Highest number before those.
    done: u64,
    /// The undelivered ones before those, as ranges.
    refused: Vec<(u64, u64)>,
    /// Signals to all that were delivered or refused before the sender knew the receiver: their numbers, and whether they
    /// were delivered.
    extra: Vec<(u64, bool)>,
}

impl Pair {
    pub(super) fn new(from: u32, to: u32) -> Self {
        Self {
            from,
            to,
            view: View::Never,
            seen: 0,
            notified: None,
            after_leave: false,
            highest: 0,
            open: VecDeque::new(),
            done: 0,
            refused: Vec::new(),
            extra: Vec::new(),
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

    /// Records the delivery or refusal of a signal to all for a receiver that the sender did not know; returns an earlier
    /// record.
    pub(super) fn record_extra(&mut self, number: u64, delivered: bool) -> Option<bool> {
        let before = self.extra.iter().find(|(known, _)| *known == number).map(|(_, delivered)| *delivered);
        if before.is_none() {
            self.extra.push((number, delivered));
        }
        before
    }

    /// The oldest open signal, if it was accepted and a later one was delivered before it.
    pub(super) fn skipped(&self) -> Option<u64> {
        let first = self.open.front()?;
        let skipped = first.fate == Some(Fate::Accepted) && !first.delivered && first.number < self.highest;
        skipped.then_some(first.number)
    }

    /// Removes the signals of which all is known.
    pub(super) fn prune(&mut self) {
        while let Some(signal) = self.open.front() {
            let undelivered = signal.fate == Some(Fate::Undelivered);
            // Whether an outcome may be unknown depends on the end of the sender.
            let arrived = signal.delivered && signal.fate == Some(Fate::Accepted);
            if !(undelivered || arrived) {
                return;
            }
            if undelivered {
                match self.refused.last_mut() {
                    // It extends the last range.
                    Some((_, last)) if *last == self.done => *last = signal.number,
                    _ => self.refused.push((signal.number, signal.number)),
                }
            }
            self.done = signal.number;
            self.open.pop_front();
        }
    }
}
