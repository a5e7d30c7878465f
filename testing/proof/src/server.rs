//! The server under test: a process that is started, paused, killed and restarted on the same port.

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
    history::Event,
    operator::{Operator, metric},
    recorder::Recorder,
};

/// How long a session may be without a stream.
pub const RESUME_WINDOW: Duration = Duration::from_secs(3);
/// Settings of the server: short windows, so that a run has many of them; a small mailbox, so that it fills; no rate
/// limit of signals, which is not tested.
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
/// Limits of the mailbox with these settings, with the reserve for joins, updates and leaves.
const MAILBOX_ENTRIES: u64 = 300 + 256;
const MAILBOX_BYTES: u64 = (512 + 256) * 1024;
/// Time between two readings of its metrics.
const GAUGE_INTERVAL: Duration = Duration::from_millis(500);

/// The name of a gauge that every run must have.
pub const FULLEST_MAILBOX: &str = "fullest mailbox, entries";

/// The server.
pub struct Server {
    binary: PathBuf,
    folder: TempDir,
    addr: SocketAddr,
    process: Mutex<ServerProcess>,
    pid: watch::Sender<Option<Pid>>,
    recorder: Recorder,
}

impl Server {
    /// Starts it on a free port.
    pub async fn start(binary: &Path, recorder: Recorder) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (process, addr) = spawn(binary, folder.path(), "127.0.0.1:0").await?;
        let pid = watch::Sender::new(process.pid().ok());
        Ok(Self { binary: binary.to_owned(), folder, addr, process: Mutex::new(process), pid, recorder })
    }

    /// Its address, which is the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it with SIGTERM or SIGKILL, and starts it again. Its sessions are lost.
    pub async fn restart(&self, signal: Signal) -> io::Result<u64> {
        let mut process = self.process.lock().await;
        process.signal(signal)?;
        let status = process.wait().await?;
        self.pid.send_replace(None);
        self.recorder.record(Event::ServerLost);
        if signal == Signal::TERM && !status.success() {
            return Err(io::Error::other(format!("after SIGTERM the server ended with {status}")));
        }
        let (started, _) = spawn(&self.binary, self.folder.path(), &self.addr.to_string()).await?;
        self.pid.send_replace(started.pid().ok());
        *process = started;
        Ok(1)
    }

    /// Pauses the process for some time.
    pub async fn pause(&self, time: Duration) -> io::Result<u64> {
        // The lock prevents a restart.
        let process = self.process.lock().await;
        process.signal(Signal::STOP)?;
        sleep(time).await;
        process.signal(Signal::CONT)?;
        Ok(1)
    }

    /// Records the memory of the process and the fullest mailbox at intervals, forever.
    pub async fn gauge(&self, limit_kib: u64) {
        let record =
            |name: &str, value, limit| self.recorder.record(Event::Gauge { name: name.to_owned(), value, limit });
        loop {
            let pid = *self.pid.borrow();
            if let Some(pid) = pid
                && let Ok(value) = resident_kib(pid)
            {
                record("server RSS, KiB", value, limit_kib);
            }
            // At times the server is down or paused. The end of a run checks that there were metrics.
            if let Some(metrics) = Operator(self.addr).metrics().await {
                for (name, metric_name, limit) in [
                    (FULLEST_MAILBOX, "signalbox_mailbox_high_water_entries", MAILBOX_ENTRIES),
                    ("fullest mailbox, bytes", "signalbox_mailbox_high_water_bytes", MAILBOX_BYTES),
                ] {
                    if let Some(value) = metric(&metrics, metric_name) {
                        record(name, value, limit);
                    }
                }
            }
            sleep(GAUGE_INTERVAL).await;
        }
    }

    /// Stops it with SIGTERM. An error if it has ended before, or ends with a failure.
    pub async fn stop(&self) -> io::Result<()> {
        let mut process = self.process.lock().await;
        process.signal(Signal::TERM)?;
        let status = process.wait().await?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("the server ended with {status}"))) }
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// The version of the program.
pub async fn version(binary: &Path) -> io::Result<String> {
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
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
