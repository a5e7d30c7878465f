//! Checks a history against the guarantee, in one pass.
//!
//! A note costs a few lookups. The checker keeps the sessions, the pairs of sessions, and those signals of which not all
//! is known yet. What depends on later notes (the outcome of a skipped signal, the report of an end) is judged at the
//! end, so the order of unrelated notes does not matter.
//!
//! A signal to all counts as one signal for each member in the roster of its sender. Members that have joined meanwhile
//! may receive it or not; if they do, it must be unaltered and in order.
//!
//! The checker relies on these rules:
//! - Notes are in the order of time, and those of one client in the order in which things happened to it.
//! - `Sent` is recorded before the message leaves, `Ended` after the response of the server, `ServerLost` before the next
//!   start of the server.
//! - Every client that is alive at the quiet end records its `Final` roster. One without `Over` and `Final` has vanished,
//!   at the time of its `Suspended`.
//! - A client that deliberately does not read for longer than [`Bounds::notify`] is recorded as `Suspended` and `Resumed`
//!   around that time.

mod finish;
mod pair;
mod report;
mod session;
mod signals;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub use report::{Check, Counts, Faults, KEPT, Peak, Report, Verdict, Violation};

use self::pair::{Pair, View};
use self::report::Seconds;
use self::session::{Cut, Over, Session};
use crate::history::{Event, Note};

/// Reasons with which the server ends a session. All others are those of the client.
const BY_SERVER: [&str; 7] =
    ["SESSION_GONE", "TIMED_OUT", "REMOVED", "REPLACED", "ROOM_CLOSED", "SLOW_CONSUMER", "SERVER_LOST"];

/// How long reports may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Time from an event until all connected clients must know it, in microseconds.
    pub notify: u64,
    /// Resume windows, in addition to `notify`, from the last sign of life of a disconnected client until the others must
    /// know the end of its session.
    pub windows: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { notify: 2_000_000, windows: 2 }
    }
}

/// The violations so far.
#[derive(Debug, Default)]
struct Findings {
    counts: BTreeMap<Check, u64>,
    kept: Vec<Violation>,
    /// Inconsistent notes: the first, and their number.
    inconsistent: Option<(String, u64)>,
}

/// The parameters in the `Run` note.
#[derive(Debug, Default)]
struct Plan {
    seed: u64,
    versions: String,
    signals: u64,
    faults: u64,
    window: u64,
}

/// Checks the notes of a run one by one.
#[derive(Debug, Default)]
pub struct Checker {
    bounds: Bounds,
    plan: Option<Plan>,
    now: u64,
    names: HashMap<Arc<str>, u32>,
    sessions: Vec<Session>,
    rooms: HashMap<String, u32>,
    index: HashMap<(u32, u32), usize>,
    pairs: Vec<Pair>,
    /// Sessions that the current server process may have.
    live: HashSet<u32>,
    rosters: Vec<(u32, u64, Vec<u32>)>,
    counts: Counts,
    faults: BTreeMap<String, Faults>,
    peaks: BTreeMap<String, Peak>,
    found: Findings,
    /// A certain breach, whose check is determined only at the end.
    suspected: Option<Violation>,
}

impl Checker {
    /// A checker with the bounds of the guarantee.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A checker with other bounds, for a run with delayed connections.
    #[must_use]
    pub fn with_bounds(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Checks a whole history.
    pub fn check<'a>(notes: impl IntoIterator<Item = &'a Note>) -> Report {
        let mut checker = Self::new();
        for note in notes {
            checker.note(note);
        }
        checker.finish()
    }

