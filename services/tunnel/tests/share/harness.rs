//! Runs a real bore server and a share as processes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// Deadline for a state to be printed.
pub(crate) const SHOWN: Duration = Duration::from_secs(10);
/// Deadline for a share to recover after the cause of an outage is gone.
pub(crate) const BACK: Duration = Duration::from_secs(20);
/// Deadline for everything else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    timeout(limit, future).await.unwrap_or_else(|_| panic!("timed out after {limit:?}"))
}

/// Polls a condition until it holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The paths of bore and of the server. If one is missing, the test is skipped with a message, and fails in CI.
pub(crate) fn binaries() -> Option<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bore = env::var_os("BORE").map_or_else(|| root.join(".cache/bore-0.6.0/bin/bore"), PathBuf::from);
    let built = Path::new(env!("CARGO_BIN_EXE_signalbox-tunnel")).with_file_name("signalbox");
    let signalbox = if built.is_file() { built } else { root.join("target/release/signalbox") };
    for (path, hint) in [(&bore, "set BORE to its path"), (&signalbox, "build it first")] {
        if !path.is_file() {
            assert!(env::var_os("CI").is_none(), "{} not found: {hint}", path.display());
            eprintln!("skipped: {} not found: {hint}", path.display());
            return None;
        }
    }
    Some((bore, signalbox))
}

fn pid(child: &Child) -> Pid {
    child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("the process is running")
}

/// A real bore server.
pub(crate) struct Bore {
    child: Child,
}

impl Bore {
    /// Starts a server with two public ports.
    pub(crate) async fn start(ip: &str, secret: Option<&str>) -> Self {
        let (bore, _) = binaries().expect("the test has checked this");
        let mut command = Command::new(bore);
        command.args(["server", "--bind-addr", ip, "--min-port", "20000", "--max-port", "20001"]);
        command.env("NO_COLOR", "1").env("RUST_LOG", "info").env_remove("BORE_SECRET");
        command.envs(secret.map(|secret| ("BORE_SECRET", secret)));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("bore starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within(DEADLINE, lines.next_line()).await.unwrap().expect("bore prints that it listens");
        assert!(line.contains("server listening"), "{line}");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child }
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }
}

/// A share, started as scripts/share.sh does it.
pub(crate) struct Share {
    child: Child,
    output: watch::Receiver<String>,
    /// How much of the output `wait_for` has consumed.
    read: usize,
    folder: TempDir,
}

/// The parts of a visitor's link.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) origin: String,
    pub(crate) authority: String,
    pub(crate) room: String,
    pub(crate) token: String,
}

/// A command that shares a new server, with `folder` as its working directory.
pub(crate) fn share_command(program: &Path, folder: &Path, ip: &str, flags: &[&str]) -> Command {
    let (_, signalbox) = binaries().expect("the test has checked this");
    let mut command = Command::new(program);
    if program == Path::new("unshare") {
        command.args(flags).arg(env!("CARGO_BIN_EXE_signalbox-tunnel"));
    }
    command.args(["share", "--to", ip, "--stun", "none"]);
    if program != Path::new("unshare") {
        command.args(flags);
    }
    command.args(["--signalbox".as_ref(), signalbox.as_os_str()]);
    // The tests must not depend on the developer's settings.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SIGNALBOX_")) {
        command.env_remove(name);
    }
    let temporary = folder.join("temporary");
    fs::create_dir_all(&temporary).unwrap();
    command.env_remove("BORE_SECRET").env("TMPDIR", temporary).current_dir(folder).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

impl Share {
    pub(crate) async fn start(ip: &str, flags: &[&str]) -> Self {
        Self::start_with(ip, flags, None).await
    }

    pub(crate) async fn start_with(ip: &str, flags: &[&str], secret: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = share_command(env!("CARGO_BIN_EXE_signalbox-tunnel").as_ref(), folder.path(), ip, flags);
        command.envs(secret.map(|secret| ("BORE_SECRET", secret)));
        Self::spawn(command, folder)
    }

