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
    history::Event,
    member::{CurrentSession, Participant, Phase, TICK},
    native,
    nemesis::{self, NemesisContext, Room, Target},
    proxy::Proxy,
    recorder::{First, Outcomes, Recorder, Writer, micros},
    server::{self, FULLEST_MAILBOX, RESUME_WINDOW, Server},
    web,
};

/// How long events may take to reach all clients, with slow connections and a paused server.
const NOTIFY: Duration = Duration::from_secs(4);
/// Resume windows until the end of a vanished client is reported: a long stall hides it from the server for three.
const WINDOWS: u64 = 4;
/// How long clients may take to reconnect after the last fault.
const RETURN_TIMEOUT: Duration = Duration::from_secs(45);
/// Time between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Parameters of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Signals to send.
    pub signals: u64,
    /// Faults to cause, counting those with an effect.
    pub faults: u64,
    /// Seed of the schedule of faults.
    pub seed: u64,
    /// Path of the server program.
    pub server: PathBuf,
    /// File for the history.
    pub history: Option<PathBuf>,
    /// Number of rooms, with three to six members each.
    pub rooms: usize,
    /// Signals per second and member.
    pub rate: f64,
    /// Concurrent faults.
    pub at_once: usize,
    /// Time between faults of the server.
    pub server_faults: Duration,
    /// Limit of the memory of the server, in MiB.
    pub rss_limit: u64,
    /// Ends the load after this time at the latest.
    pub deadline: Duration,
    /// Stops at the first breach.
    pub stop_at_first: bool,
}

/// The result of a run.
#[derive(Debug)]
pub struct Summary {
    /// The result of the checker.
    pub outcomes: Outcomes,
    /// Clients that did not reconnect in time after the last fault.
    pub missing: Vec<String>,
    /// Numbers of native, web and moving clients.
    pub clients: [usize; 3],
    /// Duration of the load.
    pub load: Duration,
}

impl Options {
    /// The command that repeats the run.
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
    /// Whether the guarantee held and all clients reconnected.
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
        writeln!(f, "load: {seconds:.0} s, {:.0} signals per second", report.counts.sent as f64 / seconds)?;
        for (what, counts) in [
            ("sessions over", &reasons.over),
            ("leaves reported", &reasons.left),
            ("undelivered", &reasons.undelivered),
        ] {
            let counts: Vec<_> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            writeln!(f, "{what}: {}", counts.join(", "))?;
        }
        if !self.missing.is_empty() {
            writeln!(f, "FAILED: not reconnected after the last fault: {}", self.missing.join(", "))?;
        }
        if let Some(First { check, signals, after }) = first {
            writeln!(f, "first breach: {check} after {signals} signals, {:.1} s", after.as_secs_f64())?;
        }
        Ok(())
    }
}

struct Clients {
    context: Arc<NemesisContext>,
    kinds: [usize; 3],
    connected: Vec<(String, Arc<AtomicBool>)>,
    tasks: JoinSet<()>,
}

