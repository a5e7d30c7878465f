//! Causes faults, chosen by a seed, and records their effects.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rustix::process::Signal;
use signalbox_testkit::poll::poll_until;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    history::Event,
    member::{Command, CurrentSession, Participant, Phase},
    native,
    operator::Operator,
    proxy::{Mode, Proxy, Way},
    recorder::Recorder,
    server::{RESUME_WINDOW, Server},
    web,
};

/// A client as a target of faults.
pub struct Target {
    /// Its proxy.
    pub proxy: Proxy,
    /// Its commands.
    pub commands: mpsc::Sender<Command>,
    /// Whether it is or can be a page.
    pub page: bool,
    /// Its current or last session.
    pub current: watch::Receiver<CurrentSession>,
    /// Held by the fault in progress: concurrent faults would end each other, and count the effect of each other.
    pub busy: Mutex<()>,
}

/// A room and its clients.
pub struct Room {
    /// Its name.
    pub name: String,
    /// Its clients.
    pub targets: Vec<Target>,
}

/// What all faults of a run share.
pub struct NemesisContext {
    /// The rooms.
    pub rooms: Vec<Room>,
    /// The recorder, which also has the progress of the run.
    pub recorder: Recorder,
    /// The address of the server.
    pub server: SocketAddr,
    /// The phase of the run.
    pub phase: watch::Receiver<Phase>,
    /// Average number of signals per tick of a visitor.
    pub pace: f64,
    /// Number of the run.
    pub run: u64,
}

/// A fault of one client, or of all in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
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

/// Relative frequencies of the faults.
const WEIGHTS: [(Fault, u32); 20] = [
    (Fault::Delay, 12),
    (Fault::Stall, 10),
    (Fault::LongStall, 2),
    (Fault::Swallow, 8),
    (Fault::Switch, 8),
    (Fault::Slice, 8),
    (Fault::Reset, 18),
    (Fault::ResetAfter, 14),
    (Fault::Fin, 10),
    (Fault::Refuse, 6),
    (Fault::Outage, 2),
    (Fault::FullMailbox, 3),
    (Fault::SlowReader, 2),
    (Fault::Leave, 4),
    (Fault::Kill, 3),
    (Fault::Replace, 4),
    (Fault::Visit, 6),
    (Fault::Remove, 4),
    (Fault::CloseRoom, 1),
    (Fault::Herd, 1),
];

/// How long a client may take to learn what an operator or another client did to its session.
const REPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a slow reader does not read: longer than the stall timeout and the time to fill all buffers.
const SLOW: Duration = Duration::from_secs(10);
/// Delay of each chunk to the victim of a visit: the pending messages take seconds, the `Resumed` before them does not.
const LATE: Duration = Duration::from_millis(250);
/// Number and size of messages that are pending for the victim of a visit: more than the HTTP/2 windows.
const AHEAD: (usize, usize) = (20, 16 * 1024);

/// Causes faults one after another, forever. `index` is that of this task among `all` concurrent ones.
pub async fn inject_faults(seed: u64, (index, all): (usize, usize), context: Arc<NemesisContext>) {
    let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(index as u64));
    // First one of each kind, divided among all tasks, so that a short run has all of them; then at random.
    let mut each: Vec<Fault> = WEIGHTS.iter().map(|(kind, _)| *kind).collect();
    each.shuffle(&mut StdRng::seed_from_u64(seed));
    let mut first = each.into_iter().skip(index).step_by(all);
    let mut next = None;
    loop {
        sleep(Duration::from_millis(rng.random_range(20..400))).await;
        let room = &context.rooms[rng.random_range(0..context.rooms.len())];
        let victim = rng.random_range(0..room.targets.len());
        let kind = next.take().or_else(|| first.next()).unwrap_or_else(|| pick(&mut rng));
        let Ok(_busy) = room.targets[victim].busy.try_lock() else {
            next = Some(kind);
            continue;
        };
        let (name, effect) = cause(kind, &context, room, victim, &mut rng).await;
        context.recorder.record(Event::Fault { kind: name, effect });
    }
}

fn pick(rng: &mut StdRng) -> Fault {
    let total = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let mut rest = rng.random_range(0..total);
    for (kind, weight) in WEIGHTS {
        if rest < weight {
            return kind;
        }
        rest -= weight;
    }
    Fault::Reset
}