    /// Checks the next note.
    pub fn note(&mut self, note: &Note) {
        let at = note.at;
        self.counts.notes += 1;
        if at < self.now {
            self.inconsistent(at, "is earlier than the one before");
        }
        self.now = self.now.max(at);
        match &note.what {
            Event::Run { seed, versions, planned_signals, planned_faults, resume_window } => {
                self.plan = Some(Plan {
                    seed: *seed,
                    versions: versions.clone(),
                    signals: *planned_signals,
                    faults: *planned_faults,
                    window: *resume_window,
                });
            }
            Event::Opened { session, room, roster, page } => self.opened(at, session, room, roster, *page),
            Event::Over { session, reason } => self.over(at, session, reason),
            Event::Sent { session, to, number, hash } => self.sent(at, session, to, *number, *hash),
            Event::Settled { session, to, number, outcome } => self.settled(at, session, to, *number, outcome.into()),
            Event::Delivered { session, from, claimed, number, hash } => {
                self.delivered(at, session, (from, claimed), *number, *hash);
            }
            Event::SawJoin { session, member } => {
                let session = self.receiver(at, session);
                let member = self.session(member);
                self.sees(at, session, member, View::Here);
            }
            Event::SawLeave { session, member, reason } => {
                let session = self.receiver(at, session);
                let member = self.session(member);
                let ended = &mut self.sessions[member as usize];
                ended.timed_out |= reason.contains("TIMED_OUT");
                ended.left |= reason.trim_start_matches("LEAVE_REASON_") == "LEFT";
                ended.reported.get_or_insert((at, session));
                self.sees(at, session, member, View::Gone);
            }
            Event::SawRoster { session, roster } => {
                let session = self.receiver(at, session);
                let roster = self.members(roster);
                self.sees_roster(at, session, &roster);
            }
            Event::Suspended { session } => {
                self.counts.suspends += 1;
                let window = self.plan.as_ref().map_or(u64::MAX, |plan| plan.window);
                let patience = self.bounds.windows.saturating_mul(window);
                let id = self.client(at, session);
                let session = &mut self.sessions[id as usize];
                // A client notices a dead connection within that time. If it received nothing for longer, nothing was sent.
                let from = session.last_received.max(at.saturating_sub(patience));
                // A repeated note is about the same cut.
                if session.cuts.last().is_none_or(|cut| cut.until.is_some()) {
                    session.cuts.push(Cut { from, noted: at, until: None });
                }
            }
            Event::Resumed { session } => {
                self.counts.resumes += 1;
                let id = self.receiver(at, session);
                if let Some(cut) = self.sessions[id as usize].cuts.last_mut() {
                    cut.until.get_or_insert(at);
                }
            }
            Event::Final { session, roster } => {
                self.counts.rosters += 1;
                let session = self.client(at, session);
                let roster = self.members(roster);
                self.sessions[session as usize].last_roster = Some(at);
                self.absences(at, session, &roster);
                self.rosters.push((session, at, roster));
            }
            Event::Fault { kind, effect } => {
                let faults = entry(&mut self.faults, kind);
                faults.caused += 1;
                faults.effective += u64::from(*effect > 0);
                faults.effect = faults.effect.saturating_add(*effect);
            }
            Event::ServerLost => {
                self.counts.server_losses += 1;
                for session in self.live.drain() {
                    self.sessions[session as usize].ended.get_or_insert(at);
                }
            }
            Event::Ended { session, .. } => {
                let session = self.session(session);
                self.live.remove(&session);
                self.sessions[session as usize].ended.get_or_insert(at);
            }
            Event::Gauge { name, value, limit } => {
                let peak = entry(&mut self.peaks, name);
                peak.value = peak.value.max(*value);
                if *limit > 0 && (peak.limit == 0 || *limit < peak.limit) {
                    peak.limit = *limit;
                }
                if *limit > 0 && value > limit {
                    let text = format!("{name} is {value}, over its limit {limit}");
                    self.violate(Check::Bounded, at, (None, None, None), text);
                }
            }
        }
    }

    fn opened(&mut self, at: u64, name: &str, room: &str, roster: &[String], page: bool) {
        let count = u32::try_from(self.rooms.len()).unwrap_or(u32::MAX);
        let room = *self.rooms.entry(room.to_owned()).or_insert(count);
        let id = self.session(name);
        let session = &mut self.sessions[id as usize];
        if session.room.is_some() {
            return self.inconsistent(at, "opens a session again");
        }
        session.room = Some(room);
        session.page = page;
        (session.opened, session.last_received, session.noted) = (at, at, at);
        self.counts.sessions += 1;
        self.live.insert(id);
        for member in self.members(roster) {
            self.sees(at, id, member, View::Here);
        }
    }

    fn over(&mut self, at: u64, session: &str, reason: &str) {
        let id = self.client(at, session);
        let session = &mut self.sessions[id as usize];
        if session.over.is_some() {
            return self.inconsistent(at, "ends a session again");
        }
        let by_server = BY_SERVER.iter().any(|by_server| reason.contains(by_server));
        session.over = Some(Over { at, by_server });
        self.counts.ends += 1;
        // If the leave was lost, the session lives on for the server.
        if by_server {
            self.live.remove(&id);
        }
    }

