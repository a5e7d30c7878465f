//! Ends a program when the one that started it is gone, however that came about: standard input of the guard is a pipe
//! from there, and a pipe ends with its process.

use std::{process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time,
};

use crate::config::GuardConfig;

/// How long the program may take to end in an orderly way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the program. Returns its exit status.
pub async fn run(config: &GuardConfig) -> Result<u8, String> {
    // Whoever ends this one wants the program to end.
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| format!("cannot listen for signals: {error}"))?;
    let (program, args) = config.command.split_first().expect("clap asks for a program");
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.to_string_lossy()))?;
    let mut stdin = tokio::io::stdin();
    let mut byte = [0];
    let is_over = tokio::select! {
        status = child.wait() => return Ok(code(status)),
        // Nothing is ever written there.
        _ = stdin.read(&mut byte) => true,
        _ = terminate.recv() => false,
    };
    terminate_child(&child);
    let code = match time::timeout(PATIENCE, child.wait()).await {
        Ok(status) => code(status),
        Err(_) => {
            let _ = child.kill().await;
            1
        }
    };
    if let Some(folder) = &config.folder
        && is_over
    {
        // Whoever made it may have done so already.
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(code)
}

fn terminate_child(child: &Child) {
    // Until it has been waited for its id is its own.
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(id) = id {
        let _ = kill_process(id, Signal::TERM);
    }
}

fn code(status: std::io::Result<std::process::ExitStatus>) -> u8 {
    status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
