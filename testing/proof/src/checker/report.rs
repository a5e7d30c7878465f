//! What the checker found, for machines and for people.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// Violations beyond this many are counted, not kept.
pub const KEPT: usize = 50;

/// What is checked of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// C1: the application sees each signal at most once.
    Unique,
    /// C2: signals of a pair arrive in the order in which they were sent.
    Ordered,
    /// C3: no accepted signal is skipped by a later one of its pair.
    GapFree,
    /// C4: what arrives was sent by that session to this one, unaltered, and was not reported as undelivered.
    NoGhost,
    /// C5: nothing passes from one room to another.
    RoomWall,
    /// C6: an accepted signal arrives, unless its receiver's session ends.
    Complete,
    /// C7: the end of a session is told to everybody whom it concerns, in time.
    LoudLoss,
    /// C8: a join is seen before any signal of that member, none after its leave; rosters agree in the end.
    Roster,
    /// C9: the server's figures stay within their limits.
    Bounded,
    /// G3: each signal gets one answer, and `unknown` only when its sender's session ended.
    Definite,
}

impl Display for Check {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unique => "C1 unique",
            Self::Ordered => "C2 ordered",
            Self::GapFree => "C3 gap-free",
            Self::NoGhost => "C4 no ghost",
            Self::RoomWall => "C5 room wall",
            Self::Complete => "C6 complete",
            Self::LoudLoss => "C7 loss is loud",
            Self::Roster => "C8 roster",
            Self::Bounded => "C9 bounded",
            Self::Definite => "G3 definite",
        })
    }
}

/// One breach of the guarantee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What it breaks.
    pub check: Check,
    /// Time of the note that shows it, in microseconds since the run began.
    pub at: u64,
    /// The session that it happened to: the receiver of a signal, the one that was not told. Empty for a gauge.
    pub session: String,
    /// The other session: the sender of a signal, the one that ended. Empty where there is none.
    pub other: String,
    /// Number of the signal from `other` to `session`.
    pub number: Option<u64>,
    /// What was seen.
    pub text: String,
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.check, Seconds(self.at))?;
        match (self.session.is_empty(), self.other.is_empty(), self.number) {
            (true, ..) => {}
            (_, true, _) => write!(f, ", {}", self.session)?,
            (.., Some(number)) => write!(f, ", {} -> {} #{number}", self.other, self.session)?,
            (.., None) => write!(f, ", {} about {}", self.session, self.other)?,
        }
        write!(f, ": {}", self.text)
    }
}

/// Microseconds, printed as seconds.
pub(super) struct Seconds(pub(super) u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// What the history says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The guarantee held, in a run that would have shown otherwise.
    Passed,
    /// The guarantee was broken; the first [`KEPT`] breaches.
    Failed(Vec<Violation>),
    /// The run shows nothing, for these reasons.
    Void(Vec<String>),
}

/// Faults of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// How often it was caused.
    pub caused: u64,
    /// How often it was seen to do something.
    pub effective: u64,
    /// How many connections, bytes or processes it hit in all.
    pub effect: u64,
}

/// A figure of the server's over the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Peak {
    /// Its highest value.
    pub value: u64,
    /// The lowest limit that it was held against; 0 = none.
    pub limit: u64,
}

