//! Causes faults, drawn from a seed, and notes what each of them did.

use std::{io, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::sleep,
};

use crate::{
    history::What,
    member::{Order, Phase},
    notes::Notes,
    proxy::{Mode, Proxy, Way},
    server::{RESUME_WINDOW, Server},
};

/// Who can be hit: a client, through its proxy.
pub struct Target {
    /// What it connects through.
    pub proxy: Proxy,
    /// What it can be told.
    pub orders: mpsc::Sender<Order>,
    /// Its present or last session.
    pub session: watch::Receiver<String>,
    /// Held by the fault under way: two at once would end each other, and count each other's effect.
    pub busy: Mutex<()>,
}

/// The clients of one room.
pub type Room = Vec<Target>;

/// A fault that hits one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Delay,
    Stall,
    LongStall,
    Swallow,
    Slice,
    Reset,
    ResetAfter,
    Fin,
    Refuse,
    Outage,
    FullMailbox,
    Leave,
    Kill,
    Herd,
}

/// Out of how many each is, by chance.
const WEIGHTS: [(Kind, u32); 14] = [
    (Kind::Delay, 12),
    (Kind::Stall, 10),
    (Kind::LongStall, 2),
    (Kind::Swallow, 8),
    (Kind::Slice, 8),
    (Kind::Reset, 18),
    (Kind::ResetAfter, 14),
    (Kind::Fin, 10),
    (Kind::Refuse, 6),
    (Kind::Outage, 2),
    (Kind::FullMailbox, 3),
    (Kind::Leave, 4),
    (Kind::Kill, 3),
    (Kind::Herd, 1),
];

/// Causes faults to clients of these rooms, one after the other, for ever.
pub async fn haunt(seed: u64, rooms: Arc<Vec<Room>>, notes: Notes) {
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        sleep(Duration::from_millis(rng.random_range(20..400))).await;
        let room = &rooms[rng.random_range(0..rooms.len())];
        let victim = rng.random_range(0..room.len());
        let kind = draw(&mut rng);
        let Ok(_alone) = room[victim].busy.try_lock() else { continue };
        let (name, effect) = cause(kind, &rooms, room, victim, &mut rng).await;
        notes.note(What::Fault { kind: name, effect });
    }
}

fn draw(rng: &mut StdRng) -> Kind {
    let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let mut rest = rng.random_range(0..total);
    for (kind, weight) in WEIGHTS {
        if rest < weight {
            return kind;
        }
        rest -= weight;
    }
    Kind::Reset
}

/// Causes one fault and waits for its end; says what it was and what it hit.
async fn cause(kind: Kind, rooms: &[Room], room: &Room, victim: usize, rng: &mut StdRng) -> (String, u64) {
    let Target { proxy, orders, session, .. } = &room[victim];
    let way = [Way::Up, Way::Down, Way::Both][rng.random_range(0..3)];
    let mut ms = |range: std::ops::Range<u64>| Duration::from_millis(rng.random_range(range));
    let named = |name: &str| format!("{name} {way:?}").to_lowercase();
    match kind {
        Kind::Delay => {
            let late = ms(5..250);
            (named("delay"), proxy.apply(way, Mode::Delay(late), ms(500..1500)).await)
        }
        Kind::Stall => (named("stall"), proxy.apply(way, Mode::Hold, ms(100..1500)).await),
        // Beyond what clients and server take for a living connection.
        Kind::LongStall => (named("long stall"), proxy.apply(way, Mode::Hold, ms(8500..9500)).await),
        Kind::Swallow => (named("swallow"), proxy.apply(way, Mode::Swallow, ms(500..1500)).await),
        Kind::Slice => (named("slices"), proxy.apply(way, Mode::Slice, ms(300..1500)).await),
        Kind::Reset => ("reset".to_owned(), proxy.reset()),
        Kind::ResetAfter => {
            let bytes = rng.random_range(1..4000);
            let time = Duration::from_millis(rng.random_range(400..1200));
            (named("reset after bytes"), proxy.apply(way, Mode::ResetAfter(bytes), time).await)
        }
        Kind::Fin => (named("fin"), proxy.apply(way, Mode::Fin, ms(200..600)).await),
        Kind::Refuse => {
            let resets = proxy.reset();
            ("refuse".to_owned(), if resets > 0 { proxy.refuse(ms(300..2000)).await } else { 0 })
        }
        Kind::Outage => {
            // Long enough for the session to time out, aloud.
            let time = RESUME_WINDOW + ms(700..2500);
            let resets = proxy.reset();
            let refused = proxy.refuse(time).await;
            ("outage".to_owned(), resets.min(refused))
        }
        Kind::FullMailbox => {
            // The others talk to somebody who is away, more than fits.
            proxy.reset();
            let away = proxy.refuse(RESUME_WINDOW.mul_f64(0.6));
            let to = session.borrow().clone();
            let talk = async {
                let mut asked = 0;
                for _ in 0..10 {
                    for (_, other) in room.iter().enumerate().filter(|(index, _)| *index != victim) {
                        asked += u64::from(other.orders.try_send(Order::Burst(60, to.clone())).is_ok());
                    }
                    sleep(Duration::from_millis(150)).await;
                }
                asked
            };
            let (refused, asked) = tokio::join!(away, talk);
            ("flood while away".to_owned(), refused.min(asked))
        }
        Kind::Leave => ("leave".to_owned(), u64::from(orders.try_send(Order::Leave).is_ok())),
        Kind::Kill => ("kill client".to_owned(), u64::from(orders.try_send(Order::Kill).is_ok())),
        // All return together.
        Kind::Herd => ("reset everybody".to_owned(), rooms.iter().flatten().map(|target| target.proxy.reset()).sum()),
    }
}

/// Pauses and restarts the server now and then while there is load, and finishes what it began; an error when the
/// server does not do its part.
pub async fn haunt_server(
    seed: u64,
    server: Arc<Server>,
    notes: Notes,
    every: Duration,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    for turn in 0_u32.. {
        tokio::select! {
            () = sleep(every.mul_f64(rng.random_range(0.7..1.3))) => {}
            _ = phase.wait_for(|phase| *phase != Phase::Load) => return Ok(()),
        }
        // Each of them in turn, so that a short run has all.
        let (kind, effect) = match turn % 4 {
            0 | 2 => {
                let time = Duration::from_millis(rng.random_range(300..1500));
                ("pause server", server.pause(time).await?)
            }
            1 => ("restart server, SIGKILL", server.restart(Signal::KILL).await?),
            _ => ("restart server, SIGTERM", server.restart(Signal::TERM).await?),
        };
        notes.note(What::Fault { kind: kind.to_owned(), effect });
    }
    Ok(())
}
