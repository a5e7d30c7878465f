//! Holds a history against the guarantee, in one pass.
//!
//! A note costs a few lookups; kept are the sessions, the pairs of sessions, and of the signals only those of which not
//! all is known yet. What depends on notes that may come later (the outcome of a skipped signal, who was told of an
//! end) is judged at the end, so the order of unrelated notes does not matter.
//!
//! A signal to all counts as one for each whom its sender had in the roster. Others may have joined by the time it
//! reached the server, and get it or not; what they get must be right and in its place.
//!
//! What it relies on: notes come in the order of time; notes of one client stand in the order in which things happened
//! to it; `Sent` is noted before the message leaves; `Ended` after the server has answered; `ServerLost` before the
//! server's next start; every client that is alive at the quiet end notes its `Final` roster (one without `Over` and
//! `Final` is taken for gone without a word; its `Suspended` dates that); a client whose reading is stopped on purpose
//! for longer than [`Bounds::tell`] is noted as `Suspended` and `Resumed` around it, since it cannot be told anything.

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
use crate::history::{Note, What};

/// Reasons with which a server ends a session. Any other end is the client's own doing.
const BY_SERVER: [&str; 7] =
    ["SESSION_GONE", "TIMED_OUT", "REMOVED", "REPLACED", "ROOM_CLOSED", "SLOW_CONSUMER", "SERVER_LOST"];

/// How long what must be told may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From an event until all connected clients must know of it, in microseconds.
    pub tell: u64,
    /// Resume windows (besides `tell`) from the last sign of life of a client that is cut off until the others must
    /// know that its session is over.
    pub windows: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { tell: 2_000_000, windows: 2 }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings {
    counts: BTreeMap<Check, u64>,
    kept: Vec<Violation>,
    /// Notes that cannot be: the first and how many.
    odd: Option<(String, u64)>,
}

/// What the `Run` note says.
#[derive(Debug, Default)]
struct Plan {
    seed: u64,
    versions: String,
    signals: u64,
    faults: u64,
    window: u64,
}

/// Takes the notes of a run one by one.
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
    /// Sessions that the present server may hold.
    live: HashSet<u32>,
    rosters: Vec<(u32, u64, Vec<u32>)>,
    counts: Counts,
    faults: BTreeMap<String, Faults>,
    peaks: BTreeMap<String, Peak>,
    found: Findings,
    /// What is a breach for certain, and is named only at the end.
    suspected: Option<Violation>,
}

impl Checker {
    /// A checker with the bounds of the guarantee.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A checker with other bounds, for a run that slows connections down.
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

    /// Takes the next note.
    pub fn note(&mut self, note: &Note) {
        let at = note.at;
        self.counts.notes += 1;
        if at < self.now {
            self.odd(at, "is earlier than the one before");
        }
        self.now = self.now.max(at);
        match &note.what {
            What::Run { seed, versions, planned_signals, planned_faults, resume_window } => {
                self.plan = Some(Plan {
                    seed: *seed,
                    versions: versions.clone(),
                    signals: *planned_signals,
                    faults: *planned_faults,
                    window: *resume_window,
                });
            }
            What::Opened { session, room, roster, page } => self.opened(at, session, room, roster, *page),
            What::Over { session, reason } => self.over(at, session, reason),
            What::Sent { session, to, number, hash } => self.sent(at, session, to, *number, *hash),
            What::Settled { session, to, number, outcome } => self.settled(at, session, to, *number, outcome.into()),
            What::Delivered { session, from, claimed, number, hash } => {
                self.delivered(at, session, (from, claimed), *number, *hash);
            }
            What::SawJoin { session, member } => {
                let session = self.heard(at, session);
                let member = self.session(member);
                self.sees(at, session, member, View::Here);
            }
            What::SawLeave { session, member, reason } => {
                let session = self.heard(at, session);
                let member = self.session(member);
                let ended = &mut self.sessions[member as usize];
                ended.timed_out |= reason.contains("TIMED_OUT");
                ended.goodbye |= reason.trim_start_matches("LEAVE_REASON_") == "LEFT";
                ended.reported.get_or_insert((at, session));
                self.sees(at, session, member, View::Gone);
            }
            What::SawRoster { session, roster } => {
                let session = self.heard(at, session);
                let roster = self.members(roster);
                self.sees_roster(at, session, &roster);
            }
            What::Suspended { session } => {
                self.counts.suspends += 1;
                let window = self.plan.as_ref().map_or(u64::MAX, |plan| plan.window);
                let patience = self.bounds.windows.saturating_mul(window);
                let id = self.client(at, session);
                let session = &mut self.sessions[id as usize];
                // Nobody is deaf for longer than that without noticing; who heard nothing for longer had nothing to hear.
                let from = session.heard.max(at.saturating_sub(patience));
                // Said again, it is the same cut.
                if session.cuts.last().is_none_or(|cut| cut.until.is_some()) {
                    session.cuts.push(Cut { from, noted: at, until: None });
                }
            }
            What::Resumed { session } => {
                self.counts.resumes += 1;
                let id = self.heard(at, session);
                if let Some(cut) = self.sessions[id as usize].cuts.last_mut() {
                    cut.until.get_or_insert(at);
                }
            }
            What::Final { session, roster } => {
                self.counts.rosters += 1;
                let session = self.client(at, session);
                let roster = self.members(roster);
                self.sessions[session as usize].last_roster = Some(at);
                self.absences(at, session, &roster);
                self.rosters.push((session, at, roster));
            }
            What::Fault { kind, effect } => {
                let faults = entry(&mut self.faults, kind);
                faults.caused += 1;
                faults.effective += u64::from(*effect > 0);
                faults.effect = faults.effect.saturating_add(*effect);
            }
            What::ServerLost => {
                self.counts.server_losses += 1;
                for session in self.live.drain() {
                    self.sessions[session as usize].ended.get_or_insert(at);
                }
            }
            What::Ended { session, .. } => {
                let session = self.session(session);
                self.live.remove(&session);
                self.sessions[session as usize].ended.get_or_insert(at);
            }
            What::Gauge { name, value, limit } => {
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
            return self.odd(at, "opens a session again");
        }
        session.room = Some(room);
        session.page = page;
        (session.opened, session.heard, session.noted) = (at, at, at);
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
            return self.odd(at, "ends a session again");
        }
        let by_server = BY_SERVER.iter().any(|by_server| reason.contains(by_server));
        session.over = Some(Over { at, by_server });
        self.counts.ends += 1;
        // The server may hold one that left for longer, if it did not get its goodbye.
        if by_server {
            self.live.remove(&id);
        }
    }

