//! The server that is measured: a process of its own.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::Result;

/// What most runs need: rooms, connections and rates that are not limited to what one caller of the public may do.
const SETTINGS: [&str; 6] = [
    "--max-members=100000",
    "--max-room-members=100000",
    "--max-streams=4096",
    "--max-signals-per-second=1000000",
    "--signal-burst=1000000",
    // Databases are taken away from it on purpose.
    "--log=error",
];
/// How long it may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Clock ticks of Linux in `/proc`, whatever the kernel's own are.
const TICKS_PER_SECOND: u64 = 100;

/// The server.
pub(crate) struct Server {
    addr: SocketAddr,
    child: Child,
    pid: u32,
    _folder: TempDir,
}

impl Server {
    /// Starts it on a free port, with the embedded store.
    pub(crate) async fn start(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = format!("redb:{}", folder.path().join("data").display());
        Self::start_in(binary, folder, &store, &SETTINGS).await
    }

    /// Starts it on a free port with the limits that it has for the public.
    pub(crate) async fn start_as_it_is(binary: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = format!("redb:{}", folder.path().join("data").display());
        Self::start_in(binary, folder, &store, &["--log=warn"]).await
    }

    /// Starts it on a free port, with that store.
    pub(crate) async fn start_on(binary: &Path, store: &str) -> Result<Self> {
        Self::start_in(binary, tempfile::tempdir()?, store, &SETTINGS).await
    }

    async fn start_in(binary: &Path, folder: TempDir, store: &str, settings: &[&str]) -> Result<Self> {
        let ready = folder.path().join("ready");
        let mut child = Command::new(binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--web-dir=/nonexistent", "--store", store])
            .arg("--ready-file")
            .arg(&ready)
            .args(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} could not be started: {error}", binary.display()))?;
        let pid = child.id().ok_or("the server ended at once")?;
        let deadline = Instant::now() + START_TIMEOUT;
        let addr = loop {
            if let Ok(text) = fs::read_to_string(&ready) {
                break text.trim().parse()?;
            }
            if let Some(status) = child.try_wait()? {
                return Err(format!("the server did not start: {status}").into());
            }
            if Instant::now() > deadline {
                return Err("the server did not start in time".into());
            }
            // The file is the only sign of it.
            sleep(Duration::from_millis(20)).await;
        };
        Ok(Self { addr, child, pid, _folder: folder })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Its memory now, in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most memory it had since `forget_peak`, in KiB.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Measures the peak anew from here.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.pid), "5")?)
    }

    /// What it has used of all cores, in user and system mode.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_of(&self.pid.to_string())
    }

    /// Ends it. It must have run until now.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(format!("the server ended by itself: {status}").into());
        }
        Ok(self.child.kill().await?)
    }

    fn status(&self, field: &str) -> Result<u64> {
        let status = read(&self.pid.to_string(), "status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let value = line.and_then(|line| line.split_whitespace().next());
        Ok(value.ok_or_else(|| format!("/proc/PID/status has no {field}"))?.parse()?)
    }
}

/// What this process has used of all cores.
pub(crate) fn own_cpu() -> Result<Duration> {
    cpu_of("self")
}

fn cpu_of(process: &str) -> Result<Duration> {
    let stat = read(process, "stat")?;
    // The name of the program, in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name in it")?;
    let mut ticks: u64 = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn read(process: &str, file: &str) -> Result<String> {
    let path = format!("/proc/{process}/{file}");
    Ok(fs::read_to_string(&path).map_err(|error| format!("{path}: {error} (measuring needs Linux)"))?)
}

/// What this machine is.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<_> = info.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split_once(": ")).map_or("unknown processor", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("machine: {} cores, {model}, Linux {}, load {load} before the start", models.len(), kernel.trim())
}
