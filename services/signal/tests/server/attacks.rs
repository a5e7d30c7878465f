//! Hostile connections to a server process: each is closed or harmless, takes little memory, and does not disturb honest
//! members on other connections.

mod addresses;
mod files;
mod floods;
mod memory;
mod resets;
mod silence;
mod wire;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::process::Pid;
use signalbox_client::{
    Client, Event, Outcome, Signal,
    v1::{Data, Join, client_message::Body as ClientBody},
};
use signalbox_testkit::proc::resident_kib;
use tokio::{sync::watch, task::JoinHandle, time};

use crate::common::{DEADLINE, program::Program, within};

/// Memory in KiB that an attack may cost the server, however many connections it has.
const MAX_GROWTH: u64 = 8 * 1024;
/// Time between two measurements of its memory.
const INTERVAL: Duration = Duration::from_millis(20);
/// Signals that honest members exchange after an attack.
const MORE: u64 = 20;
/// Time between signals of honest members, which stay below the rate limit.
const PACE: Duration = Duration::from_millis(25);

/// Attacks a server with these flags while two honest members exchange signals; returns its log.
async fn attack(flags: &[&str], attack: impl AsyncFnOnce(&Program)) -> String {
    let program = Program::start(flags).await;
    let client = Client::new(&format!("http://{}", program.addr)).unwrap();
    // What the first connection allocates for good is no growth.
    wire::H2::connect(program.addr).await.call_health(1).await;
    survive(program, &client, attack).await
}

/// The same for a server that speaks TLS.
async fn attack_over_tls(flags: &[&str], attack: impl AsyncFnOnce(&Program)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("redb:{}", folder.path().display());
    let program = Program::start(&[&["--tls-self-signed", "--store", &store], flags].concat()).await;
    let pem = fs::read_to_string(folder.path().join("tls-self-signed.pem")).unwrap();
    let client = Client::with_roots(&format!("https://{}", program.addr), &pem).unwrap();
    survive(program, &client, attack).await
}

async fn survive(program: Program, client: &Client, attack: impl AsyncFnOnce(&Program)) -> String {
    let mut pair = Pair::start(client).await;
    pair.exchanges(MORE).await;
    let memory = Memory::watch(program.pid());

    attack(&program).await;

    // By then the server has freed what it frees.
    pair.exchanges(MORE).await;
    let (before, peak) = memory.stop().await;
    pair.stop().await;
    let log = program.stop().await;
    assert!(!log.contains("panicked"), "{log}");
    eprintln!("memory: {before} KiB before, {peak} KiB at the peak");
    assert!(peak <= before + MAX_GROWTH, "it took {} KiB", peak - before);
    log
}

/// Two honest members, on connections of their own.
struct Pair {
    exchanged: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Pair {
    async fn start(client: &Client) -> Self {
        let join = || Join { room: "honest".to_owned(), ..Join::default() };
        let mut ann = within(DEADLINE, client.join(join())).await.unwrap();
        let mut ben = within(DEADLINE, client.join(join())).await.unwrap();
        let joined = within(DEADLINE, ann.next()).await;
        assert!(matches!(joined, Some(Event::MemberJoined(_))), "{joined:?}");
        let (count, exchanged) = watch::channel(0);
        let task = tokio::spawn(async move {
            for seq in 1.. {
                for _ in 0..2 {
                    let data = Data { text: format!("{seq}"), ..Data::default() };
                    let receipt = ann.send(Signal::data(ben.member_id(), data.clone())).await;
                    // Once, in order, and without a lost connection.
                    match within(DEADLINE, ben.next()).await {
                        Some(Event::Signal(received)) => assert_eq!(received.body, ClientBody::Data(data)),
                        event => panic!("{event:?} instead of {data:?}"),
                    }
                    assert_eq!(within(DEADLINE, receipt.outcome()).await, Outcome::Accepted);
                    std::mem::swap(&mut ann, &mut ben);
                }
                if count.send(seq).is_err() {
                    return;
                }
                time::sleep(PACE).await;
            }
        });
        Self { exchanged, task }
    }

    /// Waits until they have exchanged this many more.
    async fn exchanges(&mut self, more: u64) {
        let goal = *self.exchanged.borrow() + more;
        let reached = within(DEADLINE, self.exchanged.wait_for(|count| *count >= goal)).await;
        assert!(reached.is_ok(), "honest members lost something");
    }

    async fn stop(self) {
        eprintln!("{} signals each way meanwhile", *self.exchanged.borrow());
        drop(self.exchanged);
        self.task.await.expect("honest members lost nothing");
    }
}

/// The peak memory of a process.
struct Memory {
    before: u64,
    stop: Arc<AtomicBool>,
    peak: JoinHandle<u64>,
}

impl Memory {
    fn watch(pid: Pid) -> Self {
        let before = resident_kib(pid).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let peak = tokio::spawn(async move {
            let mut peak = before;
            while !stopped.load(Ordering::Relaxed) {
                peak = peak.max(resident_kib(pid).unwrap());
                time::sleep(INTERVAL).await;
            }
            peak
        });
        Self { before, stop, peak }
    }

    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        (self.before, self.peak.await.unwrap())
    }
}
