//! The `signalbox` program as a process of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{ExitStatus, Output, Stdio},
};

use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

use super::{
    DEADLINE,
    raw::{Version, request},
    within,
};

/// The program with these flags, in a folder.
pub(crate) fn command(folder: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
    // Settings of whoever runs the tests are not those of the tests.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SIGNALBOX_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).args(flags).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(crate) async fn run(folder: &Path, flags: &[&str]) -> Output {
    within(DEADLINE, command(folder, flags).output()).await.expect("the program starts")
}

/// A program that serves.
pub(crate) struct Program {
    pub(crate) addr: SocketAddr,
    child: Child,
    log: watch::Sender<String>,
    /// Done when the log is whole.
    reading: JoinHandle<()>,
    folder: TempDir,
}

impl Program {
    /// Starts the program and waits until it serves.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let listen = if flags.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let flags = [listen, &["--ready-file", "ready"], flags].concat();
        let mut child = command(folder.path(), &flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut log = String::new();
        let mut addr: SocketAddr = loop {
            let start = log.len();
            let read = within(DEADLINE, stderr.read_line(&mut log)).await.expect("a log");
            assert!(read > 0, "the program ended: {log}");
            if log[start..].contains("listening") {
                // In either form of the log: address=127.0.0.1:1234, "address":"127.0.0.1:1234".
                let words = log[start..].trim_end().split(['=', '"', ' ']);
                break words.filter_map(|word| word.parse().ok()).next_back().expect("it says where it listens");
            }
        };
        if addr.ip().is_unspecified() {
            addr.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let mut stdout = child.stdout.take().expect("piped");
        let is_tls = log.contains("tls=true");
        let log = watch::Sender::new(log);
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
        if !is_tls {
            // It accepts only once everything of its start is done.
            let health = request(addr, Version::Http1, Method::GET, "/healthz", &[], "").await.expect("it serves");
            assert_eq!(health.status(), StatusCode::OK);
        }
        Self { addr, child, log, reading, folder }
    }

    /// The folder that the program was started in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("it runs")
    }

    /// Waits until the log has that for the given time.
    pub(crate) async fn logs(&self, text: &str, times: usize) {
        let mut log = self.log.subscribe();
        within(DEADLINE, log.wait_for(|log| log.matches(text).count() >= times)).await.expect("the log is read");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is a child of this process");
    }

    /// Waits until the program has ended; returns its log too.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let status = within(DEADLINE, self.child.wait()).await.expect("a child");
        within(DEADLINE, self.reading).await.expect("the log is read");
        (status, self.log.borrow().clone())
    }
}
