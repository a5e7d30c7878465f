//! The `signalbox` program as a process of its own.

use std::{
    net::SocketAddr,
    path::Path,
    process::{ExitStatus, Output, Stdio},
};

use http::{Method, StatusCode};
use rustix::process::{Pid, Signal};
use signalbox_testkit::server_process::{self, ServerProcess};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
    sync::watch,
    task::JoinHandle,
};

use super::{
    DEADLINE,
    raw::{Version, request},
    within,
};

fn command(folder: &Path, flags: &[&str]) -> Command {
    let mut command = server_process::command(Path::new(env!("CARGO_BIN_EXE_signalbox")));
    command.current_dir(folder).args(flags);
    command
}

/// Runs the program to its end, in a folder.
pub(crate) async fn run(folder: &Path, flags: &[&str]) -> Output {
    run_with(folder, &[], flags).await
}

/// Runs the program to its end, in a folder, with environment variables.
pub(crate) async fn run_with(folder: &Path, variables: &[(&str, &str)], flags: &[&str]) -> Output {
    let mut command = command(folder, flags);
    command.envs(variables.iter().copied());
    within(DEADLINE, command.output()).await.expect("the program starts")
}

/// A server process, and its log as it grows.
pub(crate) struct Program {
    pub(crate) addr: SocketAddr,
    process: ServerProcess,
    log: watch::Sender<String>,
    /// Done when the log is complete.
    reading: JoinHandle<()>,
    folder: TempDir,
}

impl Program {
    /// Starts the program in a folder of its own and waits until it serves.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_with(&[], flags).await
    }

    /// Starts the program with environment variables, in a folder of its own, and waits until it serves.
    pub(crate) async fn start_with(variables: &[(&str, &str)], flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listen = if flags.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let mut command = command(folder.path(), &[listen, flags].concat());
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = ServerProcess::spawn(command, &folder.path().join("ready")).expect("the program starts");
        let mut stdout = process.child().stdout.take().expect("piped");
        let mut stderr = BufReader::new(process.child().stderr.take().expect("piped"));
        let log = watch::Sender::new(String::new());
        let lines = log.clone();
        let reading = tokio::spawn(async move {
            let mut printed = String::new();
            let printing = async { stdout.read_to_string(&mut printed).await.expect("text") };
            let mut line = String::new();
            let logging = async {
                while stderr.read_line(&mut line).await.expect("a log of text") > 0 {
                    lines.send_modify(|log| log.push_str(&line));
                    line.clear();
                }
            };
            tokio::join!(printing, logging);
            assert_eq!(printed, "", "a server logs to standard error, and prints nothing");
        });
        let addr = process.listening().await.unwrap_or_else(|error| panic!("{error}\n{}", *log.borrow()));
        let program = Self { addr, process, log, reading, folder };
        program.wait_for_log("listening", 1).await;
        if !program.log.borrow().contains("tls=true") {
            // It accepts only once everything of its start is done.
            let health = request(addr, Version::Http1, Method::GET, "/healthz", &[], "").await.expect("it serves");
            assert_eq!(health.status(), StatusCode::OK);
        }
        program
    }

    /// The folder that the program was started in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid().expect("it runs")
    }

    /// Waits until the log has this text the given number of times.
    pub(crate) async fn wait_for_log(&self, text: &str, times: usize) {
        let mut log = self.log.subscribe();
        within(DEADLINE, log.wait_for(|log| log.matches(text).count() >= times)).await.expect("the log is read");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("it is a child of this process");
    }

    /// Waits until the program has ended; returns its log too.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let status = within(DEADLINE, self.process.wait()).await.expect("a child");
        within(DEADLINE, self.reading).await.expect("the log is read");
        (status, self.log.borrow().clone())
    }

    /// Stops the program with SIGTERM, which must end it with status 0; returns its log.
    pub(crate) async fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.end().await;
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}
