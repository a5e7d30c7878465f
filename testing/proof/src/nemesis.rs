//! Causes faults, drawn from a seed, and notes what each of them did.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rustix::process::Signal;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    history::What,
    member::{Order, Phase, Place, Seat},
    native,
    notes::Notes,
    operator::Operator,
    proxy::{Mode, Proxy, Way},
    server::{RESUME_WINDOW, Server},
    web,
};

/// Who can be hit: a client, through its proxy.
pub struct Target {
    /// What it connects through.
    pub proxy: Proxy,
    /// What it can be told.
    pub orders: mpsc::Sender<Order>,
    /// Whether it is or can be a page.
    pub page: bool,
    /// Who it is, or was last.
    pub seat: watch::Receiver<Seat>,
    /// Held by the fault under way: two at once would end each other, and count each other's effect.
    pub busy: Mutex<()>,
}

/// A room and its clients.
pub struct Room {
    /// Its name.
    pub name: String,
    /// Who is in it, most of the time.
    pub targets: Vec<Target>,
}

/// What all who haunt a run share.
pub struct Haunt {
    /// The rooms.
    pub rooms: Vec<Room>,
    /// Where effects are noted, and seen.
    pub notes: Notes,
    /// The server itself.
    pub server: SocketAddr,
    /// How far the run is, for visitors.
    pub phase: watch::Receiver<Phase>,
    /// Signals a tick of a visitor.
    pub pace: f64,
    /// Number of the run.
    pub run: u64,
}

/// A fault that hits one client, or all of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Delay,
    Stall,
    LongStall,
    Swallow,
    Switch,
    Slice,
    Reset,
    ResetAfter,
    Fin,
    Refuse,
    Outage,
    FullMailbox,
    SlowReader,
    Leave,
    Kill,
    Replace,
    Visit,
    Remove,
    CloseRoom,
    Herd,
}

/// Out of how many each is, by chance.
const WEIGHTS: [(Kind, u32); 20] = [
    (Kind::Delay, 12),
    (Kind::Stall, 10),
    (Kind::LongStall, 2),
    (Kind::Swallow, 8),
    (Kind::Switch, 8),
    (Kind::Slice, 8),
    (Kind::Reset, 18),
    (Kind::ResetAfter, 14),
    (Kind::Fin, 10),
    (Kind::Refuse, 6),
    (Kind::Outage, 2),
    (Kind::FullMailbox, 3),
    (Kind::SlowReader, 2),
    (Kind::Leave, 4),
    (Kind::Kill, 3),
    (Kind::Replace, 4),
    (Kind::Visit, 6),
    (Kind::Remove, 4),
    (Kind::CloseRoom, 1),
    (Kind::Herd, 1),
];

/// How long a client may take to be told what an operator or another client did to its session.
const TOLD: Duration = Duration::from_secs(3);
/// How long a slow reader does not read: longer than the server's patience and what fills the buffers before.
const SLOW: Duration = Duration::from_secs(10);
/// How late each chunk reaches the victim of a visit: what waits for it takes seconds, the `Resumed` in front does not.
const LATE: Duration = Duration::from_millis(250);
/// Messages, and their size, that wait for the victim of a visit: more than HTTP/2 windows take in at once.
const AHEAD: (usize, usize) = (20, 16 * 1024);

