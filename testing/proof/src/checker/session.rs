//! The state of a session.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::Bounds;

/// A time during which a client was disconnected.
#[derive(Debug)]
pub(super) struct Cut {
    /// When it last received something: a dead connection is noticed late.
    pub(super) from: u64,
    /// When it noticed.
    pub(super) noted: u64,
    /// When it was connected again.
    pub(super) until: Option<u64>,
}

/// The end of a session, as its client learned it.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) at: u64,
    /// The server sent it, so it had ended the session. A leave on a dead connection does not reach the server, which then
    /// ends the session by what it detects itself: see [`Session::left`].
    pub(super) by_server: bool,
}

/// A signal to all.
#[derive(Debug)]
pub(super) struct ToAll {
    pub(super) hash: u64,
    /// The members that its sender knew. Others may receive it, too.
    pub(super) to: Vec<u32>,
}

/// State of a session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: Arc<str>,
    /// Set when it was opened.
    pub(super) room: Option<u32>,
    pub(super) opened: u64,
    /// Its client gets responses on another connection than its stream.
    pub(super) page: bool,
    pub(super) over: Option<Over>,
    /// When the server had certainly ended it: by an operator, or by the loss of the server. For a client that left, this
    /// may be later than its own record.
    pub(super) ended: Option<u64>,
    /// A client received that it timed out.
    pub(super) timed_out: bool,
    /// A client received that it left, so the server had received its leave.
    pub(super) left: bool,
    /// When its end was first reported to a client, and to which.
    pub(super) reported: Option<(u64, u32)>,
    /// When its client last received something, and last recorded anything.
    pub(super) last_received: u64,
    pub(super) noted: u64,
    pub(super) cuts: Vec<Cut>,
    /// When its client recorded its last roster, so it was alive.
    pub(super) last_roster: Option<u64>,
    /// The roster of its client, by what it received.
    pub(super) present: HashSet<u32>,
    /// Its signals to all, by number.
    pub(super) to_all: BTreeMap<u64, ToAll>,
}

/// A session's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// When it ended, as far as the notes show.
    pub(super) at: u64,
    /// When all clients must know it.
    pub(super) deadline: u64,
    /// The time of its end is not known, so no report is late; but a report may be missing.
    pub(super) vague: bool,
}

impl Session {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            room: None,
            opened: 0,
            page: false,
            over: None,
            ended: None,
            timed_out: false,
            left: false,
            reported: None,
            last_received: 0,
            noted: 0,
            cuts: Vec::new(),
            last_roster: None,
            present: HashSet::new(),
            to_all: BTreeMap::new(),
        }
    }

    /// The end of the session, if it ended. `quiet`: sessions that were alive at the quiet end recorded their roster.
    pub(super) fn end(&self, bounds: &Bounds, window: u64, quiet: bool) -> Option<End> {
        let timeout = bounds.windows.saturating_mul(window).saturating_add(bounds.notify);
        let cut = self.cuts.last().filter(|cut| cut.until.is_none());
        if let Some(at) = self.ended
            && self.over.as_ref().is_none_or(|over| at <= over.at)
        {
            return Some(End { at, deadline: at.saturating_add(bounds.notify), vague: false });
        }
        let Some(over) = &self.over else {
            // Its client may have vanished.
            let reported = self.reported.map(|(at, _)| at.saturating_add(bounds.notify));
            if self.last_roster.is_some() || !(quiet || reported.is_some()) {
                return None;
            }
            let at = cut.map_or(self.noted, |cut| cut.noted);
            let timeout = at.saturating_add(timeout);
            let deadline = match (reported, cut) {
                (Some(reported), Some(_)) => reported.min(timeout),
                // It may have lived on without anything to record, so its last note does not date the end.
                (Some(reported), None) => reported,
                (None, _) => timeout,
            };
            return Some(End { at, deadline, vague: reported.is_none() && cut.is_none() });
        };
        let soon = over.at.saturating_add(bounds.notify);
        let timed_out = cut.map_or(over.at, |cut| cut.noted).saturating_add(timeout);
        let deadline = if over.by_server {
            if cut.is_some() || self.timed_out { soon.min(timed_out) } else { soon }
        } else if self.left {
            if cut.is_some() { timed_out } else { soon }
        } else {
            // The leave was lost. For the server the session lived until it detected that, or ended it for another
            // reason. Then all members are notified at about the same time.
            let known = self.ended.into_iter().chain(self.reported.map(|(at, _)| at)).min();
            known.map_or(timed_out, |known| timed_out.min(known.max(over.at).saturating_add(bounds.notify)))
        };
        Some(End { at: over.at, deadline, vague: false })
    }

    /// The time by which this client must know what the others must know at `deadline`, which is later if it was
    /// disconnected or not opened. `None`: it did not reconnect.
    pub(super) fn reachable(&self, deadline: u64, notify: u64) -> Option<u64> {
        let mut at = deadline.max(self.opened.saturating_add(notify));
        let first = self.cuts.partition_point(|cut| cut.until.is_some_and(|until| until.saturating_add(notify) <= at));
        for cut in &self.cuts[first..] {
            if cut.from >= at {
                break;
            }
            at = at.max(cut.until?.saturating_add(notify));
        }
        Some(at)
    }

    /// When its client last showed that it is connected.
    pub(super) fn alive(&self) -> u64 {
        self.last_received.max(self.last_roster.unwrap_or_default())
    }
}