    /// A client was told that a member is there, or gone.
    fn sees(&mut self, at: u64, session: u32, member: u32, view: View) {
        let pair = self.pair(member, session);
        if pair.view == View::Never {
            pair.seen = at;
        }
        let again = pair.view == View::Gone && view == View::Here;
        pair.view = view;
        let here = view == View::Here;
        if !here {
            pair.told.get_or_insert(at);
        }
        self.pair(session, member).hopeless = !here;
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
            // Whoever is there again was not told as gone.
            self.pair(member, session).told = None;
        }
        for member in self.absences(at, session, roster) {
            self.sees(at, session, member, View::Missing);
        }
    }

    /// Whom a client no longer has in its roster without having been told of a leave.
    fn absences(&mut self, at: u64, session: u32, roster: &[u32]) -> Vec<u32> {
        let roster: HashSet<u32> = roster.iter().copied().collect();
        let absent: Vec<u32> = self.sessions[session as usize].present.difference(&roster).copied().collect();
        for &member in &absent {
            self.pair(member, session).told.get_or_insert(at);
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

    /// The session of a client that notes something.
    fn client(&mut self, at: u64, name: &str) -> u32 {
        let id = self.session(name);
        let session = &mut self.sessions[id as usize];
        session.noted = at;
        if session.room.is_none() {
            self.odd(at, "is of a session that was not opened");
        }
        id
    }

    /// The same, for something that the client had from the server.
    fn heard(&mut self, at: u64, name: &str) -> u32 {
        let id = self.client(at, name);
        self.sessions[id as usize].heard = at;
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

    /// Notes a violation: what it breaks, when, the session that it happened to, the other one, the signal's number.
    fn violate(&mut self, check: Check, at: u64, whom: (Option<u32>, Option<u32>, Option<u64>), text: String) {
        *self.found.counts.entry(check).or_default() += 1;
        if self.found.kept.len() < KEPT {
            let violation = self.violation(check, at, whom, text);
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

    /// The first breach that the notes show so far, whatever may follow. Most of what is missing shows only at the end.
    #[must_use]
    pub fn breach(&self) -> Option<&Violation> {
        self.found.kept.first().or(self.suspected.as_ref())
    }

    /// Notes a note that cannot be: those who took notes are at fault, and nothing can be concluded.
    fn odd(&mut self, at: u64, text: &str) {
        let odd = self.found.odd.get_or_insert_with(|| (format!("the note at {} {text}", Seconds(at)), 0));
        odd.1 += 1;
    }
}

fn entry<'a, V: Default>(map: &'a mut BTreeMap<String, V>, key: &str) -> &'a mut V {
    map.entry(key.to_owned()).or_default()
}
