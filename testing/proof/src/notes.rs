//! Where everybody who takes part in a run notes what happened: one clock, one order, one writer.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    checker::{Bounds, Check, Checker, Report, Verdict},
    history::{Note, Outcome, What},
};

/// Notes that may wait for the writer; beyond that, whoever notes waits.
const WAITING: usize = 65_536;

/// How far a run has got.
#[derive(Debug, Default)]
pub struct Progress {
    /// Signals that clients sent.
    pub sent: AtomicU64,
    /// Faults that had an effect.
    pub faults: AtomicU64,
    /// Whether a breach was found, so that nothing that comes after it matters.
    pub breached: AtomicBool,
    /// Sessions whose end somebody was told, and with what reason.
    told: Mutex<HashSet<(String, String)>>,
    /// The members that each session's last `Resumed` showed.
    shown: Mutex<HashMap<String, Vec<String>>>,
}

impl Progress {
    /// Whether somebody was told that a session ended for this reason.
    pub fn is_told(&self, session: &str, reason: &str) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.contains(&(session.to_owned(), reason.to_owned()))
    }

    /// Whether the last `Resumed` of a session showed that member.
    pub fn has_shown(&self, session: &str, member: &str) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.get(session).is_some_and(|roster| roster.iter().any(|id| id == member))
    }

    fn show(&self, session: &str, roster: &[String]) {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(session.to_owned(), roster.to_vec());
    }

    fn tell(&self, session: &str, reason: &str) {
        let reason = reason.trim_start_matches("LEAVE_REASON_").to_owned();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert((session.to_owned(), reason));
    }
}

/// The breach that was found first.
#[derive(Debug)]
pub struct First {
    /// What it breaks.
    pub check: Check,
    /// How many signals had been sent by then.
    pub signals: u64,
    /// How long after the run began.
    pub after: Duration,
}

/// What came of the notes.
#[derive(Debug)]
pub struct Outcomes {
    /// The checker's.
    pub report: Report,
    /// Which reasons were given how often.
    pub reasons: Reasons,
    /// Set when something was found.
    pub first: Option<First>,
}

/// How often which reason was given: for people, who want to see that a run had some of each.
#[derive(Debug, Default)]
pub struct Reasons {
    /// To clients, for the end of their sessions.
    pub over: BTreeMap<String, u64>,
    /// To others, for the same.
    pub left: BTreeMap<String, u64>,
    /// To senders, for signals that were not delivered.
    pub undelivered: BTreeMap<String, u64>,
}

impl Reasons {
    fn count(&mut self, what: What) {
        let (counts, reason) = match what {
            What::Over { reason, .. } => (&mut self.over, reason),
            What::SawLeave { reason, .. } => (&mut self.left, reason),
            What::Settled { outcome: Outcome::Undelivered(reason), .. } => (&mut self.undelivered, reason),
            _ => return,
        };
        *counts.entry(reason).or_default() += 1;
    }
}

enum Line {
    Note(Note),
    End,
    Stop,
}

/// Takes notes; can be cloned.
#[derive(Clone)]
pub struct Notes {
    start: Instant,
    lines: SyncSender<Line>,
    progress: Arc<Progress>,
}

/// The writer at the other end, which checks as it writes.
pub struct Writer {
    notes: Notes,
    thread: JoinHandle<io::Result<Outcomes>>,
}

impl Writer {
    /// Starts to write; into `history` too, if that is given.
    pub fn start(history: Option<&Path>, bounds: Bounds) -> io::Result<Self> {
        let file = history.map(File::create).transpose()?;
        let (sender, lines) = sync_channel(WAITING);
        let progress: Arc<Progress> = Arc::default();
        let notes = Notes { start: Instant::now(), lines: sender, progress: progress.clone() };
        let thread = std::thread::spawn(move || write(&lines, file, bounds, &progress));
        Ok(Self { notes, thread })
    }

    /// For those who note.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Nothing more is taken; the verdict. `whole`: the run went to its end, so what is missing now is lost.
    pub fn finish(self, whole: bool) -> io::Result<Outcomes> {
        // The thread is gone only when it could not write, which it says itself.
        let _ = self.notes.lines.send(if whole { Line::End } else { Line::Stop });
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the checker panicked")))
    }
}

impl Notes {
    /// Notes that something happens now.
    pub fn note(&self, what: What) {
        match &what {
            What::Sent { .. } => self.progress.sent.fetch_add(1, Ordering::Relaxed),
            What::Fault { effect: 1.., .. } => self.progress.faults.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        if let What::Over { session, reason } | What::SawLeave { member: session, reason, .. } = &what {
            self.progress.tell(session, reason);
        }
        if let What::SawRoster { session, roster } = &what {
            self.progress.show(session, roster);
        }
        let at = micros(self.start.elapsed());
        // After the end nobody listens, and nobody needs to.
        let _ = self.lines.send(Line::Note(Note { at, what }));
    }

    /// How far the run has got.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// A time as notes have it.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn write(lines: &Receiver<Line>, file: Option<File>, bounds: Bounds, progress: &Progress) -> io::Result<Outcomes> {
    let mut checker = Checker::with_bounds(bounds);
    let mut file = file.map(BufWriter::new);
    let mut reasons = Reasons::default();
    let mut first = None;
    let mut last = 0;
    let whole = loop {
        let mut note = match lines.recv() {
            Ok(Line::Note(note)) => note,
            Ok(Line::Stop) => break false,
            Ok(Line::End) | Err(_) => break true,
        };
        // Two threads may read the clock in one order and come here in the other; this order is the one that counts.
        note.at = note.at.max(last);
        last = note.at;
        if let Some(file) = &mut file {
            serde_json::to_writer(&mut *file, &note)?;
            file.write_all(b"\n")?;
        }
        checker.note(&note);
        if let (None, Some(breach)) = (&first, checker.breach()) {
            first = Some(first_of(breach.check, last, progress));
            progress.breached.store(true, Ordering::Relaxed);
        }
        reasons.count(note.what);
    };
    if let Some(mut file) = file {
        file.flush()?;
    }
    let report = if whole { checker.finish() } else { checker.stop() };
    if let (None, Verdict::Failed(violations)) = (&first, &report.verdict) {
        // What shows only at the end, like the end itself.
        first = violations.first().map(|violation| first_of(violation.check, last, progress));
    }
    Ok(Outcomes { report, reasons, first })
}

fn first_of(check: Check, at: u64, progress: &Progress) -> First {
    First { check, signals: progress.sent.load(Ordering::Relaxed), after: Duration::from_micros(at) }
}
