//! Runs a program and ends it when the parent process exits or is killed. The watchdog's standard input is a pipe from
//! the parent, which the kernel closes when the parent exits.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time,
};

use crate::config::ParentWatchdogConfig;

/// How long the program may take to shut down before it is killed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the program and returns its exit code.
pub async fn run(config: &ParentWatchdogConfig) -> Result<u8, String> {
    // SIGTERM to the watchdog must also end the program.
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("cannot install signal handlers: {error}"))?;
    let (program, args) = config.command.split_first().expect("clap requires a program");
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.to_string_lossy()))?;
    let mut stdin = tokio::io::stdin();
    let mut byte = [0];
    let parent_exited = tokio::select! {
        status = child.wait() => return Ok(exit_code(status)),
        // The parent never writes, so a read returns only at end of file.
        _ = stdin.read(&mut byte) => true,
        _ = terminate.recv() => false,
    };
    terminate_child(&child);
    let code = match time::timeout(SHUTDOWN_TIMEOUT, child.wait()).await {
        Ok(status) => exit_code(status),
        Err(_) => {
            let _ = child.kill().await;
            1
        }
    };
    if let Some(folder) = &config.remove_folder
        && parent_exited
    {
        // Ignore errors: the parent may have removed the folder already.
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(code)
}

fn terminate_child(child: &Child) {
    // The process id is valid, because the kernel does not reuse it before the child is reaped.
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        let _ = kill_process(id, Signal::TERM);
    }
}

fn exit_code(status: std::io::Result<std::process::ExitStatus>) -> u8 {
    status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
