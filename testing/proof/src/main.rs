//! `signalbox-proof`: runs clients and faults against a real server, and reports whether the guarantee held.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use signalbox_proof::{
    checker::Verdict,
    run::{Options, run},
};

/// The run proves nothing: too few signals, or faults without effect.
const EXIT_VOID: u8 = 2;
/// The run failed, or the server ended unexpectedly.
const EXIT_BROKEN: u8 = 3;

/// Proves the delivery guarantee: clients exchange signals over faulty connections, and a checker verifies the history.
#[derive(Debug, Parser)]
#[command(name = "signalbox-proof", version, args_override_self = true)]
struct Cli {
    /// Signals to send
    #[arg(long, default_value = "100000")]
    signals: u64,
    /// Faults to cause, counting only those with an effect
    #[arg(long, default_value = "200")]
    faults: u64,
    /// Seed of the schedule of faults
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Path of the server program
    #[arg(long, default_value = "target/release/signalbox", value_name = "PATH")]
    server: PathBuf,
    /// Writes the history to this file, as JSON lines
    #[arg(long, value_name = "PATH")]
    history: Option<PathBuf>,
    /// Number of rooms, with three to six members each
    #[arg(long, default_value = "12")]
    rooms: usize,
    /// Signals per second and member
    #[arg(long, default_value = "45")]
    rate: f64,
    /// Concurrent faults
    #[arg(long, default_value = "8")]
    at_once: usize,
    /// Time between faults of the whole server: pauses and restarts
    #[arg(long, default_value = "40s", value_parser = humantime::parse_duration)]
    server_faults: Duration,
    /// Limit of the memory of the server, in MiB
    #[arg(long, default_value = "96")]
    rss_limit: u64,
    /// Ends the load after this time at the latest
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    deadline: Duration,
    /// Ends the run at the first breach
    #[arg(long)]
    stop_at_first: bool,
}

#[tokio::main]
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is what this program is for")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.rooms == 0 || !(0.0..=1000.0).contains(&cli.rate) {
        eprintln!("signalbox-proof: --rooms must be at least 1, --rate between 0 and 1000");
        return ExitCode::from(EXIT_BROKEN);
    }
    let options = Options {
        signals: cli.signals,
        faults: cli.faults,
        seed: cli.seed,
        server: cli.server,
        history: cli.history,
        rooms: cli.rooms,
        rate: cli.rate,
        at_once: cli.at_once,
        server_faults: cli.server_faults,
        rss_limit: cli.rss_limit,
        deadline: cli.deadline,
        stop_at_first: cli.stop_at_first,
    };
    let summary = match run(&options).await {
        Ok(summary) => summary,
        Err(error) => {
            eprintln!("signalbox-proof: {error}");
            return ExitCode::from(EXIT_BROKEN);
        }
    };
    print!("{summary}");
    println!("replay: {}", options.command());
    match summary.outcomes.report.verdict {
        _ if !summary.missing.is_empty() => ExitCode::FAILURE,
        Verdict::Passed => ExitCode::SUCCESS,
        Verdict::Failed(_) => ExitCode::FAILURE,
        Verdict::Void(_) => ExitCode::from(EXIT_VOID),
    }
}
