//! The primary of a replica set steps down, is killed, or loses its majority.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mongodb::bson::doc;
use signalbox_testkit::require;
use tokio::{sync::watch as signal, task::JoinSet, time};
use tonic::Code;

use super::{
    live::Live,
    watch::{BACK_WITHIN, REFUSED_WITHIN, Watch, exists},
};
use crate::common::{TestServer, assert_error, mongo::Mongo};

/// The outcomes of creating a room of one name.
struct Attempt {
    name: String,
    acknowledged: u32,
    unknown: u32,
}

/// Creates rooms until stopped, each until it is acknowledged or exists.
async fn create_until(watch: Arc<Watch>, client: u32, stop: signal::Receiver<bool>) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    while !*stop.borrow() {
        let name = format!("room-{client}-{}", attempts.len());
        let mut attempt = Attempt { name, acknowledged: 0, unknown: 0 };
        loop {
            let start = Instant::now();
            let created = watch.create(&attempt.name).await;
            assert!(start.elapsed() < REFUSED_WITHIN, "{}: {:?}", attempt.name, start.elapsed());
            match created {
                Ok(_) => break attempt.acknowledged += 1,
                Err(status) if status.code() == Code::AlreadyExists => {
                    assert!(attempt.unknown > 0, "no other client creates {}", attempt.name);
                    break;
                }
                Err(status) => {
                    assert_error(&status, Code::Unavailable, "STORE_UNAVAILABLE");
                    attempt.unknown += 1;
                    time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        attempts.push(attempt);
    }
    attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_rooms_survive_the_loss_of_the_primary() {
    let mut mongo = require!(Mongo::replica_set(3).await);
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let watch = Arc::new(Watch::start(server.addr).await);
    let live = Live::start(&server, "live").await;
    let (stop, stopped) = signal::channel(false);
    let mut clients = JoinSet::new();
    for client in 0..4 {
        clients.spawn(create_until(watch.clone(), client, stopped.clone()));
    }

    for fault in ["step down", "kill"] {
        let old = mongo.primary().await;
        if fault == "kill" {
            mongo.nodes[old].kill();
        } else {
            mongo.nodes[old].admin(doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5 }).await;
        }
        // The others elect another one.
        while mongo.primary().await == old {}
        let back = Instant::now();
        while watch.create(&format!("after-{}-{}", fault.replace(' ', "-"), back.elapsed().as_millis())).await.is_err()
        {
            assert!(back.elapsed() < BACK_WITHIN, "rooms cannot be created since {:?}", back.elapsed());
        }
        live.join_and_leave(&server).await;
        if fault == "kill" {
            mongo.nodes[old].restart().await;
        }
    }
    stop.send(true).unwrap();
    let attempts: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    live.stop().await;

    let mut rooms = server.rooms().await;
    for attempt in &attempts {
        assert!(exists(&mut rooms, &attempt.name).await, "{} is lost", attempt.name);
    }
    let acknowledged = attempts.iter().filter(|attempt| attempt.acknowledged == 1).count();
    eprintln!(
        "{acknowledged} of {} rooms acknowledged, {} answers unknown",
        attempts.len(),
        attempts.iter().map(|a| a.unknown).sum::<u32>()
    );
    assert!(acknowledged > 50, "{acknowledged} were acknowledged");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_no_write_is_acknowledged() {
    let mut mongo = require!(Mongo::replica_set(3).await);
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    let live = Live::start(&server, "live").await;
    let primary = mongo.primary().await;
    let others: Vec<_> = (0..3).filter(|node| *node != primary).collect();
    for node in &others {
        mongo.nodes[*node].kill();
    }
    watch.all_is_refused().await;
    watch.becomes_degraded().await;
    watch.all_is_refused().await;
    for node in &others {
        mongo.nodes[*node].restart().await;
    }
    mongo.primary().await;
    watch.recovers(Instant::now()).await;
    live.stop().await;
    server.stop().await;
}
