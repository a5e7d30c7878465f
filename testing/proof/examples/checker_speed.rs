//! The speed of the checker: `cargo run --release -p signalbox-proof --example checker_speed [signals]`.

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use signalbox_proof::checker::Checker;
use signalbox_proof::history::{Event, Note, Outcome};

const ROOMS: u64 = 250;
const MEMBERS: u64 = 8;
/// Number of signals between the sending and the arrival of a signal.
const FLIGHT: usize = 5_000;

fn main() {
    let total: u64 = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(10_000_000);
    let mut checker = Checker::new();
    // Only the time in the checker counts.
    let mut spent = Duration::ZERO;
    let mut batch = Vec::new();
    let mut at = 0;
    let mut note = |what| {
        at += 1;
        batch.push(Note { at, what });
        if batch.len() == 10_000 || matches!(batch.last(), Some(Note { what: Event::Gauge { .. }, .. })) {
            let start = Instant::now();
            for note in &batch {
                checker.note(note);
            }
            spent += start.elapsed();
            batch.clear();
        }
    };
    let name = |room: u64, member: u64| format!("01jd{room:08x}{member:014x}");
    note(Event::Run {
        seed: 1,
        versions: env!("CARGO_PKG_VERSION").to_owned(),
        planned_signals: total,
        planned_faults: 0,
        resume_window: 30_000_000,
    });
    for room in 0..ROOMS {
        for member in 0..MEMBERS {
            let roster = (0..member).map(|other| name(room, other)).collect();
            note(Event::Opened { session: name(room, member), room: format!("room{room}"), roster, page: false });
            for other in 0..member {
                note(Event::SawJoin { session: name(room, other), member: name(room, member) });
            }
        }
    }
    let mut flight: VecDeque<(u64, u64, u64, u64)> = VecDeque::new();
    for index in 0..total + FLIGHT as u64 {
        if index < total {
            // Each round has a signal for every pair.
            let (room, rest) = (index % ROOMS, index / ROOMS);
            let (from, rest) = (rest % MEMBERS, rest / MEMBERS);
            let (to, round) = ((from + 1 + rest % (MEMBERS - 1)) % MEMBERS, rest / (MEMBERS - 1));
            note(Event::Sent { session: name(room, from), to: name(room, to), number: round + 1, hash: index });
            flight.push_back((room, from, to, round + 1));
        }
        if index >= FLIGHT as u64
            && let Some((room, from, to, number)) = flight.pop_front()
        {
            let (from, to, hash) = (name(room, from), name(room, to), index - FLIGHT as u64);
            note(Event::Delivered { session: to.clone(), from: from.clone(), claimed: from.clone(), number, hash });
            note(Event::Settled { session: from, to, number, outcome: Outcome::Accepted });
        }
    }
    for room in 0..ROOMS {
        for member in 0..MEMBERS {
            let roster = (0..MEMBERS).filter(|&other| other != member).map(|other| name(room, other)).collect();
            note(Event::Final { session: name(room, member), roster });
        }
    }
    note(Event::Gauge { name: "pairs".to_owned(), value: ROOMS * MEMBERS * (MEMBERS - 1), limit: 0 });
    let start = Instant::now();
    let report = checker.finish();
    spent += start.elapsed();
    println!("{report}");
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = total as f64 / spent.as_secs_f64();
    println!("{total} signals, {} notes in {spent:.2?}: {rate:.0} signals/s", report.counts.notes);
}
