//! The disk of the store is full.

use std::{fs, io::Write, path::PathBuf, process::Command, time::Instant};

use rustix::process::geteuid;
use signalbox_testkit::{require, skip::Missing};
use tonic::Code;

use super::{
    live::Live,
    watch::{Watch, exists},
};
use crate::common::{TestServer, assert_error, mongo::Mongo};

/// A fresh mongod takes 300 MB.
const FOR_MONGOD: &str = "400m";
/// A new embedded store takes less than 2 MB.
const FOR_EMBEDDED: &str = "6m";

/// A small file system in memory, unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf, size: &str) -> Result<Self, Missing> {
        if !geteuid().is_root() {
            return Err(Missing("mounting a small disk needs root".to_owned()));
        }
        let size = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        assert!(mounted.expect("mount starts").success());
        Ok(Self(path))
    }

    fn fill(&self) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 1 << 12]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_rooms_survive_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = require!(SmallDisk::mount(folder.path().to_owned(), FOR_MONGOD));
    let mut mongo = require!(Mongo::standalone_in(folder, &["--syncdelay", "1"]).await);
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    let live = Live::start(&server, "live").await;

    disk.fill();
    // Writes succeed until the database needs a new file.
    let mut created = 0;
    while watch.create(&format!("room-{created}")).await.is_ok() {
        created += 1;
    }
    watch.all_is_refused().await;
    watch.becomes_degraded().await;
    watch.all_is_refused().await;
    live.join_and_leave(&server).await;

    disk.free();
    // A mongod that cannot write its journal ends, and is restarted by its operator.
    if mongo.nodes[0].has_ended() {
        mongo.nodes[0].restart().await;
    }
    mongo.nodes[0].await_writable().await;
    watch.recovers(Instant::now()).await;
    live.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_recovers_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let disk = require!(SmallDisk::mount(folder.path().to_owned(), FOR_EMBEDDED));
    let server = TestServer::start_in(folder.path(), &[]).await;
    let mut watch = Watch::start(server.addr).await;
    watch.create("before").await.unwrap();
    let live = Live::start(&server, "live").await;

    for round in 0..2 {
        disk.fill();
        // Writes succeed while the file has free pages.
        let mut created = Vec::new();
        loop {
            let name = format!("room-{round}-{}", created.len());
            match watch.create_large(&name).await {
                Ok(_) => created.push(name),
                Err(status) => break assert_error(&status, Code::Unavailable, "STORE_UNAVAILABLE"),
            }
            assert!(created.len() < 10_000, "the disk is not full");
        }
        watch.becomes_degraded().await;
        // Reads and live rooms still work.
        let mut rooms = server.rooms().await;
        assert!(exists(&mut rooms, "before").await);
        live.join_and_leave(&server).await;

        disk.free();
        watch.recovers(Instant::now()).await;
        watch.create_large(&format!("after-{round}")).await.unwrap();
        for name in &created {
            assert!(exists(&mut rooms, name).await, "{name} was acknowledged");
        }
    }
    live.stop().await;
    server.stop().await;
}
