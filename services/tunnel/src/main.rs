//! The `signalbox-tunnel` program.

use std::process::ExitCode;

use clap::Parser;
use signalbox_tunnel::{
    config::{Cli, Command, SECRET},
    guard, serve, share,
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
    let done = runtime.block_on(run(cli.command));
    // A name that is being looked up must not keep the program, nor a read of standard input.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> Result<ExitCode, String> {
    let secret = std::env::var(SECRET).ok().filter(|secret| !secret.is_empty());
    match command {
        Command::Guard(config) => return guard::run(&config).await.map(ExitCode::from),
        Command::Share(config) => share::run(*config, secret, stop_signal()?).await?,
        Command::Serve(config) => {
            let stop = stop_signal()?;
            tokio::select! {
                served = serve::run(&config, secret.as_deref()) => served?,
                () = stop => {}
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Done at Ctrl-C, at SIGTERM, and when the terminal is closed.
fn stop_signal() -> Result<impl Future<Output = ()>, String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
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

#[allow(clippy::print_stderr, reason = "it is for whoever typed the command")]
fn fail(message: &str) -> ExitCode {
    eprintln!("signalbox-tunnel: {message}");
    ExitCode::FAILURE
}
