//! The database hangs: it accepts connections and does not answer.

use std::time::{Duration, Instant};

use signalbox_testkit::{eventually, require};
use tokio::{runtime::Handle, task::JoinSet};

use super::{live::Live, watch::Watch};
use crate::common::{DEADLINE, TestServer, mongo::Mongo};

/// Far less than a call waits for a hanging database.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn live_rooms_survive_a_hanging_database() {
    let mongo = require!(Mongo::replica_set(1).await);
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    let live = Live::start(&server, "live").await;

    let mut tasks = Vec::new();
    for _ in 0..3 {
        mongo.nodes[0].freeze();
        // The first calls wait for the database, and fail in time, also those for the same room.
        let first = async { tokio::join!(watch.all_is_refused(), watch.all_is_refused(), watch.all_is_refused()) };
        tokio::join!(first, many_creates(&server, 20));
        // Later calls fail at once, except one call in 2 s that probes the database.
        let mut at_once = 0;
        for _ in 0..10 {
            at_once += u32::from(watch.create_is_refused().await < AT_ONCE);
            at_once += u32::from(watch.join_is_refused().await < AT_ONCE);
        }
        assert!(at_once >= 16, "only {at_once} of 20 calls were refused at once");
        live.join_and_leave(&server).await;
        watch.becomes_degraded().await;

        mongo.nodes[0].thaw();
        watch.recovers(Instant::now()).await;
        // The connection pool works, and the calls that timed out have left nothing behind.
        let mut creates = JoinSet::new();
        for n in 0..100 {
            let (mut rooms, name) = (server.rooms().await, format!("round-{}-{n}", tasks.len()));
            creates.spawn(async move {
                let room = signalbox_proto::v1::Room { name, ..Default::default() };
                rooms
                    .create_room(signalbox_proto::v1::CreateRoomRequest { room: Some(room), ..Default::default() })
                    .await
            });
        }
        assert!(creates.join_all().await.iter().all(Result::is_ok));
        tasks.push(Handle::current().metrics().num_alive_tasks());
    }
    live.stop().await;
    // Connections of this test may still be closing.
    eventually(DEADLINE, "tasks end", async || {
        (Handle::current().metrics().num_alive_tasks() <= tasks[0] + 8).then_some(())
    })
    .await;
    server.stop().await;
}

/// Calls that wait for others of the same room fail in time, too.
async fn many_creates(server: &TestServer, times: usize) {
    let mut calls = JoinSet::new();
    for _ in 0..times {
        let watch = Watch::start(server.addr).await;
        calls.spawn(async move { watch.create_is_refused().await });
    }
    calls.join_all().await;
}
