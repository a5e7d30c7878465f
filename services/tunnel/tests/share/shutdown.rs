//! A share leaves nothing behind, however it ends, and does not affect other shares.

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

use super::{
    harness::{Bore, DEADLINE, SHOWN, Share, binaries, is_open, until},
    traffic::Traffic,
};

async fn nothing_is_left(processes: &[Pid], authority: &str) {
    // Processes that are not children of this test are adopted and reaped by init.
    until("all processes to exit", async || processes.iter().all(|pid| has_exited(*pid))).await;
    until("the public port to close", async || !is_open(authority).await).await;
}

fn has_exited(pid: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_err() || state.contains(") Z ")
}

#[tokio::test]
async fn signal_ends_all_processes_and_removes_files() {
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
        // A terminal sends the signal to its whole foreground process group.
        kill_process_group(share.pid(), signal).unwrap();
        assert_eq!(share.exit_status().await.success(), is_orderly, "{signal:?}");
        nothing_is_left(&processes, &link.authority).await;
        until("all files to be removed", async || fs::read_dir(share.temporary()).unwrap().next().is_none()).await;
    }
}

#[tokio::test]
async fn two_shares_are_independent() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.2.2";
    let _bore = Bore::start(ip, None).await;
    let mut first = Share::start(ip, &["--http"]).await;
    let mut second = Share::start(ip, &["--http"]).await;
    let (first_link, second_link) = (first.link().await, second.link().await);
    assert_ne!(first_link.authority, second_link.authority);
    assert_ne!(first_link.room, second_link.room);
    let mut traffic = Traffic::start(&second_link).await;
    let processes = first.processes();
    kill_process(first.pid(), Signal::INT).unwrap();
    assert!(first.exit_status().await.success());
    nothing_is_left(&processes, &first_link.authority).await;
    traffic.continues().await;
    assert_eq!(traffic.resumes(), 0);
    traffic.finish_without_loss().await;
}

#[tokio::test]
async fn certificate_is_kept_between_shares() {
    let Some(_) = binaries() else { return };
    let ip = "127.11.2.3";
    let _bore = Bore::start(ip, None).await;
    let data = tempfile::tempdir().unwrap();
    let mut fingerprints = Vec::new();
    for _ in 0..2 {
        let mut share = Share::start(ip, &["--data", data.path().to_str().unwrap()]).await;
        let link = share.link().await;
        assert!(link.origin.starts_with("https://"));
        share.wait_for(SHOWN, "fingerprint is").await;
        fingerprints.push(share.wait_for(DEADLINE, ":").await);
        kill_process(share.pid(), Signal::INT).unwrap();
        assert!(share.exit_status().await.success());
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
    assert_eq!(fingerprints[0].trim().split(':').count(), 32);
    let file = data.path().join(format!("{ip}.pem"));
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}
