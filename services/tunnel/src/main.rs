//! The `signalbox-tunnel` program.

use std::process::ExitCode;

use clap::Parser;
use signalbox_tunnel::{
    config::{Cli, Command, SECRET},
    parent_watchdog, share, tunnel_server,
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let result = runtime.block_on(run(cli.command));
    // A pending name lookup or read of standard input must not delay the exit.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> Result<ExitCode, String> {
    let secret = std::env::var(SECRET).ok().filter(|secret| !secret.is_empty());
    match command {
        Command::ParentWatchdog(config) => return parent_watchdog::run(&config).await.map(ExitCode::from),
        Command::Share(config) => share::run(*config, secret, stop_signal()?).await?,
        Command::Serve(config) => {
            let stop = stop_signal()?;
            tokio::select! {
                served = tunnel_server::run(&config, secret.as_deref()) => served?,
                () = stop => {}
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Completes on Ctrl-C, on SIGTERM, and when the terminal closes.
fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot install signal handlers: {error}"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let (mut terminate, mut hang_up) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

#[allow(clippy::print_stderr, reason = "errors of a command line program go to standard error")]
fn fail(message: &str) -> ExitCode {
    eprintln!("signalbox-tunnel: {message}");
    ExitCode::FAILURE
}
