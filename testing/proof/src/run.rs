//! A whole run: server, clients, nemesis, quiet end, verdict.

use std::{
    error::Error,
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    checker::Bounds,
    history::What,
    member::{Phase, Place, Seat, TICK},
    native,
    nemesis::{self, Haunt, Room, Target},
    notes::{First, Notes, Outcomes, Writer, micros},
    proxy::Proxy,
    server::{self, FULLEST_MAILBOX, RESUME_WINDOW, Server},
    web,
};

/// How long events may take to be told, with connections that are slow and a server that is paused.
const TELL: Duration = Duration::from_secs(4);
/// Resume windows until the end of a client that vanished is told: a long stall hides that from the server for three.
const WINDOWS: u64 = 4;
/// How long clients may take to come back once all faults are over.
const RETURN_TIMEOUT: Duration = Duration::from_secs(45);
/// How often it is looked whether something has come true.
const LOOK: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Signals to send.
    pub signals: u64,
    /// Faults to cause and see the effect of.
    pub faults: u64,
    /// Decides which faults, when, to whom.
    pub seed: u64,
    /// The server's program.
    pub server: PathBuf,
    /// Where the history goes, if anywhere.
    pub history: Option<PathBuf>,
    /// Rooms of three to six members.
    pub rooms: usize,
    /// Signals a second and member.
    pub rate: f64,
    /// Faults that go on at the same time.
    pub at_once: usize,
    /// Time between faults of the server as a whole.
    pub server_faults: Duration,
    /// What the server's memory must not pass, in MiB.
    pub rss_limit: u64,
    /// Stops the load after this time, however far it has got.
    pub deadline: Duration,
    /// Stops at the first breach.
    pub stop_at_first: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Summary {
    /// The checker's.
    pub outcomes: Outcomes,
    /// Clients that were not back in time after all faults had ended.
    pub missing: Vec<String>,
    /// How many clients of each kind there were: native, web, moving.
    pub clients: [usize; 3],
    /// How long the load took.
    pub load: Duration,
}

impl Options {
    /// The command that does the same again.
    pub fn command(&self) -> String {
        format!(
            "signalbox-proof --signals {} --faults {} --seed {} --server {} --rooms {} --rate {} --at-once {} \
             --server-faults {}",
            self.signals,
            self.faults,
            self.seed,
            self.server.display(),
            self.rooms,
            self.rate,
            self.at_once,
            humantime::format_duration(self.server_faults),
        )
    }
}

impl Summary {
    /// Whether the guarantee held and everybody came back.
    pub fn passed(&self) -> bool {
        self.missing.is_empty() && self.outcomes.report.passed()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [native, web, moving] = self.clients;
        let Outcomes { report, reasons, first } = &self.outcomes;
        writeln!(f, "{report}")?;
        writeln!(f, "clients: {native} native, {web} web, {moving} moving between both")?;
        let seconds = self.load.as_secs_f64();
        writeln!(f, "load: {seconds:.0} s, {:.0} signals a second", report.counts.sent as f64 / seconds)?;
        for (what, counts) in
            [("sessions over", &reasons.over), ("leaves told", &reasons.left), ("undelivered", &reasons.undelivered)]
        {
            let counts: Vec<_> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            writeln!(f, "{what}: {}", counts.join(", "))?;
        }
        if !self.missing.is_empty() {
            writeln!(f, "FAILED: not back after all faults had ended: {}", self.missing.join(", "))?;
        }
        if let Some(First { check, signals, after }) = first {
            writeln!(f, "first breach: {check} after {signals} signals, {:.1} s", after.as_secs_f64())?;
        }
        Ok(())
    }
}

struct Clients {
    haunt: Arc<Haunt>,
    kinds: [usize; 3],
    connected: Vec<(String, Arc<AtomicBool>)>,
    tasks: JoinSet<()>,
}

