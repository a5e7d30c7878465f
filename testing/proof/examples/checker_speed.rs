//! How fast the checker is: `cargo run --release -p signalbox-proof --example checker_speed [signals]`.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use signalbox_proof::checker::Checker;
use signalbox_proof::history::{Note, Outcome, What};

const ROOMS: u64 = 250;
const MEMBERS: u64 = 8;
/// Signals in flight: so far behind its sending a signal arrives.
const FLIGHT: usize = 5_000;

fn main() {
    let total: u64 = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(10_000_000);
    let mut checker = Checker::new();
    // Only the checker's own time counts.
    let mut spent = Duration::ZERO;
    let mut batch = Vec::new();
    let mut at = 0;
    let mut note = |what| {
        at += 1;
        batch.push(Note { at, what });
        if batch.len() == 10_000 || matches!(batch.last(), Some(Note { what: What::Gauge { .. }, .. })) {
            let start = Instant::now();
            for note in &batch {
                checker.note(note);
            }
            spent += start.elapsed();
            batch.clear();
        }
    };
    let name = |room: u64, member: u64| format!("01jd{room:08x}{member:014x}");
    note(What::Run {
        seed: 1,
        versions: env!("CARGO_PKG_VERSION").to_owned(),
        planned_signals: total,
        planned_faults: 0,
        resume_window: 30_000_000,
    });
    for room in 0..ROOMS {
        for member in 0..MEMBERS {
            let roster = (0..member).map(|other| name(room, other)).collect();
            note(What::Opened { session: name(room, member), room: format!("room{room}"), roster, page: false });
            for other in 0..member {
                note(What::SawJoin { session: name(room, other), member: name(room, member) });
            }
        }
    }
    let mut flight: VecDeque<(u64, u64, u64, u64)> = VecDeque::new();
    for index in 0..total + FLIGHT as u64 {
        if index < total {
            // Each round serves all pairs once.
            let (room, rest) = (index % ROOMS, index / ROOMS);
            let (from, rest) = (rest % MEMBERS, rest / MEMBERS);
            let (to, round) = ((from + 1 + rest % (MEMBERS - 1)) % MEMBERS, rest / (MEMBERS - 1));
            note(What::Sent { session: name(room, from), to: name(room, to), number: round + 1, hash: index });
            flight.push_back((room, from, to, round + 1));
        }
        if index >= FLIGHT as u64
            && let Some((room, from, to, number)) = flight.pop_front()
        {
            let (from, to, hash) = (name(room, from), name(room, to), index - FLIGHT as u64);
            note(What::Delivered { session: to.clone(), from: from.clone(), claimed: from.clone(), number, hash });
            note(What::Settled { session: from, to, number, outcome: Outcome::Accepted });
        }
    }
    for room in 0..ROOMS {
        for member in 0..MEMBERS {
            let roster = (0..MEMBERS).filter(|&other| other != member).map(|other| name(room, other)).collect();
            note(What::Final { session: name(room, member), roster });
        }
    }
    note(What::Gauge { name: "pairs".to_owned(), value: ROOMS * MEMBERS * (MEMBERS - 1), limit: 0 });
    let start = Instant::now();
    let report = checker.finish();
    spent += start.elapsed();
    println!("{report}");
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = total as f64 / spent.as_secs_f64();
    println!("{total} signals, {} notes in {spent:.2?}: {rate:.0} signals/s", report.counts.notes);
}
