//! The report of the checker.

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
    /// C2: signals of a pair arrive in sending order.
    Ordered,
    /// C3: no accepted signal is skipped by a later one of its pair.
    GapFree,
    /// C4: what arrives was sent by that session to this one, unaltered, and was not reported as undelivered.
    NoGhost,
    /// C5: nothing passes between rooms.
    RoomWall,
    /// C6: an accepted signal arrives, unless the session of its receiver ends.
    Complete,
    /// C7: the end of a session is reported to its client and the other members in time.
    LoudLoss,
    /// C8: signals of a member arrive between its join and its leave, and rosters agree at the end.
    Roster,
    /// C9: metrics of the server stay within their limits.
    Bounded,
    /// G3: each signal has one outcome, and `unknown` only after the end of the session of its sender.
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
    /// The violated check.
    pub check: Check,
    /// Time of the note that shows it, in microseconds since the run began.
    pub at: u64,
    /// The affected session: the receiver of a signal or report. Empty for a gauge.
    pub session: String,
    /// The other session: the sender of a signal, the one that ended. Empty where there is none.
    pub other: String,
    /// Number of the signal from `other` to `session`.
    pub number: Option<u64>,
    /// A description.
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

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The guarantee held.
    Passed,
    /// The guarantee was broken; the first [`KEPT`] breaches.
    Failed(Vec<Violation>),
    /// The run proves nothing, for these reasons.
    Void(Vec<String>),
}

/// Faults of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Number of faults.
    pub caused: u64,
    /// Number of faults with an effect.
    pub effective: u64,
    /// Number of affected connections, bytes or processes.
    pub effect: u64,
}

/// The peak of a metric of the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Peak {
    /// Its highest value.
    pub value: u64,
    /// Its lowest limit; 0: none.
    pub limit: u64,
}

/// The counts of a run.
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
    /// Signals with an unknown outcome.
    pub unknown: u64,
    /// Signals without an outcome.
    pub unsettled: u64,
    /// Signals that reached an application, with duplicates and ghosts.
    pub delivered: u64,
    /// Sessions that were opened.
    pub sessions: u64,
    /// Streams that clients lost.
    pub suspends: u64,
    /// Sessions that were resumed.
    pub resumes: u64,
    /// Sessions whose clients learned their end.
    pub ends: u64,
    /// Losses of the server process.
    pub server_losses: u64,
    /// Rosters compared at the end.
    pub rosters: u64,
    /// Accepted signals that were lost.
    pub lost: u64,
    /// Signals that arrived again.
    pub duplicated: u64,
    /// Signals that arrived after a later one.
    pub reordered: u64,
    /// Ends of sessions that were not reported in time.
    pub silent: u64,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Seed, which replays the run.
    pub seed: u64,
    /// Versions of server and clients.
    pub versions: String,
    /// Signals planned.
    pub planned_signals: u64,
    /// Faults planned.
    pub planned_faults: u64,
    /// Passed, failed or void.
    pub verdict: Verdict,
    /// The counts.
    pub counts: Counts,
    /// Faults by kind.
    pub faults: BTreeMap<String, Faults>,
    /// Peaks of the metrics of the server.
    pub peaks: BTreeMap<String, Peak>,
    /// Number of violations of each check that found any.
    pub violations: BTreeMap<Check, u64>,
    /// Reasons for a void run. A breach in a void run counts as a breach.
    pub doubts: Vec<String>,
}

impl Report {
    /// Whether the guarantee held in a run that is not void.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict == Verdict::Passed
    }

    /// Number of violations, with those that were not kept.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.violations.values().sum()
    }

    /// Number of faults with an effect.
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

/// The rule of three: the bound of a rate without an occurrence in `n`.
fn bound(f: &mut Formatter<'_>, bad: u64, n: u64, of: &str) -> fmt::Result {
    match (bad, n) {
        (_, 0) => writeln!(f, "no {of}: the rate per {} is unknown", of.trim_end_matches('s')),
        (0, n) => {
            #[expect(clippy::cast_precision_loss, reason = "a bound for people")]
            let rate = 3.0 / n as f64;
            writeln!(f, "0 bad of {n} {of} bounds the rate at 3/n = {rate:.1e} (95 %)")
        }
        (bad, n) => writeln!(f, "{bad} bad of {n} {of}"),
    }
}