/// Runs clients and faults, and checks the history.
pub async fn run(options: &Options) -> Result<Summary, Box<dyn Error + Send + Sync>> {
    let bounds = Bounds { notify: micros(NOTIFY), windows: WINDOWS };
    let writer = Writer::start(options.history.as_deref(), bounds)?;
    let recorder = writer.recorder();
    recorder.record(Event::Run {
        seed: options.seed,
        versions: format!("{}, clients {}", server::version(&options.server).await?, env!("CARGO_PKG_VERSION")),
        planned_signals: options.signals,
        planned_faults: options.faults,
        resume_window: micros(RESUME_WINDOW),
    });
    let server = Arc::new(Server::start(&options.server, recorder.clone()).await?);
    let (phase, phases) = watch::channel(Phase::Load);
    let mut clients = start_clients(options, &server, &recorder, &phases).await?;

    let began = Instant::now();
    let mut nemeses = JoinSet::new();
    for index in 0..options.at_once {
        nemeses.spawn(nemesis::inject_faults(options.seed, (index, options.at_once), clients.context.clone()));
    }
    let every = options.server_faults;
    let injecting =
        nemesis::inject_server_faults(options.seed, server.clone(), recorder.clone(), every, phases.clone());
    let server_nemesis = tokio::spawn(injecting);
    let gauge = {
        let (server, limit) = (server.clone(), options.rss_limit * 1024);
        tokio::spawn(async move { server.gauge(limit).await })
    };

    let enough = || {
        let progress = recorder.progress();
        progress.sent.load(Ordering::Relaxed) >= options.signals
            && progress.faults.load(Ordering::Relaxed) >= options.faults
    };
    let breached = || options.stop_at_first && recorder.progress().breached.load(Ordering::Relaxed);
    // The faults of the server end early only after a failure.
    while !enough() && !breached() && began.elapsed() < options.deadline && !server_nemesis.is_finished() {
        sleep(POLL_INTERVAL).await;
    }
    let load = began.elapsed();
    phase.send_replace(Phase::Quiet);
    nemeses.shutdown().await;
    // It completes a restart in progress: the server must run at the end.
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
        return Err("the server had no metrics: GET /metrics failed, or had no mailboxes".into());
    }
    Ok(Summary { outcomes, missing, clients: clients.kinds, load })
}

/// Ends all faults, waits until all clients have reconnected, and then for quiet; returns the clients that are missing.
/// Returns early when it is cancelled.
async fn settle(clients: &Clients, is_cancelled: impl Fn() -> bool) -> Vec<String> {
    clients.context.rooms.iter().flat_map(|room| &room.targets).for_each(|target| target.proxy.heal());
    let deadline = Instant::now() + RETURN_TIMEOUT;
    let away = || -> Vec<String> {
        let away = clients.connected.iter().filter(|(_, connected)| !connected.load(Ordering::Relaxed));
        away.map(|(name, _)| name.clone()).collect()
    };
    let mut quiet_since = Instant::now();
    // Quiet: all are connected for as long as the server takes to end abandoned sessions.
    while Instant::now() < deadline && quiet_since.elapsed() < 2 * RESUME_WINDOW + NOTIFY {
        if is_cancelled() {
            return Vec::new();
        }
        sleep(POLL_INTERVAL).await;
        if !away().is_empty() {
            quiet_since = Instant::now();
        }
    }
    away()
}

async fn start_clients(
    options: &Options,
    server: &Server,
    recorder: &Recorder,
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
            let (sender, commands) = mpsc::channel(16);
            let connected = Arc::new(AtomicBool::new(false));
            let (current, sessions) = watch::channel(CurrentSession::default());
            let client = connecteds.len();
            let mut participant = Participant {
                run: options.seed,
                client: u32::try_from(client)?,
                room: room.name.clone(),
                addr: proxy.addr(),
                pace,
                identity: String::new(),
                rng: StdRng::seed_from_u64(rng.random()),
                recorder: recorder.clone(),
                commands,
                phase: phases.clone(),
                connected: connected.clone(),
                current,
            };
            participant.change_identity();
            let kind = client % 5;
            let name = match kind {
                0 | 2 => {
                    kinds[0] += 1;
                    tasks.spawn(native::run_sessions(participant));
                    "native"
                }
                1 | 3 => {
                    kinds[1] += 1;
                    tasks.spawn(web::run_sessions(participant, false));
                    "web"
                }
                _ => {
                    kinds[2] += 1;
                    tasks.spawn(web::run_sessions(participant, true));
                    "moving"
                }
            };
            connecteds.push((format!("client {client} ({name})"), connected));
            room.targets.push(Target {
                proxy,
                commands: sender,
                page: name != "native",
                current: sessions,
                busy: Mutex::default(),
            });
        }
        rooms.push(room);
    }
    let context = NemesisContext {
        rooms,
        recorder: recorder.clone(),
        server: server.addr(),
        phase: phases.clone(),
        pace,
        run: options.seed,
    };
    Ok(Clients { context: Arc::new(context), kinds, connected: connecteds, tasks })
}
