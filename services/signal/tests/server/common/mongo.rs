//! Real MongoDB servers of a test's own, on ports and in folders that go with them.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use mongodb::{
    Client, Database,
    bson::{Document, doc},
    options::ClientOptions,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time;

/// How long a server may take to start, be elected or copy what another has. That is none of what is tested, and a
/// machine with a busy disk takes its time.
const SET_UP: Duration = Duration::from_secs(60);
/// How often a server is asked whether it is what it has to become. There is no event to wait for.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// The binary: where `MONGOD` says, or where the scripts put it. Without one these tests are skipped, visibly, but never
/// in CI.
fn binary() -> Option<PathBuf> {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/mongod-6.0.5/fiftyone/db/bin/mongod");
    let path = env::var_os("MONGOD").map_or_else(|| PathBuf::from(installed), PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    assert!(env::var_os("CI").is_none(), "no mongod at {}; set MONGOD", path.display());
    eprintln!("skipped: no mongod at {}; set MONGOD", path.display());
    None
}

/// One server. Dropping it ends it and deletes what it has stored.
pub(crate) struct Mongod {
    port: u16,
    command: Command,
    child: Child,
    folder: TempDir,
}

impl Mongod {
    async fn start(binary: &Path, folder: TempDir, flags: &[&str]) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let data = folder.path().join("data");
        fs::create_dir_all(&data).expect("a folder");
        let mut command = Command::new(binary);
        command
            .args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"])
            .args(["--setParameter", "enableTestCommands=1", "--setParameter", "ttlMonitorSleepSecs=1"])
            .args(["--port", &port.to_string(), "--dbpath"])
            .arg(data)
            .arg("--logpath")
            .arg(folder.path().join("log"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("mongod starts");
        let mut mongod = Self { port, command, child, folder };
        mongod.await_listening().await;
        mongod
    }

    /// The driver asks every half second only, so this asks the port itself.
    async fn await_listening(&mut self) {
        let deadline = time::Instant::now() + SET_UP;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && time::Instant::now() < deadline,
                "mongod does not listen: {ended:?}\n{}",
                self.log()
            );
            time::sleep(ASK_AGAIN).await;
        }
    }

    /// The end of what it has logged.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("it has a pid");
        kill_process(pid, signal).expect("it is a child of this process");
    }

    /// Ends it without a chance to say anything, as a power cut does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is a child of this process");
        self.child.wait().expect("a child");
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Starts it again after `kill`, with what it has stored, and waits until it listens.
    pub(crate) async fn restart(&mut self) {
        self.child = self.command.spawn().expect("mongod starts");
        self.await_listening().await;
    }

    /// Stops it from doing anything; its connections stay open.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A connection to just this server.
    pub(crate) async fn client(&self) -> Client {
        let mut options =
            ClientOptions::parse(format!("mongodb://{}/?directConnection=true", self.address())).await.expect("a URL");
        options.server_selection_timeout = Some(SET_UP);
        Client::with_options(options).expect("options")
    }

    /// Runs a command on the database `admin` of this server.
    pub(crate) async fn admin(&self, command: Document) -> Document {
        self.client().await.database("admin").run_command(command).await.expect("the command works")
    }

    /// Waits until this server takes writes.
    pub(crate) async fn await_writable(&self) {
        let client = self.client().await;
        let deadline = time::Instant::now() + SET_UP;
        loop {
            let hello = client.database("admin").run_command(doc! { "hello": 1 }).await;
            if hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                return;
            }
            assert!(time::Instant::now() < deadline, "no writable primary\n{}", self.log());
            time::sleep(ASK_AGAIN).await;
        }
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        // Fails only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an application connects to: one server, or a replica set of several.
pub(crate) struct Mongo {
    pub(crate) nodes: Vec<Mongod>,
    is_set: bool,
}

impl Mongo {
    /// One server on its own.
    pub(crate) async fn standalone() -> Option<Self> {
        Self::standalone_in(tempfile::tempdir().expect("a temporary folder"), &[]).await
    }

    /// One server on its own, in that folder and with these flags.
    pub(crate) async fn standalone_in(folder: TempDir, flags: &[&str]) -> Option<Self> {
        let node = Mongod::start(&binary()?, folder, flags).await;
        node.await_writable().await;
        Some(Self { nodes: vec![node], is_set: false })
    }

    /// A replica set of that many servers, which elects a new primary within a second or two.
    pub(crate) async fn replica_set(size: usize) -> Option<Self> {
        let binary = binary()?;
        let mut nodes = Vec::new();
        for _ in 0..size {
            let folder = tempfile::tempdir().expect("a temporary folder");
            nodes.push(Mongod::start(&binary, folder, &["--replSet", "rooms"]).await);
        }
        let members: Vec<_> =
            nodes.iter().enumerate().map(|(id, node)| doc! { "_id": id as i32, "host": node.address() }).collect();
        let settings = doc! { "electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200 };
        let config = doc! { "_id": "rooms", "members": members, "settings": settings };
        nodes[0].admin(doc! { "replSetInitiate": config }).await;
        nodes[0].await_writable().await;
        let set = Self { nodes, is_set: true };
        // A majority write at once waits until the others have copied everything.
        let client = Client::with_uri_str(set.url("admin")).await.expect("a URL");
        let ready = client.database("ready").collection("ready").insert_one(doc! { "_id": 1 }).await;
        ready.expect("a majority is there");
        Some(set)
    }

    /// The URL of a database, for `--store`.
    pub(crate) fn url(&self, database: &str) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(Mongod::address).collect();
        let options = if self.is_set { "?replicaSet=rooms" } else { "" };
        format!("mongodb://{}/{database}{options}", hosts.join(","))
    }

    /// A database, for looking at what is in it.
    pub(crate) async fn database(&self, name: &str) -> Database {
        Client::with_uri_str(self.url(name)).await.expect("a URL").database(name)
    }

    /// Waits for a primary and says which it is.
    pub(crate) async fn primary(&self) -> usize {
        let deadline = time::Instant::now() + SET_UP;
        let clients = clients_of(&self.nodes).await;
        loop {
            for (index, client) in clients.iter().enumerate() {
                let admin = client.database("admin");
                let hello = time::timeout(Duration::from_millis(500), admin.run_command(doc! { "hello": 1 })).await;
                let hello = hello.ok().and_then(Result::ok);
                if hello.is_some_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return index;
                }
            }
            assert!(time::Instant::now() < deadline, "no primary");
            time::sleep(ASK_AGAIN).await;
        }
    }
}

async fn clients_of(nodes: &[Mongod]) -> Vec<Client> {
    let mut clients = Vec::new();
    for node in nodes {
        clients.push(node.client().await);
    }
    clients
}
