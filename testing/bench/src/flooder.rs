//! Call setups of honest pairs, alone and next to a flooder and stalled readers. The server has its default limits.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use signalbox_client::{Client, Event, Session, Signal};
use signalbox_proto::v1::{
    ClientMessage, Data, Join, LeaveReason, MemberLeft, client_message::Body as ClientBody, server_message::Body,
    signal_client::SignalClient,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant as Tick, interval, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

use crate::{
    Result,
    members::{Shared, join},
    server::{self, Server},
    setup::{meet, set_up},
    stopped::{Slow, Stopped},
    table::{self, Times, mib, ms},
};

/// Parameters.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Honest pairs
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pairs: u32,
    /// Call setups per second, of all pairs; half of the pairs stay joined, the others connect, join and leave for each
    /// call
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    calls: u32,
    /// Members that have stopped reading
    #[arg(long, default_value = "100", value_parser = clap::value_parser!(u32).range(1..=5_000))]
    stopped: u32,
    /// Measured time of each run
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    time: Duration,
}

/// A call setup that takes longer has failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Size of the messages of the flooder.
const FLOOD_BYTES: usize = 200;
/// Size and interval of offers to stalled readers, which soon exceed their windows.
const OFFER_BYTES: usize = 60_000;
const OFFER_EVERY: Duration = Duration::from_millis(500);
const WINDOW: u32 = 65_535;
/// Members on one connection.
const PER_CONNECTION: u32 = 10;

/// The results of a run.
struct Run {
    calls: Times,
    failures: Vec<String>,
    cpu: f64,
    own_cpu: f64,
    memory: u64,
    peak: u64,
    flood: Flood,
    stopped: Vec<Stopped>,
}

/// The messages of the flooder, and their outcomes.
#[derive(Default)]
struct Flood {
    sent: u64,
    refused: u64,
    ended: Vec<String>,
}

/// Runs the benchmark and prints the results.
pub(crate) async fn run(binary: &Path, options: &Options) -> Result<()> {
    table::print_line(&format!(
        "flooder: {} honest pairs set up {} calls per second, alone and next to a member that sends as fast as it can and \
         {} that have stopped reading; {} each",
        options.pairs,
        options.calls,
        options.stopped,
        humantime::format_duration(options.time),
    ));
    let head =
        "next to|calls|failed|took p50|p99|server CPU|load CPU|memory|peak|flood per second|refused|stalled ended";
    let mut rows = vec![head.split('|').map(str::to_owned).collect::<Vec<_>>()];
    let mut runs = Vec::new();
    for is_flooded in [false, true] {
        let mut run = measure(binary, options, is_flooded).await?;
        rows.push(row(options, is_flooded, &mut run));
        runs.push(run);
    }
    table::print(&rows);
    judge(&runs)
}

