//! Real MongoDB servers, each on a free port and in a temporary folder.

use std::{
    fs,
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
use signalbox_testkit::{
    eventually,
    skip::{Missing, program},
};
use tempfile::TempDir;
use tokio::time;

/// How long a server may take to start, be elected or copy what another has. That is not what is tested, and takes long
/// on a machine with a busy disk.
const SET_UP: Duration = Duration::from_secs(60);

/// The program: where `MONGOD` says, or where the scripts put it.
fn binary() -> Result<PathBuf, Missing> {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/mongod-6.0.5/fiftyone/db/bin/mongod");
    program("MONGOD", installed)
}

/// One server. Dropping it kills it and deletes its files.
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

    /// The driver polls only every half second, so this polls the port itself.
    async fn await_listening(&mut self) {
        let port = self.port;
        let listening = eventually(SET_UP, "mongod listens", async || {
            let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            let ended = self.child.try_wait().expect("a child");
            if connected { Some(Ok(())) } else { ended.map(Err) }
        });
        if let Err(status) = listening.await {
            panic!("mongod ended with {status}\n{}", self.log());
        }
    }

    /// The last lines of its log.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("it has a pid");
        kill_process(pid, signal).expect("it is a child of this process");
    }

    /// Kills it with SIGKILL, like a power cut.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is a child of this process");
        self.child.wait().expect("a child");
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Starts it again on the same files, and waits until it listens.
    pub(crate) async fn restart(&mut self) {
        self.child = self.command.spawn().expect("mongod starts");
        self.await_listening().await;
    }

    /// Suspends the process; its connections stay open.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues the process.
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
        eventually(SET_UP, "a writable primary", async || is_primary(&client).await.then_some(())).await;
    }
}

async fn is_primary(client: &Client) -> bool {
    let admin = client.database("admin");
    // A server that hangs is none.
    let hello = time::timeout(Duration::from_millis(500), admin.run_command(doc! { "hello": 1 })).await;
    let hello = hello.ok().and_then(Result::ok);
    hello.is_some_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
}

impl Drop for Mongod {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One server, or a replica set.
pub(crate) struct Mongo {
    pub(crate) nodes: Vec<Mongod>,
    is_set: bool,
}

impl Mongo {
    /// One server on its own.
    pub(crate) async fn standalone() -> Result<Self, Missing> {
        Self::standalone_in(tempfile::tempdir().expect("a temporary folder"), &[]).await
    }

    /// One server on its own, in that folder and with these flags.
    pub(crate) async fn standalone_in(folder: TempDir, flags: &[&str]) -> Result<Self, Missing> {
        let node = Mongod::start(&binary()?, folder, flags).await;
        node.await_writable().await;
        Ok(Self { nodes: vec![node], is_set: false })
    }

    /// A replica set of that many servers, which elects a new primary within a second or two.
    pub(crate) async fn replica_set(size: usize) -> Result<Self, Missing> {
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
        // A majority write waits until the others have copied everything.
        let client = Client::with_uri_str(set.url("admin")).await.expect("a URL");
        let ready = client.database("ready").collection("ready").insert_one(doc! { "_id": 1 }).await;
        ready.expect("a majority is there");
        Ok(set)
    }

    /// The URL of a database, for `--store`.
    pub(crate) fn url(&self, database: &str) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(Mongod::address).collect();
        let options = if self.is_set { "?replicaSet=rooms" } else { "" };
        format!("mongodb://{}/{database}{options}", hosts.join(","))
    }

    /// A database, for inspection.
    pub(crate) async fn database(&self, name: &str) -> Database {
        Client::with_uri_str(self.url(name)).await.expect("a URL").database(name)
    }

    /// Waits for a primary and returns its index.
    pub(crate) async fn primary(&self) -> usize {
        let mut clients = Vec::new();
        for node in &self.nodes {
            clients.push(node.client().await);
        }
        eventually(SET_UP, "a primary", async || {
            for (index, client) in clients.iter().enumerate() {
                if is_primary(client).await {
                    return Some(index);
                }
            }
            None
        })
        .await
    }
}