    pub(crate) fn spawn(mut command: Command, folder: TempDir) -> Self {
        let mut child = command.spawn().expect("the share starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (writer, output) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("{line}");
                writer.send_modify(|output| {
                    output.push_str(&line);
                    output.push('\n');
                });
            }
        });
        Self { child, output, read: 0, folder }
    }

    /// Waits until it prints a text, after the one of the previous call. Returns the line.
    pub(crate) async fn wait_for(&mut self, limit: Duration, text: &str) -> String {
        let read = self.read;
        let waiting = self.output.wait_for(|output| output[read..].contains(text));
        let output = timeout(limit, waiting).await.unwrap_or_else(|_| panic!("not printed within {limit:?}: {text}"));
        let output = output.expect("the share is still running").clone();
        let at = read + output[read..].find(text).unwrap();
        let start = output[..at].rfind('\n').map_or(0, |at| at + 1);
        let end = at + output[at..].find('\n').unwrap();
        self.read = end;
        output[start..end].to_owned()
    }

    /// Whether it has printed a text so far.
    pub(crate) fn has_printed(&self, text: &str) -> bool {
        self.output.borrow().contains(text)
    }

    /// Waits until it is online, and returns the link.
    pub(crate) async fn link(&mut self) -> Link {
        let line = self.wait_for(BACK, "Visitors open").await;
        let url = line.split_whitespace().next_back().unwrap();
        let (origin, rest) = url.split_once("/?room=").unwrap();
        let (room, token) = rest.split_once("#token=").unwrap();
        Link {
            origin: origin.to_owned(),
            authority: origin.split_once("://").unwrap().1.to_owned(),
            room: room.to_owned(),
            token: token.to_owned(),
        }
    }

    /// The process id of the share itself.
    pub(crate) fn pid(&self) -> Pid {
        pid(&self.child)
    }

    /// The share and its descendants: the watchdog and the server.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mut found = vec![self.pid()];
        let mut next = 0;
        while next < found.len() {
            let parent = found[next].as_raw_nonzero().get();
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            // Children are listed under the thread that started them.
            let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
            let of_tasks = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
            let all = of_tasks.collect::<Vec<_>>().join(" ") + &children;
            for child in all.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)) {
                if !found.contains(&child) {
                    found.push(child);
                }
            }
            next += 1;
        }
        found
    }

    /// The server, which is the last of the chain.
    pub(crate) fn server(&self) -> Pid {
        let processes = self.processes();
        assert_eq!(processes.len(), 3, "the share, the watchdog, the server");
        processes[2]
    }

    /// The secret that signs its server's tokens. Only this user on this machine can read it.
    pub(crate) fn secret(&self) -> String {
        let server = self.server().as_raw_nonzero();
        let environment = fs::read_to_string(format!("/proc/{server}/environ")).unwrap();
        let secret = environment.split('\0').find_map(|entry| entry.strip_prefix("SIGNALBOX_JWT_SECRET="));
        secret.expect("the server has a secret").to_owned()
    }

    /// Its folder for temporary files.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder.path().join("temporary")
    }

    pub(crate) async fn exit_status(&mut self) -> ExitStatus {
        within(DEADLINE, self.child.wait()).await.unwrap()
    }
}

/// An admin token for all rooms.
pub(crate) async fn admin_token(secret: &str) -> String {
    let (_, signalbox) = binaries().expect("the test has checked this");
    let mut command = Command::new(signalbox);
    command.args(["token", "--room", "*", "--identity", "operator", "--admin"]).env("SIGNALBOX_JWT_SECRET", secret);
    let output = within(DEADLINE, command.output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether the address accepts connections.
pub(crate) async fn is_open(authority: &str) -> bool {
    TcpStream::connect(authority).await.is_ok()
}
