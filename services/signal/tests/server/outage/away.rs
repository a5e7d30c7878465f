//! The database is killed and restarted, or was never reachable.

use std::time::Instant;

use signalbox_proto::v1::GetRoomRequest;
use signalbox_testkit::require;

use super::{live::Live, watch::Watch};
use crate::common::{TestServer, mongo::Mongo};

#[tokio::test(flavor = "multi_thread")]
async fn live_rooms_survive_the_kill_of_the_database() {
    let mut mongo = require!(Mongo::standalone().await);
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    let live = Live::start(&server, "live").await;
    watch.create("before").await.expect("the database is healthy");

    mongo.nodes[0].kill();
    for _ in 0..3 {
        watch.all_is_refused().await;
        live.join_and_leave(&server).await;
    }
    watch.becomes_degraded().await;
    watch.all_is_refused().await;

    mongo.nodes[0].restart().await;
    mongo.nodes[0].await_writable().await;
    watch.recovers(Instant::now()).await;
    live.stop().await;
    server.rooms().await.get_room(GetRoomRequest { name: "before".to_owned() }).await.expect("it was acknowledged");
    server.stop().await;
}

#[tokio::test]
async fn an_unresolvable_database_is_unavailable() {
    let server = TestServer::start_on("mongodb+srv://cluster.invalid/", &[]).await;
    let mut watch = Watch::start(server.addr).await;
    watch.becomes_degraded().await;
    watch.all_is_refused().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_may_start_before_the_database() {
    let mut mongo = require!(Mongo::standalone().await);
    mongo.nodes[0].kill();
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    watch.becomes_degraded().await;
    watch.all_is_refused().await;

    mongo.nodes[0].restart().await;
    mongo.nodes[0].await_writable().await;
    watch.recovers(Instant::now()).await;
    // The setup of the database is done now.
    let rooms = mongo.database("rooms").await.collection::<mongodb::bson::Document>("rooms");
    assert_eq!(rooms.list_index_names().await.unwrap(), ["_id_", "expires_at_ttl", "labels"]);
    server.stop().await;
}
