//! The form of the log, and what it never contains.

use serde_json::{Value, json};
use signalbox_proto::v1::{RemoveMemberRequest, rooms_client::RoomsClient, subscribe_request::Open};

use crate::common::{
    body, connect,
    jwt::{self, Key},
    messages,
    native::{Member, Ticket},
    program::Program,
    web::{WebClient, WebMember},
    with_token,
};

/// The value of `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Format {
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Checks that the program wrote the start of every line, and that there are no control characters.
pub(crate) fn assert_form(log: &str, format: Format) {
    for line in log.lines() {
        // JSON (RFC 8259, section 7) escapes those of ASCII.
        let is_control = |c: &char| if format == Format::Json { c.is_ascii_control() } else { c.is_control() };
        assert_eq!(line.chars().find(is_control), None, "in {line:?}");
        match format {
            // 2026-01-01T00:00:00.000000Z  INFO module: message field=value
            Format::Text => {
                let mut words = line.split_whitespace();
                let (time, level, target) = (words.next(), words.next(), words.next());
                assert!(time.is_some_and(|time| time.ends_with('Z') && time.contains('T')), "no time in {line:?}");
                let levels = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
                assert!(level.is_some_and(|level| levels.contains(&level)), "no level in {line:?}");
                assert!(target.is_some_and(|target| target != "forged:"), "a client wrote {line:?}");
            }
            Format::Json => {
                let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
                for field in ["timestamp", "level", "target"] {
                    assert!(line[field].is_string(), "no {field} in {line}");
                }
            }
        }
    }
}

const TURN: [&str; 4] = ["--turn-url", "turn:turn.example.org", "--turn-secret", "canary-turn-secret"];

/// Has members send valid and invalid input; returns what must not be in the log.
async fn use_server(program: &Program) -> Vec<String> {
    let mut native = Member::join_with(program.addr, messages::join_as("demo", "ann")).await;
    let mut page = WebMember::join(WebClient::new(program.addr), messages::join_as("demo", "page")).await;
    body!(native.next().await, MemberJoined);
    let mut secrets: Vec<String> = TURN[3..].iter().map(|secret| (*secret).to_owned()).collect();
    secrets.extend([native.token.clone(), page.token.clone()]);
    let servers = native.welcome().ice_servers.iter().chain(&page.welcome().ice_servers);
    secrets.extend(servers.map(|server| server.credential.clone()));
    assert!(secrets.iter().all(|secret| secret.len() > 10), "{secrets:?}");

    native.send("", messages::offer("canary-offer")).await;
    assert_eq!(body!(page.next().await, Offer).sdp, "canary-offer");
    let batch = vec![
        messages::numbered(1, "", messages::answer("canary-answer")),
        messages::numbered(2, "", messages::candidate("canary-candidate")),
        messages::numbered(3, "", messages::data("canary-data")),
        messages::numbered(4, "unknown", messages::offer("canary-undelivered")),
    ];
    page.send(batch).await.expect("it is handled");
    for _ in 0..3 {
        assert!(native.next().await.body.is_some());
    }
    // A resume, wrong session tokens, a stream that ends with an error.
    let mut native = Member::try_resume(program.addr, &native.disconnect()).await.expect("it can be resumed");
    let canary = Ticket { token: "canary-token".to_owned(), ..native.ticket() };
    assert!(Member::try_resume(program.addr, &canary).await.is_err());
    let garbage =
        WebClient::new(program.addr).send("canary-token", vec![messages::unnumbered("", messages::leave())]).await;
    assert!(garbage.is_err());
    native.send_message(messages::numbered(7, "", messages::offer("canary-gap"))).await;
    native.expect_go_away().await;
    secrets.push("canary".to_owned());
    secrets
}

async fn assert_log_is_clean(flags: &[&str]) -> String {
    let program = Program::start(&[&TURN[..], flags].concat()).await;
    let secrets = use_server(&program).await;
    let log = program.stop().await;
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
    }
    assert!(log.contains("listening") && log.contains("stopped"), "{log}");
    log
}

/// Sends valid and invalid tokens in all ways; returns what must not be in the log.
async fn send_tokens(program: &Program, secret: &str) -> Vec<String> {
    let key = Key::secret(secret);
    let claims = |others| jwt::claims_with("demo", "canary-ann", &others);
    let good = key.mint(&claims(json!({"name": "canary-name"})));
    let newer = key.mint(&claims(json!({"exp": jwt::now() + 600})));
    let bad = [
        Key::secret("canary of another secret, long enough").mint(&claims(json!({}))),
        key.mint(&claims(json!({"exp": jwt::now() - 60, "nbf": jwt::now() - 90}))),
        key.mint(&claims(json!({"room": "canary-room"}))),
        key.mint(&claims(json!({"can_join": "canary"}))),
        "canary-token".to_owned(),
    ];
    let web = WebClient::new(program.addr);
    let mut ann =
        Member::try_join_with_token(program.addr, Some(&good), messages::join("demo")).await.expect("she joins");
    for token in &bad {
        assert!(Member::try_join_with_token(program.addr, Some(token), messages::join("demo")).await.is_err());
        assert!(web.with_token(token).subscribe(Open::Join(messages::join("demo"))).await.is_err());
        let beat = vec![messages::unnumbered("", messages::heartbeat())];
        assert!(web.with_token(token).send(&ann.token, beat).await.is_err());
    }
    let beat = vec![messages::unnumbered("", messages::heartbeat())];
    web.with_token(&newer).send(&ann.token, beat).await.expect("it is renewed");
    let admin = key.mint(&jwt::claims_with("*", "canary-admin", &json!({"can_admin": true})));
    let remove = RemoveMemberRequest { room: "demo".to_owned(), member_id: ann.id.clone(), ban: None };
    let mut rooms = RoomsClient::new(connect(program.addr).await);
    rooms.remove_member(with_token(remove, Some(&admin))).await.expect("she is removed");
    ann.expect_go_away().await;
    let tokens = [&bad[..], &[good, newer, admin]].concat();
    // Whole, or in parts.
    let parts = tokens.iter().flat_map(|token| token.split('.')).map(ToOwned::to_owned);
    parts.chain(["canary".to_owned(), ann.token.clone()]).collect()
}

#[tokio::test]
async fn tokens_and_keys_are_not_logged() {
    const SECRET: &str = "canary-secret-of-thirty-two-bytes-or-more";
    for level in ["info", "trace"] {
        let program = Program::start(&["--auth", "jwt", "--jwt-secret", SECRET, "--log", level]).await;
        let secrets = send_tokens(&program, SECRET).await;
        let log = program.stop().await;
        for secret in &secrets {
            assert!(!log.contains(secret), "{secret} is in the log of level {level}:\n{log}");
        }
        assert!(log.contains("listening") && log.contains("stopped"), "{log}");
    }
}

#[tokio::test]
async fn input_and_secrets_are_not_logged() {
    assert_log_is_clean(&["--log", "info"]).await;
}

#[tokio::test]
async fn input_and_secrets_are_not_logged_at_trace() {
    let log = assert_log_is_clean(&["--log", "trace"]).await;
    assert!(log.contains("TRACE"), "the level is trace: {log}");
}

#[tokio::test]
async fn json_logs_have_one_object_per_line() {
    let log = assert_log_is_clean(&["--log", "info", "--log-format", "json"]).await;
    assert_form(&log, Format::Json);
    let lines: Vec<_> = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["message"].is_string()), "{log}");
    let listening = lines.iter().find(|line| line["message"] == "listening").expect("it says where it listens");
    assert!(listening["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{listening}");
}
