//! What is known of one session.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::Bounds;

/// A time during which a client was cut off.
#[derive(Debug)]
pub(super) struct Cut {
    /// The last that it heard before: a dead connection is noticed late.
    pub(super) from: u64,
    /// When it noticed.
    pub(super) noted: u64,
    /// When it was back.
    pub(super) until: Option<u64>,
}

/// The client's own word that its session is over.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) at: u64,
    /// The server said so, and had thus ended the session by then. One who leaves on a dead connection says goodbye to
    /// nobody, and the server goes by what it finds out itself: see [`Session::goodbye`].
    pub(super) by_server: bool,
}

/// A signal to all.
#[derive(Debug)]
pub(super) struct ToAll {
    pub(super) hash: u64,
    /// Whom its sender knew to be there; others may get it too.
    pub(super) to: Vec<u32>,
}

/// State of a session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: Arc<str>,
    /// Set when it was opened.
    pub(super) room: Option<u32>,
    pub(super) opened: u64,
    /// Its client has answers on another connection than its stream.
    pub(super) page: bool,
    pub(super) over: Option<Over>,
    /// When the server had ended it for certain: it was told to, or was lost itself. Of one that left this may be later
    /// than its own word.
    pub(super) ended: Option<u64>,
    /// Somebody was told that it timed out.
    pub(super) timed_out: bool,
    /// Somebody was told that it left: the server had its goodbye.
    pub(super) goodbye: bool,
    /// When somebody was first told that it ended, and who.
    pub(super) reported: Option<(u64, u32)>,
    /// When its client last noted something that it had from the server, and anything at all.
    pub(super) heard: u64,
    pub(super) noted: u64,
    pub(super) cuts: Vec<Cut>,
    /// When its client gave its last roster: it was alive until then.
    pub(super) last_roster: Option<u64>,
    /// Whom its client has in the roster, by what it was told.
    pub(super) present: HashSet<u32>,
    /// What it said to all, by number.
    pub(super) to_all: BTreeMap<u64, ToAll>,
}

/// A session's end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// When it is known to have ended, as far as notes tell.
    pub(super) at: u64,
    /// When everybody must have been told.
    pub(super) deadline: u64,
    /// When it ended is not known, so nobody was told late; but somebody may never have been told.
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
            goodbye: false,
            reported: None,
            heard: 0,
            noted: 0,
            cuts: Vec::new(),
            last_roster: None,
            present: HashSet::new(),
            to_all: BTreeMap::new(),
        }
    }

    /// The session's end, if it ended. `quiet`: those that lived to the end said so.
    pub(super) fn end(&self, bounds: &Bounds, window: u64, quiet: bool) -> Option<End> {
        let patience = bounds.windows.saturating_mul(window).saturating_add(bounds.tell);
        let cut = self.cuts.last().filter(|cut| cut.until.is_none());
        if let Some(at) = self.ended
            && self.over.as_ref().is_none_or(|over| at <= over.at)
        {
            return Some(End { at, deadline: at.saturating_add(bounds.tell), vague: false });
        }
        let Some(over) = &self.over else {
            // Its client may be gone without a word.
            let reported = self.reported.map(|(at, _)| at.saturating_add(bounds.tell));
            if self.last_roster.is_some() || !(quiet || reported.is_some()) {
                return None;
            }
            let at = cut.map_or(self.noted, |cut| cut.noted);
            let patience = at.saturating_add(patience);
            let deadline = match (reported, cut) {
                (Some(reported), Some(_)) => reported.min(patience),
                // It may have lived on for long without anything to note, so its last note says little.
                (Some(reported), None) => reported,
                (None, _) => patience,
            };
            return Some(End { at, deadline, vague: reported.is_none() && cut.is_none() });
        };
        let soon = over.at.saturating_add(bounds.tell);
        let sign = cut.map_or(over.at, |cut| cut.noted).saturating_add(patience);
        let deadline = if over.by_server {
            if cut.is_some() || self.timed_out { soon.min(sign) } else { soon }
        } else if self.goodbye {
            if cut.is_some() { sign } else { soon }
        } else {
            // Nobody was told that it left: its goodbye was lost, and for the server it was there until the server found
            // that out or ended it for another reason. Then all are told at about the same time.
            let known = self.ended.into_iter().chain(self.reported.map(|(at, _)| at)).min();
            known.map_or(sign, |known| sign.min(known.max(over.at).saturating_add(bounds.tell)))
        };
        Some(End { at: over.at, deadline, vague: false })
    }

    /// The time by which this client must have been told what the others must know at `deadline`: it cannot be told
    /// while it is cut off, nor before it was there. `None`: never, it did not come back.
    pub(super) fn reachable(&self, deadline: u64, tell: u64) -> Option<u64> {
        let mut at = deadline.max(self.opened.saturating_add(tell));
        let first = self.cuts.partition_point(|cut| cut.until.is_some_and(|until| until.saturating_add(tell) <= at));
        for cut in &self.cuts[first..] {
            if cut.from >= at {
                break;
            }
            at = at.max(cut.until?.saturating_add(tell));
        }
        Some(at)
    }

    /// When its client last showed that it is connected.
    pub(super) fn alive(&self) -> u64 {
        self.heard.max(self.last_roster.unwrap_or_default())
    }
}
