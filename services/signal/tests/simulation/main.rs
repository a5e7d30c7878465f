//! The real server and the real native client on a simulated network, in virtual time. By a seed, connections are
//! partitioned and held, the server crashes, members are removed and replaced, and rooms are closed. The history of each
//! run is checked against the guarantee.
//!
//! `SIGNALBOX_SIM_SEEDS=100000` runs more seeds, `SIGNALBOX_SIM_SEED=7` replays one. A program of its own, since runs of
//! many seeds are built with `--release --test simulation`, without the other tests.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod member;
mod network;
mod operator;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Parser;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use signalbox_proof::{
    checker::{Bounds, Checker, Verdict},
    history::{Event, Note},
};
use signalbox_server::{Parts, Server, cli::Cli, config::Config, random::Random};
use signalbox_testkit::MemoryStore;

use self::network::SimulatedListener;

const MEMBERS: usize = 4;
const ROOM: &str = "sim";
/// Virtual time with signals and faults, and then without both.
const TROUBLE: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_secs(25);
/// The longest fault may hold a member, which does not notice, and then receives what it has missed.
const NOTIFY: Duration = Duration::from_secs(12);
const RESUME_WINDOW: Duration = Duration::from_secs(5);

/// The history of a run, shared by its hosts.
#[derive(Clone)]
pub(crate) struct World {
    notes: Arc<Mutex<Vec<Note>>>,
}

impl World {
    pub(crate) fn note(&self, what: Event) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        self.note_at(at, what);
    }

    /// The clocks of hosts differ within a tick of the simulation, so the order of notes is the order of time.
    fn note_at(&self, at: Duration, what: Event) {
        let mut notes = self.notes.lock().unwrap();
        let last = notes.last().map_or(0, |note| note.at);
        notes.push(Note { at: last.max(at.as_micros() as u64), what });
    }
}

fn config(seed: u64) -> Config {
    let window = format!("{}s", RESUME_WINDOW.as_secs());
    // A lost stream is noticed late. With the small mailbox most resumes are too late, with the large one in time.
    let mailbox = if seed.is_multiple_of(2) { "64" } else { "512" };
    let flags = ["signalbox", "--resume-window", &window, "--heartbeat", "1s", "--mailbox-entries", mailbox];
    Cli::try_parse_from(flags).unwrap().serve
}

/// Random bits that are the same in every run of a seed.
fn seeded(seed: u64) -> Random {
    let rng = Mutex::new(StdRng::seed_from_u64(seed));
    Random::from_fn(move |bits| rng.lock().unwrap().fill(bits))
}

fn run(seed: u64) -> Vec<Note> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(120))
        .tick_duration(Duration::from_millis(2))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(60))
        .tcp_capacity(100_000)
        .build();
    let world = World { notes: Arc::default() };
    // It outlives a crash of the server.
    let store: Arc<MemoryStore> = Arc::default();
    let starts = Mutex::new(0);
    sim.host("server", move || {
        let store = store.clone();
        let start = {
            let mut starts = starts.lock().unwrap();
            *starts += 1;
            *starts
        };
        async move {
            let listener = SimulatedListener::bind().await?;
            // A restarted server must not reuse ids.
            let random = seeded(seed.wrapping_mul(1000) + start);
            let authenticator = config(seed).auth.authenticator().unwrap();
            Server::from_parts(config(seed), Parts::new(store, authenticator, random, listener))
                .await
                .run(std::future::pending())
                .await;
            Ok(())
        }
    });
    for index in 0..MEMBERS {
        let (world, seed) = (world.clone(), seed.wrapping_mul(100) + index as u64);
        sim.client(format!("member-{index}"), member::run(world, index, seed));
    }
    sim.client("operator", operator::run(world.clone(), seed));

    let note = |at, what| world.note_at(at, what);
    note(
        Duration::ZERO,
        Event::Run {
            seed,
            versions: env!("CARGO_PKG_VERSION").to_owned(),
            planned_signals: 40,
            // A single short fault may have no effect; their number is checked over all seeds.
            planned_faults: 0,
            resume_window: RESUME_WINDOW.as_micros() as u64,
        },
    );
    // Faults of a random kind and length, on a random member. Their effect is in the notes of the members.
    let mut next = Duration::from_millis(rng.random_range(300..2500));
    let mut heal: Option<(Duration, Fault, usize)> = None;
    loop {
        let now = sim.elapsed();
        if let Some((_, fault, member)) = heal.take_if(|(at, ..)| *at <= now || now >= TROUBLE) {
            fault.heal(&mut sim, member);
            next = now + Duration::from_millis(rng.random_range(200..4000));
        }
        if heal.is_none() && now >= next && now < TROUBLE {
            let (fault, member) = (Fault::random(&mut rng), rng.random_range(0..MEMBERS));
            note(now, Event::Fault { kind: format!("{fault:?}").to_lowercase(), effect: 1 });
            if fault == Fault::Crash {
                note(now, Event::ServerLost);
            }
            fault.cause(&mut sim, member);
            heal = Some((now + Duration::from_millis(rng.random_range(100..9000)), fault, member));
        }
        if sim.step().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
            break;
        }
    }
    std::mem::take(&mut *world.notes.lock().unwrap())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Packets between a member and the server are lost.
    Partition,
    /// Packets wait, and then arrive all at once.
    Hold,
    /// The server crashes and is started again.
    Crash,
}

