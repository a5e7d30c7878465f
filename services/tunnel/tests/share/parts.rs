//! The real parts: a bore server, and a share.

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

/// How soon a state must be shown.
pub(crate) const SHOWN: Duration = Duration::from_secs(10);
/// How soon a share must be back after the cause is gone.
pub(crate) const BACK: Duration = Duration::from_secs(20);
/// How long anything else that must come may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> T {
    timeout(limit, what).await.unwrap_or_else(|_| panic!("nothing came within {limit:?}"))
}

/// Asks again and again until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Real bore and real Signalbox. Without them these tests are skipped, visibly, but never in CI.
pub(crate) fn binaries() -> Option<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bore = env::var_os("BORE").map_or_else(|| root.join(".cache/bore-0.6.0/bin/bore"), PathBuf::from);
    let built = Path::new(env!("CARGO_BIN_EXE_signalbox-tunnel")).with_file_name("signalbox");
    let signalbox = if built.is_file() { built } else { root.join("target/release/signalbox") };
    for (path, variable) in [(&bore, "set BORE"), (&signalbox, "build it first")] {
        if !path.is_file() {
            assert!(env::var_os("CI").is_none(), "{} is not there; {variable}", path.display());
            eprintln!("skipped: {} is not there; {variable}", path.display());
            return None;
        }
    }
    Some((bore, signalbox))
}

fn pid(child: &Child) -> Pid {
    child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("it runs")
}

/// A real bore server.
pub(crate) struct Bore {
    child: Child,
}

impl Bore {
    /// Starts one that gives out two ports.
    pub(crate) async fn start(ip: &str, secret: Option<&str>) -> Self {
        let (bore, _) = binaries().expect("it was looked for");
        let mut command = Command::new(bore);
        command.args(["server", "--bind-addr", ip, "--min-port", "20000", "--max-port", "20001"]);
        command.env("NO_COLOR", "1").env("RUST_LOG", "info").env_remove("BORE_SECRET");
        command.envs(secret.map(|secret| ("BORE_SECRET", secret)));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("bore starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within(DEADLINE, lines.next_line()).await.unwrap().expect("it says that it listens");
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

/// A share, started as the script does it.
pub(crate) struct Share {
    child: Child,
    output: watch::Receiver<String>,
    /// How much of the output has been looked at.
    read: usize,
    folder: TempDir,
}

/// What a visitor gets.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) origin: String,
    pub(crate) authority: String,
    pub(crate) room: String,
    pub(crate) token: String,
}

/// The program that shares, in a folder, with a server to start.
pub(crate) fn share_command(program: &Path, folder: &Path, ip: &str, flags: &[&str]) -> Command {
    let (_, signalbox) = binaries().expect("it was looked for");
    let mut command = Command::new(program);
    if program == Path::new("unshare") {
        command.args(flags).arg(env!("CARGO_BIN_EXE_signalbox-tunnel"));
    }
    command.args(["share", "--to", ip, "--stun", "none"]);
    if program != Path::new("unshare") {
        command.args(flags);
    }
    command.args(["--signalbox".as_ref(), signalbox.as_os_str()]);
    // Settings of whoever runs the tests are not those of the tests.
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
        let mut child = command.spawn().expect("the program starts");
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

    /// Waits until it says that, after what it was last waited for. Returns the line.
    pub(crate) async fn says(&mut self, limit: Duration, text: &str) -> String {
        let read = self.read;
        let waiting = self.output.wait_for(|output| output[read..].contains(text));
        let output = timeout(limit, waiting).await.unwrap_or_else(|_| panic!("not said within {limit:?}: {text}"));
        let output = output.expect("it is still running").clone();
        let at = read + output[read..].find(text).unwrap();
        let start = output[..at].rfind('\n').map_or(0, |at| at + 1);
        let end = at + output[at..].find('\n').unwrap();
        self.read = end;
        output[start..end].to_owned()
    }

    /// Whether it has said that up to now.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        self.output.borrow().contains(text)
    }

    /// Waits until it is online, and takes the link.
    pub(crate) async fn link(&mut self) -> Link {
        let line = self.says(BACK, "Visitors open").await;
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

    /// Itself.
    pub(crate) fn pid(&self) -> Pid {
        pid(&self.child)
    }

    /// All processes below it: the guard and the server.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mut found = vec![self.pid()];
        let mut next = 0;
        while next < found.len() {
            let parent = found[next].as_raw_nonzero().get();
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            // Started by another thread of the parent, they stand there.
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

    /// The server's own process: the last of the chain.
    pub(crate) fn server(&self) -> Pid {
        let processes = self.processes();
        assert_eq!(processes.len(), 3, "itself, the guard, the server");
        processes[2]
    }

    /// The secret that its server takes tokens of: only who is this user, on this machine, can know it.
    pub(crate) fn secret(&self) -> String {
        let server = self.server().as_raw_nonzero();
        let environment = fs::read_to_string(format!("/proc/{server}/environ")).unwrap();
        let secret = environment.split('\0').find_map(|entry| entry.strip_prefix("SIGNALBOX_JWT_SECRET="));
        secret.expect("it has one").to_owned()
    }

    /// Where it keeps what goes with it.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.folder.path().join("temporary")
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within(DEADLINE, self.child.wait()).await.unwrap()
    }
}

/// A token that opens Rooms, for every room.
pub(crate) async fn admin_token(secret: &str) -> String {
    let (_, signalbox) = binaries().expect("it was looked for");
    let mut command = Command::new(signalbox);
    command.args(["token", "--room", "*", "--identity", "operator", "--admin"]).env("SIGNALBOX_JWT_SECRET", secret);
    let made = within(DEADLINE, command.output()).await.unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// Whether somebody takes connections there.
pub(crate) async fn is_open(authority: &str) -> bool {
    TcpStream::connect(authority).await.is_ok()
}