async fn measure(binary: &Path, options: &Options, is_flooded: bool) -> Result<Run> {
    let server = Server::start_with_defaults(binary).await?;
    let url = server.url();
    let stop = watch::Sender::new(false);
    let mut joined = Vec::new();
    let client = Client::new(&url)?;
    for pair in 0..options.pairs {
        let stays = pair % 2 == 0;
        joined.push(if stays { Some(meet(&client, &format!("pair-{pair}")).await?) } else { None });
    }
    let (memory, mut slow) = (server.memory()?, JoinSet::new());
    server.reset_peak()?;
    let flooder = is_flooded.then(|| {
        let (url, stop) = (url.clone(), stop.subscribe());
        // On its own thread, so that it does not delay honest members.
        thread::spawn(move || flood(&url, &stop))
    });
    if is_flooded {
        let shared = Shared::new(&url, options.stopped.div_ceil(PER_CONNECTION) as usize)?;
        for index in 0..options.stopped {
            let sender = join(shared.client(index as usize), &format!("stopped-{index}")).await?;
            slow.spawn(keep_sending(url.clone(), sender, format!("stopped-{index}"), stop.subscribe()));
        }
    }

    let (began, cpu, own_cpu) = (Instant::now(), server.cpu()?, server::own_cpu()?);
    let mut pairs = JoinSet::new();
    let end = Tick::now() + options.time;
    for (pair, joined) in (0..options.pairs).zip(joined) {
        pairs.spawn(call(client.clone(), pair, joined, pace(options, pair), end));
    }
    let (mut calls, mut failures) = (Times::default(), Vec::new());
    while let Some(pair) = pairs.join_next().await {
        let (times, failed) = pair?;
        calls.append(times);
        failures.extend(failed);
    }
    let share = |used: Duration| used.as_secs_f64() / began.elapsed().as_secs_f64();
    let (cpu, own_cpu) = (share(server.cpu()? - cpu), share(server::own_cpu()? - own_cpu));
    let peak = server.peak_memory()?;
    stop.send_replace(true);
    let mut stopped = Vec::new();
    while let Some(ended) = slow.join_next().await {
        stopped.extend(ended??);
    }
    let flood = match flooder {
        Some(flooder) => {
            tokio::task::spawn_blocking(move || flooder.join()).await?.map_err(|_| "the flooder panicked")??
        }
        None => Flood::default(),
    };
    server.stop().await?;
    Ok(Run { calls, failures, cpu, own_cpu, memory, peak, flood, stopped })
}

/// The delay of the first call of a pair, and the interval between its calls.
fn pace(options: &Options, pair: u32) -> (Duration, Duration) {
    let one = Duration::from_secs(1) / options.calls;
    (one * pair, one * options.pairs)
}

/// Sets up calls until the end; returns their durations and failures.
async fn call(
    client: Client,
    pair: u32,
    mut joined: Option<(Session, Session)>,
    (first, every): (Duration, Duration),
    end: Tick,
) -> (Times, Vec<String>) {
    let (mut times, mut failures) = (Times::default(), Vec::new());
    let stays = joined.is_some();
    let mut due = Tick::now() + first;
    for call in 0.. {
        if due >= end {
            break;
        }
        sleep_until(due).await;
        due += every;
        let started = Instant::now();
        let one = async {
            let (mut first, mut second) = match joined.take() {
                Some(joined) => joined,
                None => meet(&client, &format!("pair-{pair}-{call}")).await?,
            };
            set_up(&mut first, &mut second).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((first, second))
        };
        match timeout(CALL_TIMEOUT, one).await {
            Ok(Ok((first, second))) => {
                times.add(started.elapsed());
                if stays {
                    joined = Some((first, second));
                } else {
                    tokio::join!(first.leave(), second.leave());
                }
            }
            Ok(Err(error)) => failures.push(error.to_string()),
            Err(_) => failures.push(format!("a call setup took longer than {} s", CALL_TIMEOUT.as_secs())),
        }
    }
    (times, failures)
}

/// Sends to a stalled reader, and to the next one when its session has ended.
async fn keep_sending(
    url: String,
    mut sender: Session,
    room: String,
    mut stop: watch::Receiver<bool>,
) -> Result<Vec<Stopped>> {
    let (leaves, left) = mpsc::unbounded_channel::<MemberLeft>();
    let id = watch::Sender::default();
    let slow = Slow::stop_reading(url, room, Some(WINDOW), id.clone(), left);
    let sdp = "x".repeat(OFFER_BYTES);
    let mut tick = interval(OFFER_EVERY);
    loop {
        tokio::select! {
            event = sender.next() => match event {
                Some(Event::MemberLeft(left)) => drop(leaves.send(left)),
                Some(Event::Suspended | Event::Rejoined(_) | Event::Ended(_)) | None => {
                    return Err("the sender to a stalled reader lost its connection".into());
                }
                Some(_) => {}
            },
            _ = tick.tick() => {
                let to = id.borrow().clone();
                if !to.is_empty() {
                    drop(sender.send(Signal::offer(to, sdp.clone())).await);
                }
            }
            _ = stop.changed() => break,
        }
    }
    slow.end().await
}