    /// A client received the join or leave of a member.
    fn sees(&mut self, at: u64, session: u32, member: u32, view: View) {
        let pair = self.pair(member, session);
        if pair.view == View::Never {
            pair.seen = at;
        }
        let again = pair.view == View::Gone && view == View::Here;
        pair.view = view;
        let here = view == View::Here;
        if !here {
            pair.notified.get_or_insert(at);
        }
        self.pair(session, member).after_leave = !here;
        let present = &mut self.sessions[session as usize].present;
        if here {
            present.insert(member);
        } else {
            present.remove(&member);
        }
        if again {
            let text = "joined after its leave, which no session does".to_owned();
            self.violate(Check::Roster, at, (Some(session), Some(member), None), text);
        }
    }

    fn sees_roster(&mut self, at: u64, session: u32, roster: &[u32]) {
        for &member in roster {
            self.sees(at, session, member, View::Here);
            // A member that is present has not left.
            self.pair(member, session).notified = None;
        }
        for member in self.absences(at, session, roster) {
            self.sees(at, session, member, View::Missing);
        }
    }

    /// The members that a roster lacks without a leave.
    fn absences(&mut self, at: u64, session: u32, roster: &[u32]) -> Vec<u32> {
        let roster: HashSet<u32> = roster.iter().copied().collect();
        let absent: Vec<u32> = self.sessions[session as usize].present.difference(&roster).copied().collect();
        for &member in &absent {
            self.pair(member, session).notified.get_or_insert(at);
        }
        absent
    }

    fn members(&mut self, names: &[String]) -> Vec<u32> {
        names.iter().map(|name| self.session(name)).collect()
    }

    fn session(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let id = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let name: Arc<str> = name.into();
        self.names.insert(name.clone(), id);
        self.sessions.push(Session::new(name));
        id
    }

    /// The session of the client of a note.
    fn client(&mut self, at: u64, name: &str) -> u32 {
        let id = self.session(name);
        let session = &mut self.sessions[id as usize];
        session.noted = at;
        if session.room.is_none() {
            self.inconsistent(at, "is of a session that was not opened");
        }
        id
    }

    /// The same, for a note about something that the client received.
    fn receiver(&mut self, at: u64, name: &str) -> u32 {
        let id = self.client(at, name);
        self.sessions[id as usize].last_received = at;
        id
    }

    fn pair(&mut self, from: u32, to: u32) -> &mut Pair {
        let pairs = &mut self.pairs;
        let index = *self.index.entry((from, to)).or_insert_with(|| {
            pairs.push(Pair::new(from, to));
            pairs.len() - 1
        });
        &mut self.pairs[index]
    }

    /// Records a violation: check, time, the affected session, the other one, the number of the signal.
    fn violate(&mut self, check: Check, at: u64, parties: (Option<u32>, Option<u32>, Option<u64>), text: String) {
        *self.found.counts.entry(check).or_default() += 1;
        if self.found.kept.len() < KEPT {
            let violation = self.violation(check, at, parties, text);
            self.found.kept.push(violation);
        }
    }

    fn violation(
        &self,
        check: Check,
        at: u64,
        (session, other, number): (Option<u32>, Option<u32>, Option<u64>),
        text: String,
    ) -> Violation {
        let name = |id: Option<u32>| id.map(|id| self.sessions[id as usize].name.to_string()).unwrap_or_default();
        Violation { check, at, session: name(session), other: name(other), number, text }
    }

    /// The first breach so far, regardless of later notes. Most losses show only at the end.
    #[must_use]
    pub fn breach(&self) -> Option<&Violation> {
        self.found.kept.first().or(self.suspected.as_ref())
    }

    /// Records an inconsistent note, which is a fault of the clients. The run proves nothing.
    fn inconsistent(&mut self, at: u64, text: &str) {
        let first = self.found.inconsistent.get_or_insert_with(|| (format!("the note at {} {text}", Seconds(at)), 0));
        first.1 += 1;
    }
}

fn entry<'a, V: Default>(map: &'a mut BTreeMap<String, V>, key: &str) -> &'a mut V {
    map.entry(key.to_owned()).or_default()
}
