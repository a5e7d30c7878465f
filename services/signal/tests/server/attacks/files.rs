//! A server that is short of file descriptors.

use std::{fs, time::Duration};

use http::{Method, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;

use super::attack;
use crate::common::{
    DEADLINE,
    raw::{Version, request},
    within,
};

/// CPU time that a process has had, in ticks of which a second has 100.
fn ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).expect("Linux, and it runs");
    // The second field is the name, in parentheses; the 14th and 15th are user and system time.
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn limit_files(pid: Pid, most: u64) -> Rlimit {
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum: Some(4096) }).expect("it is our child")
}

#[tokio::test]
async fn without_descriptors_it_waits_and_goes_on_when_there_are_some() {
    let log = attack(&[], async |program| {
        let pid = program.pid();
        let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).unwrap().count() as u64;
        limit_files(pid, open);
        let waiting: Vec<_> = {
            let mut waiting = Vec::new();
            for _ in 0..100 {
                // The system takes them; the server cannot.
                waiting.push(within(DEADLINE, TcpStream::connect(program.addr)).await.unwrap());
            }
            waiting
        };
        let before = ticks(pid);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let spent = ticks(pid) - before;
        assert!(spent < 100, "it spins: {spent} of 400 ticks");
        limit_files(pid, 4096);
        drop(waiting);
        let response = request(program.addr, Version::Http1, Method::GET, "/healthz", &[], "").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    })
    .await;
    let warnings = log.lines().filter(|line| line.contains("cannot take connections")).count();
    assert!((1..=3).contains(&warnings), "{warnings} warnings in {log}");
}