/// Causes one fault and waits for its end; returns its name and effect.
async fn cause(kind: Fault, context: &NemesisContext, room: &Room, victim: usize, rng: &mut StdRng) -> (String, u64) {
    let Target { proxy, commands, current, .. } = &room.targets[victim];
    let way = [Way::Up, Way::Down, Way::Both][rng.random_range(0..3)];
    let mut ms = |range: std::ops::Range<u64>| Duration::from_millis(rng.random_range(range));
    let named = |name: &str| format!("{name} {way:?}").to_lowercase();
    match kind {
        Fault::Delay => {
            let late = ms(5..250);
            (named("delay"), proxy.apply(way, Mode::Delay(late), ms(500..1500)).await)
        }
        Fault::Stall => (named("stall"), proxy.apply(way, Mode::Hold, ms(100..1500)).await),
        // Longer than the timeouts of clients and server.
        Fault::LongStall => (named("long stall"), proxy.apply(way, Mode::Hold, ms(8500..9500)).await),
        // To the server the old connections seem alive while the new ones exist.
        Fault::Switch if room.targets[victim].page => {
            let swallowed = proxy.apply(Way::Both, Mode::Swallow, ms(500..1500));
            let (swallowed, sent) =
                tokio::join!(swallowed, async { commands.try_send(Command::SwitchNetwork).is_ok() });
            ("switch networks".to_owned(), if sent { swallowed } else { 0 })
        }
        Fault::Swallow | Fault::Switch => (named("swallow"), proxy.apply(way, Mode::Swallow, ms(500..1500)).await),
        Fault::Slice => (named("slices"), proxy.apply(way, Mode::Slice, ms(300..1500)).await),
        Fault::Reset => ("reset".to_owned(), proxy.reset()),
        Fault::ResetAfter => {
            let bytes = rng.random_range(1..4000);
            let time = Duration::from_millis(rng.random_range(400..1200));
            (named("reset after bytes"), proxy.apply(way, Mode::ResetAfter(bytes), time).await)
        }
        Fault::Fin => (named("fin"), proxy.apply(way, Mode::Fin, ms(200..600)).await),
        Fault::Refuse => {
            let resets = proxy.reset();
            ("refuse".to_owned(), if resets > 0 { proxy.refuse(ms(300..2000)).await } else { 0 })
        }
        Fault::Outage => {
            // Long enough for the session to time out.
            let time = RESUME_WINDOW + ms(700..2500);
            let resets = proxy.reset();
            let refused = proxy.refuse(time).await;
            ("outage".to_owned(), resets.min(refused))
        }
        Fault::FullMailbox => {
            // The others send more to the victim than fits into its mailbox.
            proxy.reset();
            let away = proxy.refuse(RESUME_WINDOW.mul_f64(0.4));
            let to = current.borrow().session.clone();
            let bursts = async {
                let mut commanded = 0;
                for _ in 0..7 {
                    commanded += order_bursts(room, victim, &to, 60, 0);
                    sleep(Duration::from_millis(150)).await;
                }
                commanded
            };
            let (refused, commanded) = tokio::join!(away, bursts);
            ("flood while away".to_owned(), refused.min(commanded))
        }
        Fault::SlowReader => ("slow reader".to_owned(), slow_reader(context, room, victim).await),
        Fault::Leave => ("leave".to_owned(), u64::from(commands.try_send(Command::Leave).is_ok())),
        Fault::Kill => ("kill client".to_owned(), u64::from(commands.try_send(Command::Kill).is_ok())),
        Fault::Replace => ("replace session".to_owned(), replace(context, room, &room.targets[victim], rng).await),
        Fault::Visit => ("visit while away".to_owned(), visit(context, room, victim, rng).await),
        Fault::Remove => {
            let session = current.borrow().session.clone();
            let removed = Operator(context.server).remove(&room.name, &session).await;
            ("remove member".to_owned(), if removed { context.record_ended(vec![session], "REMOVED").await } else { 0 })
        }
        Fault::CloseRoom => {
            let members = Operator(context.server).close(&room.name).await.unwrap_or_default();
            ("close room".to_owned(), context.record_ended(members, "ROOM_CLOSED").await)
        }
        // All reconnect at the same time.
        Fault::Herd => {
            let all = context.rooms.iter().flat_map(|room| &room.targets);
            ("reset all".to_owned(), all.map(|target| target.proxy.reset()).sum())
        }
    }
}

/// Commands all others of the room to send `count` signals of that size to the victim; returns how many do.
fn order_bursts(room: &Room, victim: usize, to: &str, count: usize, size: usize) -> u64 {
    let others = room.targets.iter().enumerate().filter(|(index, _)| *index != victim);
    others
        .map(|(_, other)| u64::from(other.commands.try_send(Command::Burst(count, to.to_owned(), size)).is_ok()))
        .sum()
}

/// The victim does not read while the others send to it, until the server ends its session. Returns 1 if it did.
async fn slow_reader(context: &NemesisContext, room: &Room, victim: usize) -> u64 {
    let Target { commands, current, .. } = &room.targets[victim];
    let session = current.borrow().session.clone();
    let ended = || context.recorder.progress().is_reported(&session, "SLOW_CONSUMER");
    // It may have ended so before, and not know it yet.
    if ended() || commands.try_send(Command::StopReading(SLOW)).is_err() {
        return 0;
    }
    let end = Instant::now() + SLOW + REPORT_TIMEOUT;
    let mut round = 0;
    while Instant::now() < end {
        if ended() {
            return 1;
        }
        // Many small signals fill the queue of the client library, large ones fill the connection.
        let (count, size) = if round < 4 { (60, 0) } else { (15, 16 * 1024) };
        order_bursts(room, victim, &session, count, size);
        round += 1;
        sleep(Duration::from_millis(150)).await;
    }
    0
}