/// What was counted in a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Notes read.
    pub notes: u64,
    /// Signals that clients sent.
    pub sent: u64,
    /// Signals that were accepted.
    pub accepted: u64,
    /// Signals that were reported as undelivered.
    pub undelivered: u64,
    /// Signals of which the sender could not know what became of them.
    pub unknown: u64,
    /// Signals without any note of what became of them.
    pub unsettled: u64,
    /// Signals that reached an application, repetitions and ghosts included.
    pub delivered: u64,
    /// Sessions that were opened.
    pub sessions: u64,
    /// Streams that clients lost.
    pub suspends: u64,
    /// Sessions that were resumed.
    pub resumes: u64,
    /// Sessions that ended, as their clients know it.
    pub ends: u64,
    /// Times that the server's process was lost.
    pub server_losses: u64,
    /// Rosters compared at the end.
    pub rosters: u64,
    /// Accepted signals that should have arrived and did not.
    pub lost: u64,
    /// Signals that arrived again.
    pub duplicated: u64,
    /// Signals that arrived after a later one.
    pub reordered: u64,
    /// Session ends that somebody whom they concern was not told of in time.
    pub silent: u64,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Replays the run.
    pub seed: u64,
    /// Versions of server and clients.
    pub versions: String,
    /// Signals that the run meant to send.
    pub planned_signals: u64,
    /// Faults that the run meant to cause.
    pub planned_faults: u64,
    /// Passed, failed or void.
    pub verdict: Verdict,
    /// What was counted.
    pub counts: Counts,
    /// Faults by kind.
    pub faults: BTreeMap<String, Faults>,
    /// Peaks of the server's figures.
    pub peaks: BTreeMap<String, Peak>,
    /// Number of violations of each check that found any.
    pub violations: BTreeMap<Check, u64>,
    /// Why the run would be void. A run that failed is not void: a breach in little traffic is a breach.
    pub doubts: Vec<String>,
}

impl Report {
    /// Whether the guarantee held in a run that shows something.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Passed
    }

    /// Violations in all, also of those that were not kept.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.violations.values().sum()
    }

    /// Faults that were seen to do something.
    #[must_use]
    pub fn effective_faults(&self) -> u64 {
        self.faults.values().map(|faults| faults.effective).sum()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Passed => "PASSED",
            Verdict::Failed(_) => "FAILED",
            Verdict::Void(_) => "VOID",
        };
        writeln!(f, "{verdict}  seed {}  {}", self.seed, self.versions)?;
        let c = &self.counts;
        for (name, value) in [
            ("signals sent", c.sent),
            ("  accepted", c.accepted),
            ("  undelivered", c.undelivered),
            ("  unknown", c.unknown),
            ("  unsettled", c.unsettled),
            ("signals delivered", c.delivered),
            ("sessions", c.sessions),
            ("  suspends", c.suspends),
            ("  resumes", c.resumes),
            ("  ends", c.ends),
            ("server losses", c.server_losses),
            ("rosters compared", c.rosters),
            ("lost", c.lost),
            ("duplicated", c.duplicated),
            ("reordered", c.reordered),
            ("silent ends", c.silent),
        ] {
            writeln!(f, "{name:<28}{value:>14}")?;
        }
        writeln!(f, "{:<28}{:>14}{:>14}{:>14}", "fault", "caused", "effective", "effect")?;
        for (kind, faults) in &self.faults {
            writeln!(f, "  {kind:<26}{:>14}{:>14}{:>14}", faults.caused, faults.effective, faults.effect)?;
        }
        writeln!(f, "{:<28}{:>14}{:>14}", "gauge", "peak", "limit")?;
        for (name, peak) in &self.peaks {
            write!(f, "  {name:<26}{:>14}", peak.value)?;
            if peak.limit == 0 { writeln!(f, "{:>14}", "-")? } else { writeln!(f, "{:>14}", peak.limit)? }
        }
        bound(f, self.bad(), c.accepted, "signals")?;
        bound(f, self.bad(), self.effective_faults(), "faults")?;
        for (check, count) in &self.violations {
            writeln!(f, "violated: {check:<22}{count:>10} times")?;
        }
        if let Verdict::Failed(violations) = &self.verdict {
            for violation in violations {
                writeln!(f, "  {violation}")?;
            }
        }
        for doubt in &self.doubts {
            writeln!(f, "void: {doubt}")?;
        }
        Ok(())
    }
}

/// The rule of three: what seeing none bad among so many says of the rate.
fn bound(f: &mut Formatter<'_>, bad: u64, n: u64, of: &str) -> fmt::Result {
    match (bad, n) {
        (_, 0) => writeln!(f, "no {of}: nothing is known of the rate per {}", of.trim_end_matches('s')),
        (0, n) => {
            #[expect(clippy::cast_precision_loss, reason = "a bound for people")]
            let rate = 3.0 / n as f64;
            writeln!(f, "0 bad of {n} {of} bounds the rate at 3/n = {rate:.1e} (95 %)")
        }
        (bad, n) => writeln!(f, "{bad} bad of {n} {of}"),
    }
}
