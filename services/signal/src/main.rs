//! The `signalbox` program.

use std::{
    fs,
    io::{IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Parser;
use signalbox_server::{
    Server,
    cli::{Cli, Command, keygen, token},
    config::{Config, LogFormat},
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tracing::info;
use tracing_subscriber::EnvFilter;

/// Exit status for invalid arguments or settings, before anything starts.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = match cli.command {
        Some(Command::Serve(config)) => *config,
        Some(Command::Token(args)) => return print(token::token(&args, SystemTime::now())),
        Some(Command::Keygen(args)) => return print(keygen::keygen(&args)),
        None => cli.serve,
    };
    let filter = match EnvFilter::try_new(&config.log) {
        Ok(filter) => filter,
        Err(error) => return fail(&format!("--log: {error}"), EXIT_USAGE),
    };
    if let Err(error) = config.check() {
        return fail(&error, EXIT_USAGE);
    }
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}"), 1),
    };
    let served = runtime.block_on(serve(config));
    // A hanging disk must not delay the exit. The store survives an interrupted write.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

async fn serve(config: Config) -> Result<(), String> {
    let (ready_file, admin_ready_file) = (config.ready_file.clone(), config.admin_ready_file.clone());
    info!(version = env!("CARGO_PKG_VERSION"), ?config, "configuration");
    // Install the signal handlers before the port is bound: from then on, a signal must drain the server.
    let stop = stop_signal()?;
    let tls = config.serves_tls();
    let server = Server::bind(config).await?;
    let no_address = |error| format!("the listener has no address: {error}");
    let address = server.local_addr().map_err(no_address)?;
    info!(tls, %address, "listening");
    if let Some(address) = server.admin_addr().map_err(no_address)? {
        info!(%address, "admin listening");
        write_ready_file("--admin-ready-file", admin_ready_file, address)?;
    }
    // Write the public ready file last, so that its existence implies that the admin ready file exists.
    write_ready_file("--ready-file", ready_file, address)?;
    server.run(stop).await;
    Ok(())
}

/// Writes an address to a file. The rename is atomic, so no reader sees a partial file.
fn write_ready_file(flag: &str, path: Option<PathBuf>, address: SocketAddr) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let partial = path.with_extension("partial");
    fs::write(&partial, format!("{address}\n"))
        .and_then(|()| fs::rename(&partial, &path))
        .map_err(|error| format!("cannot write {flag} {}: {error}", path.display()))
}

/// Completes at the first Ctrl-C or SIGTERM.
fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Prints the result of a command and nothing else, so that scripts can use the output.
fn print(result: Result<String, String>) -> ExitCode {
    let printed = result.and_then(|text| {
        writeln!(std::io::stdout(), "{text}").map_err(|error| format!("cannot write to standard output: {error}"))
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, EXIT_USAGE),
    }
}

#[allow(clippy::print_stderr, reason = "the log may not be set up yet, and the user of the command line reads this")]
fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("signalbox: {message}");
    ExitCode::from(code)
}
