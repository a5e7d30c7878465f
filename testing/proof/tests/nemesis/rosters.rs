//! Random schedules of joins, leaves and bursts around an observer whose connection breaks and stalls. At the end its
//! roster, from `Welcome`, `Resumed` and later messages, has exactly the remaining members.
//!
//! `SIGNALBOX_ROSTER_SEEDS=100` runs fewer schedules, `SIGNALBOX_ROSTER_SEED=7` replays one.

use std::{collections::BTreeSet, env, net::SocketAddr, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use signalbox_client::{Client, Event, Session, Signal};
use signalbox_proof::{
    checker::Bounds,
    proxy::{Mode, Proxy, Way},
    recorder::Writer,
    server::Server,
};
use signalbox_proto::v1::{Data, Join, Member, Welcome};
use signalbox_testkit::require;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::transport::Endpoint;

/// Concurrent schedules.
const AT_ONCE: usize = 40;
/// The HTTP/2 window, so small that messages wait in the mailbox.
const WINDOW: u32 = 64 * 1024;
/// How long a roster may take to be correct after the last fault.
const SETTLE: Duration = Duration::from_secs(20);

/// The own id and the roster of the observer.
type Known = (String, BTreeSet<String>);

fn client(addr: SocketAddr) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
    Client::with_endpoint(endpoint.initial_stream_window_size(WINDOW))
}

async fn join(addr: SocketAddr, room: &str) -> Session {
    let join = Join { room: room.to_owned(), ..Join::default() };
    timeout(SETTLE, client(addr).join(join)).await.expect("in time").expect("joined")
}

fn ids(members: &[Member]) -> BTreeSet<String> {
    members.iter().map(|member| member.member_id.clone()).collect()
}

fn known(welcome: &Welcome) -> Known {
    (welcome.you.clone().expect("a member").member_id, ids(&welcome.members))
}

/// Keeps a roster like an application.
async fn observe(mut session: Session, known_to: watch::Sender<Known>) {
    while let Some(event) = session.next().await {
        known_to.send_modify(|(own, roster)| match event {
            Event::MemberJoined(member) | Event::MemberUpdated(member) => _ = roster.insert(member.member_id),
            Event::MemberLeft(left) => _ = roster.remove(&left.member_id),
            Event::Resumed(members) => *roster = ids(&members),
            Event::Rejoined(welcome) => (*own, *roster) = known(&welcome),
            Event::Signal(_) | Event::IceServers(_) | Event::Suspended => {}
            Event::Ended(error) => panic!("the observer's session ended: {error}"),
        });
    }
}

async fn schedule(server: SocketAddr, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let room = format!("roster-{seed}");
    let proxy = Proxy::start(server).await.expect("a proxy");
    let session = join(proxy.addr(), &room).await;
    let (known_to, mut knows) = watch::channel(known(&session.welcome()));
    let mut tasks = JoinSet::new();
    tasks.spawn(observe(session, known_to));
    let mut sender_session = join(server, &room).await;
    let (sender, sender_id) = (sender_session.sender(), sender_session.member_id());
    tasks.spawn(async move { while sender_session.next().await.is_some() {} });

    let mut visitors = Vec::new();
    for _ in 0..rng.random_range(8..20) {
        match rng.random_range(0..12) {
            0..3 => visitors.push(join(server, &room).await),
            3..6 if !visitors.is_empty() => {
                let visitor: Session = visitors.swap_remove(rng.random_range(0..visitors.len()));
                visitor.leave().await;
            }
            6..8 => _ = proxy.reset(),
            8 => {
                let late = Duration::from_millis(rng.random_range(0..200));
                proxy.delay_new_connections(late);
            }
            9 => {
                let time = Duration::from_millis(rng.random_range(10..150));
                proxy.apply(Way::Down, Mode::Hold, time).await;
            }
            _ => {
                let to = knows.borrow().0.clone();
                for _ in 0..rng.random_range(4..16) {
                    let data = Data { text: "x".repeat(16 * 1024), ..Data::default() };
                    drop(sender.send(Signal::data(to.clone(), data)).await);
                }
            }
        }
        // The pace of the schedule.
        sleep(Duration::from_millis(rng.random_range(0..60))).await;
    }
    proxy.heal();
    // The last join, which the observer receives last.
    let witness = join(server, &room).await;
    let members: BTreeSet<_> = visitors.iter().chain([&witness]).map(Session::member_id).chain([sender_id]).collect();
    let agreed = timeout(SETTLE, knows.wait_for(|(_, roster)| *roster == members)).await.is_ok();
    let roster = knows.borrow().1.clone();
    assert!(agreed, "schedule {seed}: the observer has {roster:?}, the room has {members:?}");
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|number| number.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rosters_agree_after_random_schedules_with_stalled_connections() {
    let binary = require!(super::server());
    let writer = Writer::start(None, Bounds::default()).expect("a writer");
    let server = Server::start(&binary, writer.recorder()).await.expect("the server starts");
    let addr = server.addr();
    let seeds = match number("SIGNALBOX_ROSTER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIGNALBOX_ROSTER_SEEDS").unwrap_or(1000),
    };
    let mut running = JoinSet::new();
    for seed in seeds {
        if running.len() >= AT_ONCE {
            running.join_next().await.expect("one runs").expect("a schedule");
        }
        running.spawn(schedule(addr, seed));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("a schedule");
    }
    server.stop().await.expect("the server stops");
}
