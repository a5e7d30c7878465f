//! Records the events of a run, with one clock, one order, and one writer.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    checker::{Bounds, Check, Checker, Report, Verdict},
    history::{Event, Note, Outcome},
};
use parking_lot::Mutex;

/// Entries in the queue of the writer. Recording blocks while it is full.
const QUEUE: usize = 65_536;

/// The progress of a run.
#[derive(Debug, Default)]
pub struct Progress {
    /// Signals sent.
    pub sent: AtomicU64,
    /// Faults that had an effect.
    pub faults: AtomicU64,
    /// Whether a breach was found. Later events do not matter.
    pub breached: AtomicBool,
    /// Sessions whose end was reported to a client, with the reason.
    reported: Mutex<HashSet<(String, String)>>,
    /// The members that each session's last `Resumed` showed.
    shown: Mutex<HashMap<String, Vec<String>>>,
}

impl Progress {
    /// Whether a client received the end of a session for this reason.
    pub fn is_reported(&self, session: &str, reason: &str) -> bool {
        let reported = self.reported.lock();
        reported.contains(&(session.to_owned(), reason.to_owned()))
    }

    /// Whether the last `Resumed` of a session showed that member.
    pub fn has_shown(&self, session: &str, member: &str) -> bool {
        let shown = self.shown.lock();
        shown.get(session).is_some_and(|roster| roster.iter().any(|id| id == member))
    }

    fn show(&self, session: &str, roster: &[String]) {
        self.shown.lock().insert(session.to_owned(), roster.to_vec());
    }

    fn report(&self, session: &str, reason: &str) {
        let reason = reason.trim_start_matches("LEAVE_REASON_").to_owned();
        self.reported.lock().insert((session.to_owned(), reason));
    }
}

/// The first breach that was found.
#[derive(Debug)]
pub struct First {
    /// The violated check.
    pub check: Check,
    /// Signals sent before it.
    pub signals: u64,
    /// Time since the start of the run.
    pub after: Duration,
}

/// The result of a history.
#[derive(Debug)]
pub struct Outcomes {
    /// The report of the checker.
    pub report: Report,
    /// The counts of reasons.
    pub reasons: Reasons,
    /// The first breach, if there was one.
    pub first: Option<First>,
}

/// The counts of reasons, which show that a run had all of them.
#[derive(Debug, Default)]
pub struct Reasons {
    /// Reasons for the end of a session, as its client received them.
    pub over: BTreeMap<String, u64>,
    /// The same, as other clients received them.
    pub left: BTreeMap<String, u64>,
    /// Reasons of undelivered signals.
    pub undelivered: BTreeMap<String, u64>,
}

impl Reasons {
    fn count(&mut self, what: Event) {
        let (counts, reason) = match what {
            Event::Over { reason, .. } => (&mut self.over, reason),
            Event::SawLeave { reason, .. } => (&mut self.left, reason),
            Event::Settled { outcome: Outcome::Undelivered(reason), .. } => (&mut self.undelivered, reason),
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

/// Records events; can be cloned.
#[derive(Clone)]
pub struct Recorder {
    start: Instant,
    lines: SyncSender<Line>,
    progress: Arc<Progress>,
}

/// Writes and checks the recorded events.
pub struct Writer {
    recorder: Recorder,
    thread: JoinHandle<io::Result<Outcomes>>,
}

impl Writer {
    /// Starts, with a file for the history if one is given.
    pub fn start(history: Option<&Path>, bounds: Bounds) -> io::Result<Self> {
        let file = history.map(File::create).transpose()?;
        let (sender, lines) = sync_channel(QUEUE);
        let progress: Arc<Progress> = Arc::default();
        let recorder = Recorder { start: Instant::now(), lines: sender, progress: progress.clone() };
        let thread = std::thread::spawn(move || write(&lines, file, bounds, &progress));
        Ok(Self { recorder, thread })
    }

    /// A recorder for this writer.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Stops, and returns the result. `whole`: the run is complete, so what is missing now is lost.
    pub fn finish(self, whole: bool) -> io::Result<Outcomes> {
        // If the thread has ended, it failed to write, and returns the error.
        let _ = self.recorder.lines.send(if whole { Line::End } else { Line::Stop });
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the checker panicked")))
    }
}

impl Recorder {
    /// Records an event at the current time.
    pub fn record(&self, what: Event) {
        match &what {
            Event::Sent { .. } => self.progress.sent.fetch_add(1, Ordering::Relaxed),
            Event::Fault { effect: 1.., .. } => self.progress.faults.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        if let Event::Over { session, reason } | Event::SawLeave { member: session, reason, .. } = &what {
            self.progress.report(session, reason);
        }
        if let Event::SawRoster { session, roster } = &what {
            self.progress.show(session, roster);
        }
        let at = micros(self.start.elapsed());
        // After the end of the run the writer has stopped.
        let _ = self.lines.send(Line::Note(Note { at, what }));
    }

    /// The progress of the run.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// A duration in the unit of the history.
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
        // Two threads may read the clock in one order and get here in the other. The order here counts.
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
        // A breach that shows only at the end.
        first = violations.first().map(|violation| first_of(violation.check, last, progress));
    }
    Ok(Outcomes { report, reasons, first })
}

fn first_of(check: Check, at: u64, progress: &Progress) -> First {
    First { check, signals: progress.sent.load(Ordering::Relaxed), after: Duration::from_micros(at) }
}
