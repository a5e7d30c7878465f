//! The process of the measured server.

use std::{fs, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, getpid};
use signalbox_testkit::{
    proc,
    server_process::{ServerProcess, command},
};
use tempfile::TempDir;

use crate::Result;

/// Settings of most runs: limits of rooms, connections and rates beyond those for a single caller.
const SETTINGS: [&str; 7] = [
    "--max-members=100000",
    "--max-room-members=100000",
    "--max-streams=4096",
    "--max-sessions-per-connection=4096",
    "--max-signals-per-second=1000000",
    "--signal-burst=1000000",
    // Unavailable databases are part of a benchmark.
    "--log=error",
];
/// The server.
pub(crate) struct Server {
    addr: SocketAddr,
    process: ServerProcess,
    pid: Pid,
    _folder: TempDir,
}

impl Server {
    /// Starts it on a free port, with the embedded store.
    pub(crate) async fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = format!("redb:{}", folder.path().join("data").display());
        Self::start_in(binary, folder, &store, &SETTINGS).await
    }

    /// Starts it on a free port, with its default limits.
    pub(crate) async fn start_with_defaults(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = format!("redb:{}", folder.path().join("data").display());
        Self::start_in(binary, folder, &store, &["--log=warn"]).await
    }

    /// Starts it on a free port, with that store.
    pub(crate) async fn start_on(binary: &Path, store: &str) -> Result<Self> {
        Self::start_in(binary, tempfile::tempdir()?, store, &SETTINGS).await
    }

    async fn start_in(binary: &Path, folder: TempDir, store: &str, settings: &[&str]) -> Result<Self> {
        let mut command = command(binary);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--web-dir=/nonexistent", "--store", store])
            .args(settings)
            .stdout(Stdio::null());
        let mut process = ServerProcess::spawn(command, &folder.path().join("ready"))?;
        let addr = process.listening().await?;
        Ok(Self { addr, pid: process.pid()?, process, _folder: folder })
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Its memory now, in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        Ok(proc::resident_kib(self.pid)?)
    }

    /// The most memory it had since `reset_peak`, in KiB.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        Ok(proc::peak_resident_kib(self.pid)?)
    }

    /// Starts the measurement of the peak again.
    pub(crate) fn reset_peak(&self) -> Result<()> {
        Ok(proc::reset_peak(self.pid)?)
    }

    /// CPU time that it has used.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        Ok(proc::cpu_time(self.pid)?)
    }

    /// Kills it. It must have run until now.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let child = self.process.child();
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server ended by itself: {status}").into());
        }
        Ok(child.kill().await?)
    }
}

/// CPU time that this process has used.
pub(crate) fn own_cpu() -> Result<Duration> {
    Ok(proc::cpu_time(getpid())?)
}

/// A description of this machine.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<_> = info.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split_once(": ")).map_or("unknown processor", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("machine: {} cores, {model}, Linux {}, load {load} before the start", models.len(), kernel.trim())
}
