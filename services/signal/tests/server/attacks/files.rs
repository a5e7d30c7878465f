//! A server that is short of file descriptors.

use std::{fs, time::Duration};

use http::{Method, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use signalbox_testkit::proc::cpu_time;
use tokio::net::TcpStream;

use super::attack;
use crate::common::{
    DEADLINE,
    raw::{Version, request},
    within,
};

fn limit_files(pid: Pid, most: u64) -> Rlimit {
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum: Some(4096) })
        .expect("it is a child of this process")
}

#[tokio::test]
async fn accepting_pauses_without_file_descriptors_and_continues_with_them() {
    let log = attack(&[], async |program| {
        let pid = program.pid();
        let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap().count() as u64;
        limit_files(pid, open);
        let waiting: Vec<_> = {
            let mut waiting = Vec::new();
            for _ in 0..100 {
                // The kernel accepts them, the server cannot.
                waiting.push(within(DEADLINE, TcpStream::connect(program.addr)).await.unwrap());
            }
            waiting
        };
        let before = cpu_time(pid).unwrap();
        // The time over which CPU is measured.
        tokio::time::sleep(Duration::from_secs(4)).await;
        let spent = cpu_time(pid).unwrap() - before;
        assert!(spent < Duration::from_secs(1), "it spins: {spent:?} of 4 s");
        limit_files(pid, 4096);
        drop(waiting);
        let response = request(program.addr, Version::Http1, Method::GET, "/healthz", &[], "").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    })
    .await;
    let warnings = log.lines().filter(|line| line.contains("cannot accept connections")).count();
    assert!((1..=3).contains(&warnings), "{warnings} warnings in {log}");
}