/// Causes faults, one after the other, for ever; `index` of `all` who do so at the same time.
pub async fn haunt(seed: u64, (index, all): (usize, usize), haunt: Arc<Haunt>) {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(index as u64));
    // One of each kind first, dealt among all, so that a short run has all of them; then by chance.
    let mut deck: Vec<Kind> = WEIGHTS.iter().map(|(kind, _)| *kind).collect();
    deck.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut dealt = deck.into_iter().skip(index).step_by(all);
    let mut next = None;
    loop {
        sleep(Duration::from_millis(rng.random_range(20..400))).await;
        let room = &haunt.rooms[rng.random_range(0..haunt.rooms.len())];
        let victim = rng.random_range(0..room.targets.len());
        let kind = next.take().or_else(|| dealt.next()).unwrap_or_else(|| draw(&mut rng));
        let Ok(_alone) = room.targets[victim].busy.try_lock() else {
            next = Some(kind);
            continue;
        };
        let (name, effect) = cause(kind, &haunt, room, victim, &mut rng).await;
        haunt.notes.note(What::Fault { kind: name, effect });
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
async fn cause(kind: Kind, haunt: &Haunt, room: &Room, victim: usize, rng: &mut StdRng) -> (String, u64) {
    let Target { proxy, orders, seat, .. } = &room.targets[victim];
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
        // The old connections lead nowhere, and the server takes them for alive while the new ones are there.
        Kind::Switch if room.targets[victim].page => {
            let swallowed = proxy.apply(Way::Both, Mode::Swallow, ms(500..1500));
            let (swallowed, ordered) = tokio::join!(swallowed, async { orders.try_send(Order::Switch).is_ok() });
            ("switch networks".to_owned(), if ordered { swallowed } else { 0 })
        }
        Kind::Swallow | Kind::Switch => (named("swallow"), proxy.apply(way, Mode::Swallow, ms(500..1500)).await),
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
            let away = proxy.refuse(RESUME_WINDOW.mul_f64(0.4));
            let to = seat.borrow().session.clone();
            let talk = async {
                let mut asked = 0;
                for _ in 0..7 {
                    asked += talk_to(room, victim, &to, 60, 0);
                    sleep(Duration::from_millis(150)).await;
                }
                asked
            };
            let (refused, asked) = tokio::join!(away, talk);
            ("flood while away".to_owned(), refused.min(asked))
        }
        Kind::SlowReader => ("slow reader".to_owned(), slow_reader(haunt, room, victim).await),
        Kind::Leave => ("leave".to_owned(), u64::from(orders.try_send(Order::Leave).is_ok())),
        Kind::Kill => ("kill client".to_owned(), u64::from(orders.try_send(Order::Kill).is_ok())),
        Kind::Replace => ("replace session".to_owned(), replace(haunt, room, &room.targets[victim], rng).await),
        Kind::Visit => ("visit while away".to_owned(), visit(haunt, room, victim, rng).await),
        Kind::Remove => {
            let session = seat.borrow().session.clone();
            let removed = Operator(haunt.server).remove(&room.name, &session).await;
            ("remove member".to_owned(), if removed { haunt.ended(vec![session], "REMOVED").await } else { 0 })
        }
        Kind::CloseRoom => {
            let members = Operator(haunt.server).close(&room.name).await.unwrap_or_default();
            ("close room".to_owned(), haunt.ended(members, "ROOM_CLOSED").await)
        }
        // All return together.
        Kind::Herd => {
            let everybody = haunt.rooms.iter().flat_map(|room| &room.targets);
            ("reset everybody".to_owned(), everybody.map(|target| target.proxy.reset()).sum())
        }
    }
}

/// Tells all others of the room to say so many things of that size to the victim; says how many heard it.
fn talk_to(room: &Room, victim: usize, to: &str, count: usize, size: usize) -> u64 {
    let others = room.targets.iter().enumerate().filter(|(index, _)| *index != victim);
    others.map(|(_, other)| u64::from(other.orders.try_send(Order::Burst(count, to.to_owned(), size)).is_ok())).sum()
}

/// The victim does not read while the others talk to it, until the server ends its session; how many it ended.
async fn slow_reader(haunt: &Haunt, room: &Room, victim: usize) -> u64 {
    let Target { orders, seat, .. } = &room.targets[victim];
    let session = seat.borrow().session.clone();
    let ended = || haunt.notes.progress().is_told(&session, "SLOW_CONSUMER");
    // One that ended so and does not know it yet is deaf already.
    if ended() || orders.try_send(Order::Deaf(SLOW)).is_err() {
        return 0;
    }
    let end = Instant::now() + SLOW + TOLD;
    let mut round = 0;
    while Instant::now() < end {
        if ended() {
            return 1;
        }
        // Many small things fill what a client library keeps for its application, large ones fill connections.
        let (count, size) = if round < 4 { (60, 0) } else { (15, 16 * 1024) };
        talk_to(room, victim, &session, count, size);
        round += 1;
        sleep(Duration::from_millis(150)).await;
    }
    0
}