impl Fault {
    fn random(rng: &mut StdRng) -> Self {
        match rng.random_range(0..10) {
            0..5 => Self::Partition,
            5..9 => Self::Hold,
            _ => Self::Crash,
        }
    }

    fn cause(self, sim: &mut turmoil::Sim<'_>, member: usize) {
        let member = format!("member-{member}");
        match self {
            Self::Partition => sim.partition(member, "server"),
            Self::Hold => sim.hold(member, "server"),
            Self::Crash => sim.crash("server"),
        }
    }

    fn heal(self, sim: &mut turmoil::Sim<'_>, member: usize) {
        let member = format!("member-{member}");
        match self {
            Self::Partition => sim.repair(member, "server"),
            Self::Hold => sim.release(member, "server"),
            Self::Crash => sim.bounce("server"),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

#[test]
fn the_guarantee_holds_for_every_seed() {
    let seeds = match number("SIGNALBOX_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIGNALBOX_SIM_SEEDS").unwrap_or(1000),
    };
    let total = Mutex::new([0u64; 7]);
    let next = Mutex::new(seeds.clone());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = { next.lock().unwrap().next() } {
                    let notes = run(seed);
                    let mut checker =
                        Checker::with_bounds(Bounds { notify: NOTIFY.as_micros() as u64, ..Bounds::default() });
                    notes.iter().for_each(|note| checker.note(note));
                    let report = checker.finish();
                    if !matches!(report.verdict, Verdict::Passed) {
                        let lines: Vec<_> = notes.iter().map(|n| serde_json::to_string(n).unwrap()).collect();
                        panic!("{}\n{report}\nreplay with SIGNALBOX_SIM_SEED={seed}", lines.join("\n"));
                    }
                    let count = |wanted: fn(&Event) -> bool| notes.iter().filter(|n| wanted(&n.what)).count() as u64;
                    let kinds: [fn(&Event) -> bool; 7] = [
                        |w| matches!(w, Event::Sent { .. }),
                        |w| matches!(w, Event::Delivered { .. }),
                        |w| matches!(w, Event::Resumed { .. }),
                        |w| matches!(w, Event::Fault { .. }),
                        |w| matches!(w, Event::Sent { to, .. } if to.is_empty()),
                        |w| matches!(w, Event::Ended { .. }),
                        |w| matches!(w, Event::Over { reason, .. } if reason == "REPLACED"),
                    ];
                    let mut total = total.lock().unwrap();
                    total.iter_mut().zip(kinds).for_each(|(total, kind)| *total += count(kind));
                }
            });
        }
    });
    let [sent, delivered, resumed, faults, to_all, ended, replaced] = *total.lock().unwrap();
    eprintln!(
        "{seeds:?} seeds: {sent} signals sent, {to_all} of them to all, {delivered} delivered, {resumed} resumes, \
         {faults} faults, {ended} sessions ended by the operator, {replaced} replaced"
    );
    assert!(resumed > 0 && delivered > 0, "nothing was tested");
    assert!(seeds.count() < 100 || (to_all > 0 && ended > 0 && replaced > 0), "something was not tested");
}

#[test]
fn a_seed_replays_the_same_history() {
    // The order in which clients notice a crash does not depend on the seed: the simulation has sockets in a hash map.
    let until_crash = |mut notes: Vec<Note>| {
        let crash = notes.iter().position(|n| n.what == Event::ServerLost).unwrap_or(notes.len());
        notes.truncate(crash);
        notes
    };
    let mut delivered = 0;
    for seed in 0..10 {
        let (one, two) = (until_crash(run(seed)), until_crash(run(seed)));
        delivered += one.iter().filter(|n| matches!(n.what, Event::Delivered { .. })).count();
        let differ = one.iter().zip(&two).position(|(a, b)| a != b);
        assert_eq!(differ.map(|at| (&one[at], &two[at])), None, "seed {seed}");
        assert_eq!(one.len(), two.len());
    }
    assert!(delivered > 0, "nothing was compared");
}
