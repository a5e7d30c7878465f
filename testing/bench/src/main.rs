//! `signalbox-bench`: measures a release server on this machine, and prints the results.
//!
//! Each run has its own server process, real sockets over loopback, and clients on the native client library in this
//! process. Memory and CPU of the server are those that Linux reports for its process.

mod flooder;
mod idle;
mod members;
mod noise;
mod room;
mod server;
mod setup;
mod slow_reader;
mod stallable_connection;
mod stopped;
mod store_outage;
mod table;

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// An error ends the program with its message.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures a Signalbox server.
#[derive(Debug, Parser)]
#[command(name = "signalbox-bench", version)]
struct Cli {
    /// Path of the server program
    #[arg(long, global = true, default_value = "target/release/signalbox", value_name = "PATH")]
    server: PathBuf,
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Latency of a thousand readers in a room, with and without a member that has stopped reading
    SlowReader(slow_reader::Options),
    /// Memory of idle members
    Idle(idle::Options),
    /// CPU and time of call setups
    Setup(setup::Options),
    /// Latency of a live room with a hanging, killed or healthy database
    StoreOutage(store_outage::Options),
    /// Call setups of honest pairs, alone and next to a flooder and stalled readers
    Flooder(flooder::Options),
}

#[tokio::main]
#[allow(clippy::print_stderr, reason = "the error of the program")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    table::print_line(&server::machine());
    let done = match &cli.benchmark {
        Benchmark::SlowReader(options) => slow_reader::run(&cli.server, options).await,
        Benchmark::Idle(options) => idle::run(&cli.server, options).await,
        Benchmark::Setup(options) => setup::run(&cli.server, options).await,
        Benchmark::StoreOutage(options) => store_outage::run(&cli.server, options).await,
        Benchmark::Flooder(options) => flooder::run(&cli.server, options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("signalbox-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
