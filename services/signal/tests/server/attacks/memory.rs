//! A server that has as much memory as it may have.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use http::Method;
use rustix::process::Signal;
use signalbox_client::{
    Client, Error, Event, Outcome, Session, Signal as Say,
    v1::{Join, client_message::Body as Said, server_message::Body},
};
use tokio::{net::TcpStream, task::JoinSet};
use tonic::{Code, transport::Endpoint};
use tonic_types::StatusExt;

use super::{
    resident_kib,
    wire::{H2, NONE, PREFACE, SETTINGS, frame},
};
use crate::common::{
    DEADLINE, body,
    native::{Member, Stream},
    program::Program,
    raw::{Version, request, text},
    say, within,
};

/// Far more than fit.
const MOST: usize = 20_000;
/// What a member's attributes take.
const ATTRIBUTE: usize = 10_000;
/// The bound, in MiB.
const BOUND: u64 = 64;

fn join_of(room: String) -> Join {
    let attributes = HashMap::from([("fills".to_owned(), "x".repeat(ATTRIBUTE))]);
    Join { room, attributes, ..Join::default() }
}

/// Fills rooms of their own until nobody is let in any more.
async fn fill(program: &Program) -> (Vec<Session>, Error) {
    let channel = Endpoint::from_shared(format!("http://{}", program.addr)).unwrap().connect_lazy();
    let client = Client::with_dial(move || channel.clone());
    let mut sessions = Vec::new();
    for room in 0..MOST {
        match within(DEADLINE, client.join(join_of(format!("room-{room}")))).await {
            Ok(session) => sessions.push(session),
            Err(error) => return (sessions, error),
        }
    }
    panic!("{MOST} were let in");
}

async fn figure(program: &Program, name: &str) -> u64 {
    let response = request(program.addr, Version::Http1, Method::GET, "/metrics", &[], "").await.unwrap();
    let text = text(response).await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    value.trim().parse().expect("a number")
}

#[tokio::test]
async fn nobody_new_is_let_in_until_others_have_left() {
    let bound = BOUND.to_string();
    let flags = ["--max-memory-mib", &bound, "--max-streams", "100000", "--max-attributes-bytes", "12000"];
    let program = Program::start(&flags).await;
    let client = Client::new(&format!("http://{}", program.addr)).unwrap();
    let mut ann = client.join(join_of("live".to_owned())).await.unwrap();
    let ben = Member::join_with(program.addr, say::join("live")).await;
    assert!(matches!(within(DEADLINE, ann.next()).await, Some(Event::MemberJoined(_))));

    let (sessions, refused) = fill(&program).await;
    assert!(matches!(&refused, Error::Refused { code: Code::ResourceExhausted, .. }), "{refused}");
    assert_eq!(refused.reason(), "SERVER_FULL");
    assert!(refused.is_temporary());
    assert!(sessions.len() > 100, "{} were let in", sessions.len());
    let status = Stream::begin(program.addr, Said::Join(say::join("another"))).await.err().expect("nobody is let in");
    assert!(status.get_details_retry_info().is_some_and(|info| info.retry_delay > Some(Duration::ZERO)), "{status:?}");
    assert_eq!(figure(&program, "signalbox_joins_refused_total{reason=\"SERVER_FULL\"} ").await, 2);
    let needed = figure(&program, "signalbox_memory_needed_bytes ").await;
    assert!(needed >= BOUND * 1024 * 1024 / 10 * 9, "{needed} bytes are no reason");
    let full = resident_kib(program.pid());

    // Whoever is there is heard, and may come back, on another connection too.
    let ben_id = ben.id.clone();
    let token = ben.token.clone();
    drop(ben);
    assert!(matches!(within(DEADLINE, ann.next()).await, Some(Event::MemberUpdated(_))));
    let receipt = ann.send(Say::offer(ben_id, "still here")).await;
    assert_eq!(within(DEADLINE, receipt.outcome()).await, Outcome::Accepted);
    let (mut ben, first) = Stream::begin(program.addr, Said::Resume(say::resume(&token, 0))).await.unwrap();
    body!(first, Resumed);
    loop {
        if let Some(Body::Offer(offer)) = ben.next().await.body {
            assert_eq!(offer.sdp, "still here");
            break;
        }
    }

    // When they have left there is room again, whatever of it the system has got back, and there is an end to it again.
    let let_in = sessions.len();
    let leaving: JoinSet<()> = sessions.into_iter().map(Session::leave).collect();
    within(DEADLINE, leaving.join_all()).await;
    let empty = resident_kib(program.pid());
    let again = async {
        while client.join(join_of("another".to_owned())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(DEADLINE, again).await;
    let (again, refused) = fill(&program).await;
    assert_eq!(refused.reason(), "SERVER_FULL");
    let full_again = resident_kib(program.pid());
    eprintln!("{let_in} with {full} KiB, {empty} KiB without them, then {} with {full_again} KiB", again.len());
    assert!(again.len() > let_in / 2, "{} were let in, and then {}", let_in, again.len());
    // Not all that malloc has is of the right size.
    assert!(full_again < BOUND * 1024 / 4 * 5, "it has {full_again} KiB");
    program.signal(Signal::TERM);
    let (status, log) = program.end().await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn connections_are_turned_away_when_the_rest_is_used_too() {
    let bound = BOUND.to_string();
    let program = Program::start(&["--max-memory-mib", &bound, "--join-timeout", "60s"]).await;
    let start = Instant::now();
    // Streams that never join; each takes some.
    let hold = async || {
        let mut h2 = H2 { socket: TcpStream::connect(program.addr).await.unwrap(), addr: program.addr };
        h2.send(&[PREFACE, &frame(SETTINGS, NONE, 0, &[])].concat()).await;
        for stream in (1..32).step_by(2) {
            h2.open(stream).await;
        }
        h2.answer(31).await.then_some(h2)
    };
    let mut held = Vec::new();
    let turned_away = async {
        while let Some(h2) = hold().await {
            held.push(h2);
        }
    };
    within(3 * DEADLINE, turned_away).await;
    let turned_away = "connections are turned away: the process has as much memory as it may";
    program.logs(turned_away, 1).await;
    assert!(held.len() > 20, "{} were let in", held.len());
    for _ in 0..20 {
        assert!(hold().await.is_none(), "it is let in");
    }

    // When they have gone others are let in.
    drop(held);
    let again = async { while hold().await.is_none() {} };
    within(DEADLINE, again).await;
    program.signal(Signal::TERM);
    let (status, log) = program.end().await;
    assert!(status.success(), "{log}");
    let warnings = log.matches(turned_away).count() as u64;
    assert!(warnings <= 1 + start.elapsed().as_secs() / 3, "{warnings} warnings");
}
