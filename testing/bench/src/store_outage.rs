//! A live room while the database hangs, is killed, or is healthy: the latency of signals and of calls that need the
//! database.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use signalbox_proto::v1::{CreateRoomRequest, Room as RoomSettings, rooms_client::RoomsClient};
use tempfile::TempDir;
use tokio::{
    process::Child,
    time::{Instant, sleep, sleep_until},
};
use tonic::Code;

use crate::{
    Result, noise,
    room::{Load, Room, WARM_UP},
    server::Server,
    table::{self, Times, ms},
};

/// Parameters.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Path of the mongod program
    #[arg(long, env = "MONGOD", value_name = "PATH")]
    mongod: PathBuf,
    /// Members of the live room
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(2..=50_000))]
    members: u32,
    /// Data of 200 bytes from one member to another, per second
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    to_one: u32,
    /// Data of 1 KiB to all members, per second
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    to_all: u32,
    /// Rooms that another client creates per second, one after another
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    creates: u32,
    /// Measured time of each run, for all of which the database is unavailable
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Number of runs of each kind
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10))]
    rounds: u32,
}

/// What happens to the database at the start of the measurement.
const FAULTS: [(&str, Option<Signal>); 3] =
    [("healthy", None), ("hangs", Some(Signal::STOP)), ("killed", Some(Signal::KILL))];

/// The results of a run.
struct Run {
    to_all: Times,
    to_one: Times,
    creates: Creates,
}

/// The outcomes of creates.
#[derive(Default)]
struct Creates {
    created: u32,
    refused: u32,
    times: Times,
}

/// Runs the benchmark and prints the results.
pub(crate) async fn run(binary: &Path, options: &Options) -> Result<()> {
    table::print_line(&format!(
        "store-outage: {} members in a live room; per second {} data to one and {} to all of them, and {} rooms created by \
         another client; the database is healthy, hangs (SIGSTOP) or is killed for the whole time; {} runs of each kind, \
         {} measured",
        options.members,
        options.to_one,
        options.to_all,
        options.creates,
        options.rounds,
        humantime::format_duration(options.time),
    ));
    let head = "run|database|to one p50|p99|p99.9|longest|to all p99|arrived|rooms created|refused|create p50|longest";
    let mut rows = vec![head.split('|').map(str::to_owned).collect::<Vec<_>>()];
    // The 99th percentiles of data to one and to all, for each fault.
    let mut to_one: [Vec<Duration>; FAULTS.len()] = Default::default();
    let mut to_all = to_one.clone();
    for round in 0..options.rounds {
        for kind in 0..FAULTS.len() {
            // The order rotates, so that a machine that gets slower has the same effect on all kinds.
            let kind = (kind + round as usize) % FAULTS.len();
            let (name, fault) = FAULTS[kind];
            let mut run = measure(binary, options, fault).await?;
            to_one[kind].push(run.to_one.quantile(0.99));
            to_all[kind].push(run.to_all.quantile(0.99));
            rows.push(row(round + 1, name, &mut run));
        }
    }
    table::print(&rows);
    for (what, figures) in [("to one, p99", to_one), ("to all, p99", to_all)] {
        let [healthy, faults @ ..] = figures;
        for ((name, _), figures) in FAULTS[1..].iter().zip(faults) {
            noise::compare(what, ("database healthy", healthy.clone()), (name, figures));
        }
    }
    table::print_line("no signal was lost; a lost signal would have ended the benchmark with an error");
    Ok(())
}

async fn measure(binary: &Path, options: &Options, fault: Option<Signal>) -> Result<Run> {
    let mongod = Mongod::start(&options.mongod).await?;
    let server = Server::start_on(binary, &format!("mongodb://{}/bench", mongod.addr)).await?;
    let mut room = Room::fill(&server.url(), options.members, 10).await?;
    let start = Instant::now();
    let end = start + WARM_UP + options.time;
    let load = Load { to_all: options.to_all, to_one: options.to_one, to_slow: 1, time: options.time };
    let fault = async {
        sleep_until(start + WARM_UP).await;
        fault.map_or(Ok(()), |signal| mongod.signal(signal))
    };
    // Fails if a signal is lost.
    let (loaded, hit, created) =
        tokio::join!(room.load(&load), fault, create(server.url(), options.creates, start + WARM_UP, end));
    loaded?;
    hit?;
    let creates = created?;
    let (to_all, to_one) = room.leave().await?;
    server.stop().await?;
    Ok(Run { to_all, to_one, creates })
}

fn row(round: u32, name: &str, run: &mut Run) -> Vec<String> {
    let Run { to_all, to_one, creates } = run;
    vec![
        round.to_string(),
        name.to_owned(),
        ms(to_one.quantile(0.5)),
        ms(to_one.quantile(0.99)),
        ms(to_one.quantile(0.999)),
        ms(to_one.quantile(1.0)),
        ms(to_all.quantile(0.99)),
        (to_all.len() + to_one.len()).to_string(),
        creates.created.to_string(),
        creates.refused.to_string(),
        ms(creates.times.quantile(0.5)),
        ms(creates.times.quantile(1.0)),
    ]
}

async fn create(url: String, rate: u32, start: Instant, end: Instant) -> Result<Creates> {
    let mut rooms = RoomsClient::connect(url).await?;
    let mut creates = Creates::default();
    sleep_until(start).await;
    while Instant::now() < end {
        let name = format!("created-{}", creates.times.len());
        let room = RoomSettings { name, ..RoomSettings::default() };
        let asked = Instant::now();
        match rooms.create_room(CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() }).await {
            Ok(_) => creates.created += 1,
            Err(status) if status.code() == Code::Unavailable => creates.refused += 1,
            Err(status) => return Err(status.into()),
        }
        creates.times.add(asked.elapsed());
        sleep_until(asked + Duration::from_secs(1) / rate).await;
    }
    Ok(creates)
}

/// A mongod on a free port.
struct Mongod {
    addr: String,
    child: Child,
    _folder: TempDir,
}

impl Mongod {
    async fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut child = tokio::process::Command::from(Command::new(binary))
            .args(["--bind_ip=127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB=0.25", "--port"])
            .arg(addr.port().to_string())
            .arg("--dbpath")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} could not be started: {error}", binary.display()))?;
        while TcpStream::connect(addr).is_err() {
            if let Some(status) = child.try_wait()? {
                return Err(format!("the database did not start: {status}").into());
            }
            // There is no event for it.
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { addr: addr.to_string(), child, _folder: folder })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or("the database has ended")?;
        Ok(kill_process(pid, signal)?)
    }
}
