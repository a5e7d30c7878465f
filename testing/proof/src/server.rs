//! The server under test: a process that is started, paused, killed and started again on the same port.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use signalbox_testkit::{
    proc::resident_kib,
    server_process::{ServerProcess, command},
};
use tempfile::TempDir;
use tokio::{
    process::Command,
    sync::{Mutex, watch},
    time::sleep,
};

use crate::{
    history::What,
    notes::Notes,
    operator::{Operator, figure},
};

/// How long a session may be without a stream.
pub const RESUME_WINDOW: Duration = Duration::from_secs(3);
/// The server's settings: short windows, so that a run sees many of them; a small mailbox, so that it fills; no limit
/// on the rate of signals, which is not what is tested.
const SETTINGS: [&str; 19] = [
    "--resume-window=3s",
    "--heartbeat=1s",
    "--stall-timeout=5s",
    "--drain-timeout=2s",
    "--mailbox-entries=300",
    "--max-signals-per-second=100000",
    "--signal-burst=100000",
    "--max-unacked=256",
    "--max-members=32",
    "--empty-timeout=1m",
    "--join-timeout=5s",
    "--log=warn",
    "--log-format=text",
    "--max-message-bytes=131072",
    "--mailbox-bytes=524288",
    "--max-streams=16",
    "--auto-create=true",
    "--web-dir=/nonexistent",
    // Clients reach it through proxies.
    "--public-name=127.0.0.1:*",
];
/// What may wait for one session with these settings: the mailbox, and what is reserved for joins, updates and leaves.
const MAILBOX_ENTRIES: u64 = 300 + 256;
const MAILBOX_BYTES: u64 = (512 + 256) * 1024;
/// How often its figures are looked at.
const GAUGE_EVERY: Duration = Duration::from_millis(500);

/// A gauge that every run must have.
pub const FULLEST_MAILBOX: &str = "fullest mailbox, entries";

/// The server.
pub struct Server {
    binary: PathBuf,
    folder: TempDir,
    addr: SocketAddr,
    process: Mutex<ServerProcess>,
    pid: watch::Sender<Option<Pid>>,
    notes: Notes,
}

impl Server {
    /// Starts it on a free port.
    pub async fn start(binary: &Path, notes: Notes) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (process, addr) = spawn(binary, folder.path(), "127.0.0.1:0").await?;
        let pid = watch::Sender::new(process.pid().ok());
        Ok(Self { binary: binary.to_owned(), folder, addr, process: Mutex::new(process), pid, notes })
    }

    /// Where it listens, over all restarts.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it in an orderly way or at once, and starts it again. Its sessions are lost.
    pub async fn restart(&self, signal: Signal) -> io::Result<u64> {
        let mut process = self.process.lock().await;
        process.signal(signal)?;
        let status = process.wait().await?;
        self.pid.send_replace(None);
        self.notes.note(What::ServerLost);
        if signal == Signal::TERM && !status.success() {
            return Err(io::Error::other(format!("told to stop, the server ended with {status}")));
        }
        let (started, _) = spawn(&self.binary, self.folder.path(), &self.addr.to_string()).await?;
        self.pid.send_replace(started.pid().ok());
        *process = started;
        Ok(1)
    }

    /// Stops the process for some time, and lets it go on.
    pub async fn pause(&self, time: Duration) -> io::Result<u64> {
        // The lock keeps a restart away meanwhile.
        let process = self.process.lock().await;
        process.signal(Signal::STOP)?;
        sleep(time).await;
        process.signal(Signal::CONT)?;
        Ok(1)
    }

    /// Notes the process's memory and the fullest mailbox from time to time, for ever.
    pub async fn gauge(&self, limit_kib: u64) {
        let note = |name: &str, value, limit| self.notes.note(What::Gauge { name: name.to_owned(), value, limit });
        loop {
            let pid = *self.pid.borrow();
            if let Some(pid) = pid
                && let Ok(value) = resident_kib(pid)
            {
                note("server RSS, KiB", value, limit_kib);
            }
            // Away or paused now and then; that it was never there is seen at the end.
            if let Some(figures) = Operator(self.addr).figures().await {
                for (name, figure_name, limit) in [
                    (FULLEST_MAILBOX, "signalbox_mailbox_high_water_entries", MAILBOX_ENTRIES),
                    ("fullest mailbox, bytes", "signalbox_mailbox_high_water_bytes", MAILBOX_BYTES),
                ] {
                    if let Some(value) = figure(&figures, figure_name) {
                        note(name, value, limit);
                    }
                }
            }
            sleep(GAUGE_EVERY).await;
        }
    }

    /// Ends it for good; an error if it is not there any more or does not end as it should.
    pub async fn stop(&self) -> io::Result<()> {
        let mut process = self.process.lock().await;
        process.signal(Signal::TERM)?;
        let status = process.wait().await?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("the server ended with {status}"))) }
    }

    /// What it logged, its last lines.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// What the program says it is.
pub async fn version(binary: &Path) -> io::Result<String> {
    let said = Command::new(binary).arg("--version").stdin(Stdio::null()).output().await?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

async fn spawn(binary: &Path, folder: &Path, listen: &str) -> io::Result<(ServerProcess, SocketAddr)> {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
    let mut command = command(binary);
    command
        .arg("serve")
        .args(["--listen", listen, "--store"])
        .arg(format!("redb:{}", folder.join("data").display()))
        .args(SETTINGS)
        .stdout(Stdio::null())
        .stderr(log);
    let mut process = ServerProcess::spawn(command, &folder.join("ready"))?;
    match process.listening().await {
        Ok(addr) => Ok((process, addr)),
        Err(error) => {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            Err(io::Error::other(format!("{error}\n{log}")))
        }
    }
}
