//! The disk of the database is full.

use std::{fs, io::Write, path::PathBuf, process::Command, time::Instant};

use rustix::process::geteuid;
use signalbox_testkit::{require, skip::Missing};

use super::{live::Live, watch::Watch};
use crate::common::{TestServer, mongo::Mongo};

/// A fresh mongod takes 300 MB.
const SIZE: &str = "400m";

/// A small file system in memory, unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Result<Self, Missing> {
        if !geteuid().is_root() {
            return Err(Missing("mounting a small disk needs root".to_owned()));
        }
        let size = format!("size={SIZE}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        assert!(mounted.expect("mount starts").success());
        Ok(Self(path))
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).unwrap();
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
    let disk = require!(SmallDisk::mount(folder.path().to_owned()));
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
