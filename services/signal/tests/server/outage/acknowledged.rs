//! Acknowledged rooms exist after everything was killed.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use rustix::process::Signal;
use signalbox_proto::v1::{CreateRoomRequest, Room, rooms_client::RoomsClient};
use signalbox_testkit::require;
use tokio::{sync::Notify, task::JoinSet, time};
use tonic::Code;

use super::watch::exists;
use crate::common::{DEADLINE, connect, mongo::Mongo, program::Program, within};

const ROOMS: u32 = 500;
/// After this many the primary is killed.
const KILL_AFTER: u32 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_rooms_survive_the_kill_of_all_processes() {
    let mut mongo = require!(Mongo::replica_set(3).await);
    let program = Program::start(&["--store", &mongo.url("rooms")]).await;
    let acknowledged = Arc::new(AtomicU32::new(0));
    let enough = Arc::new(Notify::new());
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let mut rooms = RoomsClient::new(connect(program.addr).await);
        let (acknowledged, enough) = (acknowledged.clone(), enough.clone());
        clients.spawn(async move {
            let mut names = Vec::new();
            // A name is not tried again after an unknown outcome.
            for n in 0.. {
                if acknowledged.load(Ordering::SeqCst) >= ROOMS {
                    break;
                }
                let name = format!("room-{client}-{n}");
                let room = Room { name: name.clone(), ..Room::default() };
                match rooms.create_room(CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() }).await {
                    Ok(_) => {
                        names.push(name);
                        if acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == KILL_AFTER {
                            enough.notify_one();
                        }
                    }
                    Err(status) => {
                        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                        time::sleep(time::Duration::from_millis(50)).await;
                    }
                }
            }
            names
        });
    }
    within(3 * DEADLINE, enough.notified()).await;
    let primary = mongo.primary().await;
    mongo.nodes[primary].kill();
    let names = time::timeout(6 * DEADLINE, clients.join_all()).await;

    program.signal(Signal::KILL);
    let (status, log) = program.end().await;
    let names = names.unwrap_or_else(|_| panic!("rooms cannot be created: {log}")).concat();
    assert!(names.len() >= ROOMS as usize);
    assert_eq!(status.code(), None, "it was killed");
    for (index, node) in mongo.nodes.iter_mut().enumerate() {
        if index != primary {
            node.kill();
        }
    }
    for node in &mut mongo.nodes {
        node.restart().await;
    }
    mongo.primary().await;

    let program = Program::start(&["--store", &mongo.url("rooms")]).await;
    let mut rooms = RoomsClient::new(connect(program.addr).await);
    let mut present = 0;
    for name in &names {
        present += usize::from(exists(&mut rooms, name).await);
    }
    eprintln!("{present} of {} acknowledged rooms exist", names.len());
    assert_eq!(present, names.len());
}
