//! A server at its memory limit.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use http::Method;
use signalbox_client::{
    Client, Error, Event, Outcome, Session, Signal,
    v1::{Join, client_message::Body as ClientBody, server_message::Body as ServerBody},
};
use signalbox_testkit::{eventually, proc::resident_kib};
use tokio::{net::TcpStream, task::JoinSet};
use tonic::{Code, transport::Endpoint};
use tonic_types::StatusExt;

use super::wire::{H2, NONE, PREFACE, SETTINGS, frame};
use crate::common::{
    DEADLINE, body, messages,
    native::{Member, Stream},
    program::Program,
    raw::{Version, request, text},
    within,
};

/// Far more joins than fit.
const MOST: usize = 20_000;
/// Size of a member's attributes.
const ATTRIBUTE: usize = 10_000;
/// The limit, in MiB.
const LIMIT: u64 = 64;

fn join_of(room: String) -> Join {
    let attributes = HashMap::from([("fills".to_owned(), "x".repeat(ATTRIBUTE))]);
    Join { room, attributes, ..Join::default() }
}

/// Joins rooms, one member each, until a join is refused.
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
    panic!("{MOST} joins were accepted");
}

async fn metric(program: &Program, name: &str) -> u64 {
    let response = request(program.addr, Version::Http1, Method::GET, "/metrics", &[], "").await.unwrap();
    let text = text(response).await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    value.trim().parse().expect("a number")
}

#[tokio::test]
async fn joins_are_refused_until_memory_is_freed() {
    let limit = LIMIT.to_string();
    let flags = [
        "--max-memory-mib",
        &limit,
        "--max-attributes-bytes",
        "12000",
        "--max-streams",
        "100000",
        "--max-sessions-per-connection",
        "100000",
    ];
    let program = Program::start(&flags).await;
    let client = Client::new(&format!("http://{}", program.addr)).unwrap();
    let mut ann = client.join(join_of("live".to_owned())).await.unwrap();
    let ben = Member::join_with(program.addr, messages::join("live")).await;
    assert!(matches!(within(DEADLINE, ann.next()).await, Some(Event::MemberJoined(_))));

    let (sessions, refused) = fill(&program).await;
    assert!(matches!(&refused, Error::Refused { code: Code::ResourceExhausted, .. }), "{refused}");
    assert_eq!(refused.reason(), "SERVER_FULL");
    assert!(refused.is_temporary());
    assert!(sessions.len() > 100, "{} joins were accepted", sessions.len());
    let status = Stream::begin(program.addr, ClientBody::Join(messages::join("another")))
        .await
        .err()
        .expect("the server is full");
    assert!(status.get_details_retry_info().is_some_and(|info| info.retry_delay > Some(Duration::ZERO)), "{status:?}");
    assert_eq!(metric(&program, "signalbox_joins_refused_total{reason=\"SERVER_FULL\"} ").await, 2);
    let needed = metric(&program, "signalbox_memory_needed_bytes ").await;
    assert!(needed >= LIMIT * 1024 * 1024 / 10 * 9, "{needed} bytes are below the limit");
    let full = resident_kib(program.pid()).unwrap();

    // Existing sessions continue, and may resume on another connection.
    let ben_id = ben.id.clone();
    let token = ben.token.clone();
    drop(ben);
    assert!(matches!(within(DEADLINE, ann.next()).await, Some(Event::MemberUpdated(_))));
    let receipt = ann.send(Signal::offer(ben_id, "still here")).await;
    assert_eq!(within(DEADLINE, receipt.outcome()).await, Outcome::Accepted);
    let (mut ben, first) = Stream::begin(program.addr, ClientBody::Resume(messages::resume(&token, 0))).await.unwrap();
    body!(first, Resumed);
    loop {
        if let Some(ServerBody::Offer(offer)) = ben.next().await.body {
            assert_eq!(offer.sdp, "still here");
            break;
        }
    }

    // After they have left, joins are accepted again, up to the limit. The allocator need not have returned the memory.
    let accepted = sessions.len();
    let leaving: JoinSet<()> = sessions.into_iter().map(Session::leave).collect();
    within(DEADLINE, leaving.join_all()).await;
    let empty = resident_kib(program.pid()).unwrap();
    let join_again = async || client.join(join_of("another".to_owned())).await.ok().map(drop);
    eventually(DEADLINE, "joins are accepted again", join_again).await;
    let (again, refused) = fill(&program).await;
    assert_eq!(refused.reason(), "SERVER_FULL");
    let full_again = resident_kib(program.pid()).unwrap();
    eprintln!("{accepted} with {full} KiB, {empty} KiB without them, then {} with {full_again} KiB", again.len());
    assert!(again.len() > accepted / 2, "{accepted} joins were accepted, then {}", again.len());
    // The allocator cannot reuse all of its memory.
    assert!(full_again < LIMIT * 1024 / 4 * 5, "it has {full_again} KiB");
    program.stop().await;
}

#[tokio::test]
async fn connections_are_rejected_until_memory_is_freed() {
    let limit = LIMIT.to_string();
    let program = Program::start(&["--max-memory-mib", &limit, "--join-timeout", "60s"]).await;
    let start = Instant::now();
    // Streams that never join.
    let hold = async || {
        let mut h2 = H2 { socket: TcpStream::connect(program.addr).await.unwrap(), addr: program.addr };
        h2.send(&[PREFACE, &frame(SETTINGS, NONE, 0, &[])].concat()).await;
        for stream in (1..32).step_by(2) {
            if !h2.open(stream).await {
                return None;
            }
        }
        h2.answer(31).await.then_some(h2)
    };
    let mut held = Vec::new();
    let fill = async {
        while let Some(h2) = hold().await {
            held.push(h2);
        }
    };
    within(3 * DEADLINE, fill).await;
    let rejecting = "rejecting connections: the memory limit is reached";
    program.wait_for_log(rejecting, 1).await;
    assert!(held.len() > 20, "{} connections were accepted", held.len());
    for _ in 0..20 {
        assert!(hold().await.is_none(), "it is accepted");
    }

    drop(held);
    eventually(DEADLINE, "connections are accepted again", async || hold().await.map(drop)).await;
    let log = program.stop().await;
    let warnings = log.matches(rejecting).count() as u64;
    assert!(warnings <= 1 + start.elapsed().as_secs() / 3, "{warnings} warnings");
}
