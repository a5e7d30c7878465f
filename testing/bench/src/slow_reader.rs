//! A member that has stopped reading in a room of a thousand readers: the cost for them and for the server.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use signalbox_proto::v1::LeaveReason;

use crate::{
    Result, noise,
    room::{Load, Room, Tally},
    server::{self, Server},
    stopped::Stopped,
    table::{self, Times, mib, ms},
};

/// Parameters.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Readers, all in one room
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(2..=50_000))]
    readers: u32,
    /// Connections of the readers
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Data of 1 KiB to all, per second
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    to_all: u32,
    /// Data of 200 bytes from one reader to another, per second
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    to_one: u32,
    /// Offers of 8 KiB to the stalled member, per second
    #[arg(long, default_value = "200", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    to_slow: u32,
    /// Measured time of each run
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// Number of runs of each kind
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10))]
    rounds: u32,
}

/// The results of a run.
struct Run {
    to_all: Times,
    to_one: Times,
    /// Memory of the server in KiB: after all joins, and its peak from then on.
    memory: u64,
    peak: u64,
    /// Shares of one core that the server and this program used. If both fill the cores, the times include waiting for a
    /// core.
    cpu: f64,
    own_cpu: f64,
    stopped: Vec<Stopped>,
    tally: Arc<Tally>,
}

/// Runs the benchmark and prints the results.
pub(crate) async fn run(binary: &Path, options: &Options) -> Result<()> {
    table::print_line(&format!(
        "slow-reader: {} readers on {} connections in one room; per second {} data to all, {} to one reader, and {} offers \
         to one more member, which reads or has stopped reading; {} runs of each kind, {} measured",
        options.readers,
        options.connections,
        options.to_all,
        options.to_one,
        options.to_slow,
        options.rounds,
        humantime::format_duration(options.time),
    ));
    let head = "run|reads|to all p50|p99|to one p50|p99|server CPU|load CPU|memory|peak|arrived|stalled readers ended";
    let mut rows = vec![head.split('|').map(str::to_owned).collect::<Vec<_>>()];
    let mut kinds: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for round in 1..=options.rounds {
        // The order alternates, so that a machine that gets slower has the same effect on both kinds.
        let first = round % 2 == 0;
        for stops in [first, !first] {
            let mut run = measure(binary, options, stops).await?;
            rows.push(row(round, stops, &mut run));
            kinds[usize::from(stops)].push(run);
        }
    }
    table::print(&rows);
    let [without, with] = &mut kinds;
    compare("to all, p50", without, with, |run| run.to_all.quantile(0.5));
    compare("to all, p99", without, with, |run| run.to_all.quantile(0.99));
    compare("to one, p50", without, with, |run| run.to_one.quantile(0.5));
    compare("to one, p99", without, with, |run| run.to_one.quantile(0.99));
    judge(with)
}

async fn measure(binary: &Path, options: &Options, stops: bool) -> Result<Run> {
    let server = Server::start(binary).await?;
    let mut room = Room::fill(&server.url(), options.readers, options.connections).await?;
    let slow = if stops { room.stop_reading(&server.url()) } else { room.keep_reading(&server.url()).await? };
    let memory = server.memory()?;
    server.reset_peak()?;
    let (began, cpu, own_cpu) = (Instant::now(), server.cpu()?, server::own_cpu()?);
    let load = Load { to_all: options.to_all, to_one: options.to_one, to_slow: options.to_slow, time: options.time };
    room.load(&load).await?;
    let share = |used: Duration| used.as_secs_f64() / began.elapsed().as_secs_f64();
    let (cpu, own_cpu) = (share(server.cpu()? - cpu), share(server::own_cpu()? - own_cpu));
    let peak = server.peak_memory()?;
    let stopped = slow.end().await?;
    let tally = room.tally();
    let (to_all, to_one) = room.leave().await?;
    server.stop().await?;
    Ok(Run { to_all, to_one, memory, peak, cpu, own_cpu, stopped, tally })
}

fn row(round: u32, stops: bool, run: &mut Run) -> Vec<String> {
    let ended: Vec<_> = run.stopped.iter().map(ToString::to_string).collect();
    vec![
        round.to_string(),
        if stops { "stopped" } else { "yes" }.to_owned(),
        ms(run.to_all.quantile(0.5)),
        ms(run.to_all.quantile(0.99)),
        ms(run.to_one.quantile(0.5)),
        ms(run.to_one.quantile(0.99)),
        format!("{:.0} %", run.cpu * 100.0),
        format!("{:.0} %", run.own_cpu * 100.0),
        mib(run.memory),
        mib(run.peak),
        (run.to_all.len() + run.to_one.len()).to_string(),
        ended.join("; "),
    ]
}

/// Compares a figure of both kinds of runs.
fn compare(what: &str, without: &mut [Run], with: &mut [Run], figure: impl Fn(&mut Run) -> Duration) {
    let figures = |runs: &mut [Run]| runs.iter_mut().map(&figure).collect();
    noise::compare(what, ("all read", figures(without)), ("one stopped", figures(with)));
}

/// Prints how stalled readers ended. An error if there was none, or one ended with another reason.
fn judge(runs: &[Run]) -> Result<()> {
    let ended: Vec<_> = runs.iter().flat_map(|run| &run.stopped).collect();
    let mut wrong: Vec<_> = ended.iter().filter(|stopped| stopped.reason != LeaveReason::SlowConsumer).collect();
    wrong.extend(ended.iter().filter(|stopped| stopped.status != "SLOW_CONSUMER"));
    let (accepted, refused) = runs.iter().map(|run| run.tally.offers()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    table::print_line(&format!(
        "stalled readers: {} ended, {} of them as SLOW_CONSUMER; offers to them: {accepted} accepted, {refused} MAILBOX_FULL",
        ended.len(),
        ended.len() - wrong.len(),
    ));
    if ended.is_empty() {
        return Err("no stalled reader was ended: increase --time or --to-slow".into());
    }
    if let Some(wrong) = wrong.first() {
        return Err(format!("a stalled reader ended as {:?}, {}", wrong.reason, wrong.status).into());
    }
    Ok(())
}