/// Sends to a reader as fast as possible, until stopped.
fn flood(url: &str, stop: &watch::Receiver<bool>) -> Result<Flood> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut reader = join(&Client::new(url)?, "flood").await?;
        let to = reader.member_id();
        tokio::spawn(async move { while reader.next().await.is_some() {} });
        let mut flood = Flood::default();
        while !*stop.borrow() {
            flood_once(url, &to, stop.clone(), &mut flood).await?;
        }
        Ok(flood)
    })
}

async fn flood_once(url: &str, to: &str, mut stop: watch::Receiver<bool>, flood: &mut Flood) -> Result<()> {
    let (sender, outgoing) = mpsc::channel(1024);
    let join = ClientBody::Join(Join { room: "flood".to_owned(), ..Join::default() });
    sender.send(ClientMessage { body: Some(join), ..ClientMessage::default() }).await?;
    let mut client = SignalClient::new(Endpoint::from_shared(url.to_owned())?.connect().await?);
    let mut stream = client.exchange(ReceiverStream::new(outgoing)).await?.into_inner();
    let data = Data { payload: vec![0; FLOOD_BYTES].into(), ..Data::default() };
    let message = ClientMessage { to: to.to_owned(), body: Some(ClientBody::Data(data)), ..ClientMessage::default() };
    loop {
        tokio::select! {
            sent = sender.send(message.clone()) => flood.sent += u64::from(sent.is_ok()),
            received = stream.message() => match received {
                Ok(Some(message)) => flood.refused += u64::from(matches!(message.body, Some(Body::Undelivered(_)))),
                Ok(None) => return Ok(()),
                Err(status) => {
                    flood.ended.push(status.message().to_owned());
                    return Ok(());
                }
            },
            _ = stop.changed() => return Ok(()),
        }
    }
}

fn row(options: &Options, is_flooded: bool, run: &mut Run) -> Vec<String> {
    let (sent, refused) = (run.flood.sent, run.flood.refused);
    vec![
        if is_flooded { format!("a flooder, {} stalled", options.stopped) } else { "-".to_owned() },
        run.calls.len().to_string(),
        run.failures.len().to_string(),
        ms(run.calls.quantile(0.5)),
        ms(run.calls.quantile(0.99)),
        format!("{:.0} %", run.cpu * 100.0),
        format!("{:.0} %", run.own_cpu * 100.0),
        mib(run.memory),
        mib(run.peak),
        (sent / options.time.as_secs().max(1)).to_string(),
        refused.to_string(),
        run.stopped.len().to_string(),
    ]
}

/// An error if a call setup failed, or there was no flood or no stalled reader.
fn judge(runs: &[Run]) -> Result<()> {
    if let Some(failure) = runs.iter().flat_map(|run| &run.failures).next() {
        return Err(format!("calls failed, such as: {failure}").into());
    }
    let flooded = runs.last().ok_or("there was no run")?;
    if runs.iter().any(|run| run.calls.len() == 0) {
        return Err("no call was set up: increase --time".into());
    }
    if flooded.flood.refused == 0 {
        return Err("no message of the flood was refused: there was no flood".into());
    }
    let ends = &flooded.flood.ended;
    table::print_line(&format!(
        "the flooder's stream was ended {} times{}",
        ends.len(),
        ends.first().map_or(String::new(), |end| format!(": {end}"))
    ));
    if flooded.stopped.is_empty() {
        return Err("no stalled reader was ended: increase --time".into());
    }
    match flooded.stopped.iter().find(|stopped| stopped.reason != LeaveReason::SlowConsumer) {
        Some(wrong) => Err(format!("a stalled reader ended as {:?}, {}", wrong.reason, wrong.status).into()),
        None => Ok(()),
    }
}