/// A visitor joins with the identity of the victim and leaves again. Returns 1 if the end of the victim was reported.
async fn replace(context: &NemesisContext, room: &Room, target: &Target, rng: &mut StdRng) -> u64 {
    let CurrentSession { session, identity } = target.current.borrow().clone();
    let (mut participant, commands) = context.visitor(room, target.proxy.addr(), rng);
    participant.identity = identity;
    let web = rng.random_bool(0.5);
    let mut visit = JoinSet::new();
    visit.spawn(async move {
        if web {
            web::run_session(&mut participant, false).await;
        } else {
            drop(native::run_session(&mut participant).await);
        }
    });
    let reported = context.count_reported(&[session], "REPLACED").await;
    // It may have ended, replaced by another one.
    drop(commands.try_send(Command::Leave));
    while visit.join_next().await.is_some() {}
    reported
}

/// A visitor joins while the victim is disconnected, and leaves after the victim has resumed, before the victim has read
/// the join: only the snapshot in `Resumed` has it. Returns the number of reset connections, 0 if a step failed.
async fn visit(context: &NemesisContext, room: &Room, victim: usize, rng: &mut StdRng) -> u64 {
    let Target { proxy, current, .. } = &room.targets[victim];
    let session = current.borrow().session.clone();
    proxy.delay_new_connections(LATE);
    let resets = proxy.reset();
    let others = (room.targets.len() - 1).max(1);
    let bursts = async {
        order_bursts(room, victim, &session, AHEAD.0.div_ceil(others), AHEAD.1);
        sleep(Duration::from_millis(200)).await;
    };
    // The visitor sends nothing, since the join and leave before a pending signal are not dropped.
    let (mut participant, commands) = context.visitor(room, context.server, rng);
    participant.change_identity();
    participant.pace = 0.0;
    let mut sessions = participant.current.subscribe();
    let mut visit = JoinSet::new();
    let arrive = async {
        bursts.await;
        visit.spawn(async move { native::run_session(&mut participant).await.is_ok() });
        timeout(REPORT_TIMEOUT, sessions.changed()).await.is_ok()
    };
    let (_, arrived) = tokio::join!(proxy.refuse(Duration::from_millis(500)), arrive);
    let visitor = sessions.borrow().session.clone();
    let shown = || context.recorder.progress().has_shown(&session, &visitor);
    let shown = poll_until(REPORT_TIMEOUT, || shown().then_some(())).await.is_some();
    drop(commands.try_send(Command::Leave));
    while visit.join_next().await.is_some() {}
    sleep(LATE).await;
    proxy.delay_new_connections(Duration::ZERO);
    proxy.apply(Way::Both, Mode::Pass, Duration::ZERO).await;
    if arrived && shown { resets } else { 0 }
}

impl NemesisContext {
    /// A participant for one fault only, and the channel for its commands.
    fn visitor(&self, room: &Room, addr: SocketAddr, rng: &mut StdRng) -> (Participant, mpsc::Sender<Command>) {
        let (sender, commands) = mpsc::channel(1);
        let participant = Participant {
            run: self.run,
            client: u32::MAX,
            room: room.name.clone(),
            addr,
            pace: self.pace,
            identity: String::new(),
            rng: StdRng::seed_from_u64(rng.random()),
            recorder: self.recorder.clone(),
            commands,
            phase: self.phase.clone(),
            connected: Arc::default(),
            current: watch::Sender::default(),
        };
        (participant, sender)
    }

    /// Waits until the end of these sessions for this reason was reported to a client; returns of how many in time.
    async fn count_reported(&self, sessions: &[String], reason: &str) -> u64 {
        let is_reported = |session: &&String| self.recorder.progress().is_reported(session, reason);
        let reported = || sessions.iter().filter(is_reported).count();
        poll_until(REPORT_TIMEOUT, || (reported() == sessions.len()).then_some(())).await;
        reported() as u64
    }

    /// Records that the server has ended sessions; returns of how many the end was reported to a client.
    async fn record_ended(&self, sessions: Vec<String>, reason: &str) -> u64 {
        for session in &sessions {
            self.recorder.record(Event::Ended { session: session.clone(), reason: reason.to_owned() });
        }
        self.count_reported(&sessions, reason).await
    }
}

/// Pauses and restarts the server at intervals while there is load. An error if the server does not start or stop.
pub async fn inject_server_faults(
    seed: u64,
    server: Arc<Server>,
    recorder: Recorder,
    every: Duration,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    for count in 0_u32.. {
        tokio::select! {
            () = sleep(every.mul_f64(rng.random_range(0.7..1.3))) => {}
            _ = phase.wait_for(|phase| *phase != Phase::Load) => return Ok(()),
        }
        // In turn, so that a short run has all of them.
        let (kind, effect) = match count % 4 {
            0 | 2 => {
                let time = Duration::from_millis(rng.random_range(300..1500));
                ("pause server", server.pause(time).await?)
            }
            1 => ("restart server, SIGKILL", server.restart(Signal::KILL).await?),
            _ => ("restart server, SIGTERM", server.restart(Signal::TERM).await?),
        };
        recorder.record(Event::Fault { kind: kind.to_owned(), effect });
    }
    Ok(())
}
