//! The database hangs: it takes connections and answers nothing.

use std::time::{Duration, Instant};

use tokio::{runtime::Handle, task::JoinSet, time};

use super::{live::Live, watch::Watch};
use crate::common::{DEADLINE, TestServer, mongo::Mongo, within};

/// Far less than a call waits for a database that hangs.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn live_rooms_outlive_a_database_that_hangs() {
    let Some(mongo) = Mongo::replica_set(1).await else { return };
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    let live = Live::start(&server, "live").await;

    let mut tasks = Vec::new();
    for _ in 0..3 {
        mongo.nodes[0].freeze();
        // The first calls wait for an answer, each for itself and all in time, also those for the same room.
        let first = async { tokio::join!(watch.all_is_refused(), watch.all_is_refused(), watch.all_is_refused()) };
        tokio::join!(first, one_room_many_times(&server, 20));
        // From then on nobody waits, but for one call in 2 s that looks whether the database is back.
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
        // The pool is as good as before, and nothing is left over from the calls that were cut off.
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
    let settled = async {
        while Handle::current().metrics().num_alive_tasks() > tasks[0] + 8 {
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(DEADLINE, settled).await;
    server.stop().await;
}

/// Whoever waits for others at the same room is answered in time too.
async fn one_room_many_times(server: &TestServer, times: usize) {
    let mut calls = JoinSet::new();
    for _ in 0..times {
        let watch = Watch::start(server.addr).await;
        calls.spawn(async move { watch.create_is_refused().await });
    }
    calls.join_all().await;
}
