//! Where everybody who takes part in a run notes what happened: one clock, one order, one writer.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    checker::{Bounds, Checker, Report},
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
    thread: JoinHandle<io::Result<(Report, Reasons)>>,
}

impl Writer {
    /// Starts to write; into `history` too, if that is given.
    pub fn start(history: Option<&Path>, bounds: Bounds) -> io::Result<Self> {
        let file = history.map(File::create).transpose()?;
        let (sender, lines) = sync_channel(WAITING);
        let thread = std::thread::spawn(move || write(&lines, file, bounds));
        Ok(Self { notes: Notes { start: Instant::now(), lines: sender, progress: Arc::default() }, thread })
    }

    /// For those who note.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Nothing more is taken; the verdict.
    pub fn finish(self) -> io::Result<(Report, Reasons)> {
        // The thread is gone only when it could not write, which it says itself.
        let _ = self.notes.lines.send(Line::End);
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

fn write(lines: &Receiver<Line>, file: Option<File>, bounds: Bounds) -> io::Result<(Report, Reasons)> {
    let mut checker = Checker::with_bounds(bounds);
    let mut file = file.map(BufWriter::new);
    let mut reasons = Reasons::default();
    let mut last = 0;
    while let Ok(Line::Note(mut note)) = lines.recv() {
        // Two threads may read the clock in one order and come here in the other; this order is the one that counts.
        note.at = note.at.max(last);
        last = note.at;
        if let Some(file) = &mut file {
            serde_json::to_writer(&mut *file, &note)?;
            file.write_all(b"\n")?;
        }
        checker.note(&note);
        reasons.count(note.what);
    }
    if let Some(mut file) = file {
        file.flush()?;
    }
    Ok((checker.finish(), reasons))
}
