//! What is logged, and what must never be.

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    common::{
        body,
        native::{Member, Ticket},
        say,
        web::{Web, WebMember},
    },
    program::Program,
};

const TURN: [&str; 4] = ["--turn-url", "turn:turn.example.org", "--turn-secret", "canary-turn-secret"];

/// Has members do what members do, and get wrong; returns what must not be in the log.
async fn use_it(program: &Program) -> Vec<String> {
    let mut native = Member::join_with(program.addr, say::join_as("demo", "ann")).await;
    let mut page = WebMember::join(Web::new(program.addr), say::join_as("demo", "page")).await;
    body!(native.next().await, MemberJoined);
    let mut secrets: Vec<String> = TURN[3..].iter().map(|secret| (*secret).to_owned()).collect();
    secrets.extend([native.token.clone(), page.token.clone()]);
    let servers = native.welcome().ice_servers.iter().chain(&page.welcome().ice_servers);
    secrets.extend(servers.map(|server| server.credential.clone()));
    assert!(secrets.iter().all(|secret| secret.len() > 10), "{secrets:?}");

    native.say("", say::offer("canary-offer")).await;
    assert_eq!(body!(page.next().await, Offer).sdp, "canary-offer");
    let said = vec![
        say::numbered(1, "", say::answer("canary-answer")),
        say::numbered(2, "", say::candidate("canary-candidate")),
        say::numbered(3, "", say::data("canary-data")),
        say::numbered(4, "nobody", say::offer("canary-undelivered")),
    ];
    page.send(said).await.expect("it is handled");
    for _ in 0..3 {
        assert!(native.next().await.body.is_some());
    }
    // A session that is lost, one that is resumed, tokens that are not ones, a stream that goes wrong.
    let mut native = Member::try_resume(program.addr, &native.lose()).await.expect("it can be resumed");
    let canary = Ticket { token: "canary-token".to_owned(), ..native.ticket() };
    assert!(Member::try_resume(program.addr, &canary).await.is_err());
    let garbage = Web::new(program.addr).send("canary-token", vec![say::unnumbered("", say::leave())]).await;
    assert!(garbage.is_err());
    native.send(say::numbered(7, "", say::offer("canary-gap"))).await;
    native.sent_away().await;
    secrets.push("canary".to_owned());
    secrets
}

async fn assert_log_is_clean(flags: &[&str]) -> String {
    let program = Program::start(&[&TURN[..], flags].concat()).await;
    let secrets = use_it(&program).await;
    program.signal(Signal::TERM);
    let (status, log) = program.end().await;
    assert!(status.success(), "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
    }
    assert!(log.contains("listening") && log.contains("stopped"), "{log}");
    log
}

#[tokio::test]
async fn nothing_of_members_and_no_secret_is_logged() {
    assert_log_is_clean(&["--log", "info"]).await;
}

#[tokio::test]
async fn not_even_where_everything_is_logged() {
    let log = assert_log_is_clean(&["--log", "trace"]).await;
    assert!(log.contains("TRACE"), "it is all there: {log}");
}

#[tokio::test]
async fn json_logs_are_one_object_a_line() {
    let log = assert_log_is_clean(&["--log", "info", "--log-format", "json"]).await;
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "no {field} in {line}");
        }
    }
    let listening = lines.iter().find(|line| line["message"] == "listening").expect("it says where it listens");
    assert!(listening["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{listening}");
}