/// Somebody else joins with the victim's identity and leaves again; how many were told that they are replaced.
async fn replace(haunt: &Haunt, room: &Room, target: &Target, rng: &mut StdRng) -> u64 {
    let Seat { session, identity } = target.seat.borrow().clone();
    let (mut place, orders) = haunt.visitor(room, target.proxy.addr(), rng);
    place.identity = identity;
    let web = rng.random_bool(0.5);
    let mut visit = JoinSet::new();
    visit.spawn(async move {
        if web {
            web::visit(&mut place, false).await;
        } else {
            drop(native::visit(&mut place).await);
        }
    });
    let told = haunt.told(&[session], "REPLACED").await;
    // It may have gone already: somebody else may be replacing it.
    drop(orders.try_send(Order::Leave));
    while visit.join_next().await.is_some() {}
    told
}

/// A visitor joins while the victim is away and leaves once the victim has resumed, before the victim has read its
/// join: only the snapshot in `Resumed` showed it. Returns the connections that were reset, 0 if a step failed.
async fn visit(haunt: &Haunt, room: &Room, victim: usize, rng: &mut StdRng) -> u64 {
    let Target { proxy, seat, .. } = &room.targets[victim];
    let session = seat.borrow().session.clone();
    proxy.slow_down_new(LATE);
    let resets = proxy.reset();
    let others = (room.targets.len() - 1).max(1);
    let talk = async {
        talk_to(room, victim, &session, AHEAD.0.div_ceil(others), AHEAD.1);
        sleep(Duration::from_millis(200)).await;
    };
    // The visitor sends nothing: a waiting signal would keep its join and leave from being dropped.
    let (mut place, orders) = haunt.visitor(room, haunt.server, rng);
    place.renew();
    place.pace = 0.0;
    let mut seats = place.seat.subscribe();
    let mut visit = JoinSet::new();
    let arrive = async {
        talk.await;
        visit.spawn(async move { native::visit(&mut place).await.is_ok() });
        timeout(TOLD, seats.changed()).await.is_ok()
    };
    let (_, arrived) = tokio::join!(proxy.refuse(Duration::from_millis(500)), arrive);
    let visitor = seats.borrow().session.clone();
    let shown = || haunt.notes.progress().has_shown(&session, &visitor);
    let end = Instant::now() + TOLD;
    while !shown() && Instant::now() < end {
        sleep(Duration::from_millis(20)).await;
    }
    let shown = shown();
    drop(orders.try_send(Order::Leave));
    while visit.join_next().await.is_some() {}
    sleep(LATE).await;
    proxy.slow_down_new(Duration::ZERO);
    proxy.apply(Way::Both, Mode::Pass, Duration::ZERO).await;
    if arrived && shown { resets } else { 0 }
}

impl Haunt {
    /// A member that is in the room for one fault only, and the channel for its orders.
    fn visitor(&self, room: &Room, addr: SocketAddr, rng: &mut StdRng) -> (Place, mpsc::Sender<Order>) {
        let (orders, ordered) = mpsc::channel(1);
        let place = Place {
            run: self.run,
            client: u32::MAX,
            room: room.name.clone(),
            addr,
            pace: self.pace,
            identity: String::new(),
            rng: StdRng::seed_from_u64(rng.random()),
            notes: self.notes.clone(),
            orders: ordered,
            phase: self.phase.clone(),
            connected: Arc::default(),
            seat: watch::Sender::default(),
        };
        (place, orders)
    }

    /// Waits until somebody was told that these sessions ended for this reason; says of how many in time.
    async fn told(&self, sessions: &[String], reason: &str) -> u64 {
        let end = Instant::now() + TOLD;
        loop {
            let told = sessions.iter().filter(|session| self.notes.progress().is_told(session, reason)).count();
            if told == sessions.len() || Instant::now() > end {
                return told as u64;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Notes that the server says that it has ended sessions; says of how many somebody was told.
    async fn ended(&self, sessions: Vec<String>, reason: &str) -> u64 {
        for session in &sessions {
            self.notes.note(What::Ended { session: session.clone(), reason: reason.to_owned() });
        }
        self.told(&sessions, reason).await
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