/// Runs it.
pub async fn run(options: &Options) -> Result<Summary, Box<dyn Error + Send + Sync>> {
    let bounds = Bounds { tell: micros(TELL), windows: WINDOWS };
    let writer = Writer::start(options.history.as_deref(), bounds)?;
    let notes = writer.notes();
    notes.note(What::Run {
        seed: options.seed,
        versions: format!("{}, clients {}", server::version(&options.server).await?, env!("CARGO_PKG_VERSION")),
        planned_signals: options.signals,
        planned_faults: options.faults,
        resume_window: micros(RESUME_WINDOW),
    });
    let server = Arc::new(Server::start(&options.server, notes.clone()).await?);
    let (phase, phases) = watch::channel(Phase::Load);
    let mut clients = start_clients(options, &server, &notes, &phases).await?;

    let began = Instant::now();
    let mut nemeses = JoinSet::new();
    for index in 0..options.at_once {
        nemeses.spawn(nemesis::haunt(options.seed, (index, options.at_once), clients.haunt.clone()));
    }
    let every = options.server_faults;
    let haunting = nemesis::haunt_server(options.seed, server.clone(), notes.clone(), every, phases.clone());
    let server_nemesis = tokio::spawn(haunting);
    let gauge = {
        let (server, limit) = (server.clone(), options.rss_limit * 1024);
        tokio::spawn(async move { server.gauge(limit).await })
    };

    let enough = || {
        let progress = notes.progress();
        progress.sent.load(Ordering::Relaxed) >= options.signals
            && progress.faults.load(Ordering::Relaxed) >= options.faults
    };
    let breached = || options.stop_at_first && notes.progress().breached.load(Ordering::Relaxed);
    // The server's nemesis ends early only when it failed, and no one else's ends at all.
    while !enough() && !breached() && began.elapsed() < options.deadline && !server_nemesis.is_finished() {
        sleep(LOOK).await;
    }
    let load = began.elapsed();
    phase.send_replace(Phase::Quiet);
    nemeses.shutdown().await;
    // In the middle of a restart it finishes that: the server must be there at the end.
    server_nemesis.await?.map_err(|error| format!("{error}\n{}", server.log()))?;
    let missing = settle(&clients, breached).await;
    let whole = !breached();
    if whole {
        phase.send_replace(Phase::Finish);
        while let Some(ended) = clients.tasks.join_next().await {
            ended?;
        }
    } else {
        clients.tasks.shutdown().await;
    }
    gauge.abort();
    server.stop().await.map_err(|error| format!("{error}\n{}", server.log()))?;
    let outcomes = writer.finish(whole)?;
    if !outcomes.report.peaks.contains_key(FULLEST_MAILBOX) {
        return Err("the server never told its figures: GET /metrics was not answered, or without mailboxes".into());
    }
    Ok(Summary { outcomes, missing, clients: clients.kinds, load })
}

/// Ends all faults, waits until everybody is back, and then for quiet; says who did not come back. Unless it is no
/// longer wanted.
async fn settle(clients: &Clients, unwanted: impl Fn() -> bool) -> Vec<String> {
    clients.haunt.rooms.iter().flat_map(|room| &room.targets).for_each(|target| target.proxy.heal());
    let deadline = Instant::now() + RETURN_TIMEOUT;
    let away = || -> Vec<String> {
        let away = clients.connected.iter().filter(|(_, connected)| !connected.load(Ordering::Relaxed));
        away.map(|(name, _)| name.clone()).collect()
    };
    let mut quiet_since = Instant::now();
    // Quiet is: everybody connected for as long as it takes the server to end what nobody came back for.
    while Instant::now() < deadline && quiet_since.elapsed() < 2 * RESUME_WINDOW + TELL {
        if unwanted() {
            return Vec::new();
        }
        sleep(LOOK).await;
        if !away().is_empty() {
            quiet_since = Instant::now();
        }
    }
    away()
}

async fn start_clients(
    options: &Options,
    server: &Server,
    notes: &Notes,
    phases: &watch::Receiver<Phase>,
) -> Result<Clients, Box<dyn Error + Send + Sync>> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let (mut kinds, mut connecteds, mut tasks) = ([0; 3], Vec::new(), JoinSet::new());
    let pace = options.rate * TICK.as_secs_f64();
    let mut rooms = Vec::new();
    for number in 0..options.rooms {
        let mut room = Room { name: format!("room-{number}"), targets: Vec::new() };
        for _ in 0..rng.random_range(3..=6) {
            let proxy = Proxy::start(server.addr()).await?;
            let (orders, ordered) = mpsc::channel(16);
            let connected = Arc::new(AtomicBool::new(false));
            let (seat, seats) = watch::channel(Seat::default());
            let client = connecteds.len();
            let mut place = Place {
                run: options.seed,
                client: u32::try_from(client)?,
                room: room.name.clone(),
                addr: proxy.addr(),
                pace,
                identity: String::new(),
                rng: StdRng::seed_from_u64(rng.random()),
                notes: notes.clone(),
                orders: ordered,
                phase: phases.clone(),
                connected: connected.clone(),
                seat,
            };
            place.renew();
            let kind = client % 5;
            let name = match kind {
                0 | 2 => {
                    kinds[0] += 1;
                    tasks.spawn(native::live(place));
                    "native"
                }
                1 | 3 => {
                    kinds[1] += 1;
                    tasks.spawn(web::live(place, false));
                    "web"
                }
                _ => {
                    kinds[2] += 1;
                    tasks.spawn(web::live(place, true));
                    "moving"
                }
            };
            connecteds.push((format!("client {client} ({name})"), connected));
            room.targets.push(Target { proxy, orders, page: name != "native", seat: seats, busy: Mutex::default() });
        }
        rooms.push(room);
    }
    let haunt =
        Haunt { rooms, notes: notes.clone(), server: server.addr(), phase: phases.clone(), pace, run: options.seed };
    Ok(Clients { haunt: Arc::new(haunt), kinds, connected: connecteds, tasks })
}
