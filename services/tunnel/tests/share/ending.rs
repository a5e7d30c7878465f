//! A share leaves nothing behind, however it ends, and does not mind another.

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

use super::{
    parts::{Bore, DEADLINE, SHOWN, Share, binaries, is_open, until},
    talk::Talk,
};

async fn all_gone(processes: &[Pid], authority: &str) {
    // Who was not this test's own child has been taken over, and reaped, by init.
    until("no process to be left", async || processes.iter().all(|pid| is_gone(*pid))).await;
    until("the public port to be free", async || !is_open(authority).await).await;
}

fn is_gone(pid: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_err() || state.contains(") Z ")
}

#[tokio::test]
async fn ctrl_c_a_closed_terminal_and_kills_end_all_of_it() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.2.1";
    let _bore = Bore::start(ip, None).await;
    for (signal, is_orderly) in
        [(Signal::INT, true), (Signal::TERM, true), (Signal::HUP, true), (Signal::KILL, false), (Signal::QUIT, false)]
    {
        let mut share = Share::start(ip, &[]).await;
        let link = share.link().await;
        let processes = share.processes();
        assert_eq!(processes.len(), 3);
        // A terminal sends it to all of its foreground group.
        kill_process_group(share.pid(), signal).unwrap();
        assert_eq!(share.ended().await.success(), is_orderly, "{signal:?}");
        all_gone(&processes, &link.authority).await;
        until("no file to be left", async || fs::read_dir(share.temporary()).unwrap().next().is_none()).await;
    }
}

#[tokio::test]
async fn two_shares_side_by_side() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.2.2";
    let _bore = Bore::start(ip, None).await;
    let mut one = Share::start(ip, &["--http"]).await;
    let mut other = Share::start(ip, &["--http"]).await;
    let (link_one, link_other) = (one.link().await, other.link().await);
    assert_ne!(link_one.authority, link_other.authority);
    assert_ne!(link_one.room, link_other.room);
    let mut talk = Talk::start(&link_other).await;
    let processes = one.processes();
    kill_process(one.pid(), Signal::INT).unwrap();
    assert!(one.ended().await.success());
    all_gone(&processes, &link_one.authority).await;
    talk.hears_more().await;
    assert_eq!(talk.resumed(), 0);
    talk.end_with_nothing_lost().await;
}

#[tokio::test]
async fn the_certificate_stays_from_share_to_share() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.2.3";
    let _bore = Bore::start(ip, None).await;
    let data = tempfile::tempdir().unwrap();
    let mut fingerprints = Vec::new();
    for _ in 0..2 {
        let mut share = Share::start(ip, &["--data", data.path().to_str().unwrap()]).await;
        let link = share.link().await;
        assert!(link.origin.starts_with("https://"));
        share.says(SHOWN, "fingerprint is").await;
        fingerprints.push(share.says(DEADLINE, ":").await);
        kill_process(share.pid(), Signal::INT).unwrap();
        assert!(share.ended().await.success());
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
    assert_eq!(fingerprints[0].trim().split(':').count(), 32);
    let file = data.path().join(format!("{ip}.pem"));
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}
