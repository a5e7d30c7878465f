//! The database is killed and started again, or was never there.

use std::time::Instant;

use signalbox_proto::v1::GetRoomRequest;

use super::{live::Live, watch::Watch};
use crate::common::{TestServer, mongo::Mongo};

#[tokio::test(flavor = "multi_thread")]
async fn live_rooms_outlive_a_database_that_is_killed() {
    let Some(mut mongo) = Mongo::standalone().await else { return };
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    let live = Live::start(&server, "live").await;
    watch.create("before").await.expect("all is well");

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
async fn a_database_whose_name_is_not_known_is_one_that_is_away() {
    let server = TestServer::start_on("mongodb+srv://cluster.invalid/", &[]).await;
    let mut watch = Watch::start(server.addr).await;
    watch.becomes_degraded().await;
    watch.all_is_refused().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_start_before_its_database() {
    let Some(mut mongo) = Mongo::standalone().await else { return };
    mongo.nodes[0].kill();
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    watch.becomes_degraded().await;
    watch.all_is_refused().await;

    mongo.nodes[0].restart().await;
    mongo.nodes[0].await_writable().await;
    watch.recovers(Instant::now()).await;
    // What is done at the start is done now.
    let rooms = mongo.database("rooms").await.collection::<mongodb::bson::Document>("rooms");
    assert_eq!(rooms.list_index_names().await.unwrap(), ["_id_", "expires_at_ttl", "labels"]);
    server.stop().await;
}
