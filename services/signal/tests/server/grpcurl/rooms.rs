//! The documented commands for operators, run as they are.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use signalbox_proto::v1::Join;
use signalbox_testkit::require;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::binary;
use crate::common::{DEADLINE, TestServer, body, messages, native::Member, within};

/// The commands of docs/rooms.md that call a method of Rooms, for this server.
fn lines(server: &TestServer) -> Vec<String> {
    let page = include_str!("../../../../../docs/rooms.md");
    let (_, section) = page.split_once("## Manage rooms with grpcurl\n").expect("the section exists");
    let (_, code) = section.split_once("```sh\n").expect("it has commands");
    let (code, _) = code.split_once("```").expect("which end");
    let here = server.addr.to_string();
    code.lines().map(|line| line.replace("127.0.0.1:50051", &here)).collect()
}

/// Runs a command in a shell whose path has grpcurl.
fn start(binary: &Path, line: &str) -> Child {
    let folder = binary.parent().expect("a file is in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("sh")
        .args(["-c", &format!("exec {line}")])
        .env("PATH", format!("{}:{path}", folder.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a shell")
}

/// Runs a command; returns its output.
async fn output_of(binary: &Path, line: &str) -> Value {
    let output = within(DEADLINE, start(binary, line).wait_with_output()).await.expect("a child");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}\n{error}"))
}

#[tokio::test]
async fn each_command_of_the_readme_works() {
    let binary = require!(binary());
    let answer = async |line: &str| output_of(&binary, line).await;
    let server = TestServer::start(&[]).await;
    let lines = lines(&server);
    let methods = ["Create", "Get", "List", "Update", "Watch", "ListMembers", "RemoveMember", "Delete"];
    assert_eq!(lines.len(), methods.len(), "one for each method");
    for (line, method) in lines.iter().zip(methods) {
        assert!(line.contains(&format!(" signalbox.v1.Rooms/{method}")), "{line}");
    }
    let [create, get, list, update, watch, members, remove, delete] = &lines[..] else { unreachable!("counted") };

    let created = answer(create).await;
    let fields = ["name", "maxMembers", "passcodeRequired", "labels", "memberCount"].map(|field| &created[field]);
    assert_eq!(fields, [&json!("team"), &json!(10), &json!(true), &json!({ "floor": "2" }), &Value::Null]);
    assert_eq!(answer(get).await, created);
    assert_eq!(answer(list).await, json!({ "rooms": [created] }));

    let join = |identity: &str| Join { passcode: "open sesame".to_owned(), ..messages::join_as("team", identity) };
    let mut ann = Member::join_with(server.addr, join("ann")).await;
    let mut eve = Member::join_with(server.addr, join("eve")).await;
    body!(ann.next().await, MemberJoined);
    let updated = answer(update).await;
    let fields = ["locked", "passcodeRequired", "memberCount", "maxMembers", "joinCount"].map(|field| &updated[field]);
    assert_eq!(fields, [&json!(true), &Value::Null, &json!(2), &json!(10), &json!("2")]);
    assert_ne!(updated["etag"], created["etag"]);

    // The watch stays open.
    let mut watch = start(&binary, watch);
    let mut printed = BufReader::new(watch.stdout.take().expect("piped")).lines();
    let mut next_event = async || {
        let mut text = String::new();
        loop {
            let line = within(DEADLINE, printed.next_line()).await.expect("text").expect("the watch continues");
            text.push_str(&line);
            if line == "}" {
                return serde_json::from_str::<Value>(&text).expect("JSON");
            }
        }
    };
    for member in [&ann, &eve] {
        assert_eq!(next_event().await["memberJoined"]["member"]["memberId"], member.id.as_str());
    }
    let listed = answer(members).await;
    let identities: Vec<_> = listed["members"].as_array().expect("a list").iter().map(|m| &m["identity"]).collect();
    assert_eq!(identities, ["ann", "eve"]);

    assert_eq!(answer(&remove.replace("<memberId>", &eve.id)).await, json!({}));
    assert_eq!(eve.expect_go_away().await.0.reason, "REMOVED");
    body!(ann.next().await, MemberLeft);
    let mut events = [next_event().await, next_event().await];
    events.sort_by_key(|event| event["memberLeft"].is_null());
    assert_eq!(events[0]["memberLeft"], json!({ "memberId": eve.id, "reason": "LEAVE_REASON_REMOVED" }));
    assert_eq!(events[1]["roomUpdated"]["name"], "team", "bans are settings");

    assert_eq!(answer(delete).await, json!({}));
    assert_eq!(ann.expect_go_away().await.0.reason, "ROOM_CLOSED");
    assert_eq!(next_event().await["memberLeft"]["reason"], "LEAVE_REASON_ROOM_CLOSED");
    let output = within(DEADLINE, watch.wait_with_output()).await.expect("a child");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Code: Aborted"), "{output:?}");
}
