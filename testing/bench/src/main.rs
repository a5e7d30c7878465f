//! `signalbox-bench`: puts load on a release server, on this machine, and prints what it came to.
//!
//! One server process a run, real sockets over loopback, and clients on the native client library in this process. What
//! is measured of the server (memory, CPU) is what Linux says of its process.

mod flooder;
mod gate;
mod idle;
mod members;
mod noise;
mod room;
mod server;
mod setup;
mod slow_reader;
mod stopped;
mod store_outage;
mod table;

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// What goes wrong ends the program with its message.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures a Signalbox server.
#[derive(Debug, Parser)]
#[command(name = "signalbox-bench", version)]
struct Cli {
    /// The server's program
    #[arg(long, global = true, default_value = "target/release/signalbox", value_name = "PATH")]
    server: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Latency of a thousand members who read, with and without one among them who has stopped reading
    SlowReader(slow_reader::Options),
    /// Memory of members who do nothing
    Idle(idle::Options),
    /// CPU and time of calls being set up
    Setup(setup::Options),
    /// Latency of a live room while the database hangs or is killed, beside one that is well
    StoreOutage(store_outage::Options),
    /// Calls of honest pairs, alone and beside one who floods and many who have stopped reading
    Flooder(flooder::Options),
}

#[tokio::main]
#[allow(clippy::print_stderr, reason = "the last word of a program that failed")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    table::say(&server::machine());
    let done = match &cli.what {
        What::SlowReader(options) => slow_reader::run(&cli.server, options).await,
        What::Idle(options) => idle::run(&cli.server, options).await,
        What::Setup(options) => setup::run(&cli.server, options).await,
        What::StoreOutage(options) => store_outage::run(&cli.server, options).await,
        What::Flooder(options) => flooder::run(&cli.server, options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("signalbox-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
