//! A database that asks who one is.

use mongodb::{Client, bson::doc};
use rustix::process::Signal;
use signalbox_proto::v1::{CreateRoomRequest, Room, rooms_client::RoomsClient};
use tonic::Code;

use crate::common::{assert_error, connect, mongo::Mongo, program::Program};

const PASSWORD: &str = "hunter2/@:%?";
const ENCODED: &str = "hunter2%2F%40%3A%25%3F";

/// Runs the program on a URL, creates a room, and returns what came of that, and the log at its most talkative.
async fn create_with(url: &str) -> (Result<Room, tonic::Status>, String) {
    let program = Program::start(&["--store", url, "--log", "trace"]).await;
    let room = Room { name: "demo".to_owned(), ..Room::default() };
    let create = CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() };
    let created = RoomsClient::new(connect(program.addr).await).create_room(create).await;
    program.signal(Signal::TERM);
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    (created.map(tonic::Response::into_inner), log)
}

#[tokio::test]
async fn credentials_are_used_and_never_logged() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mongo) = Mongo::standalone_in(folder, &["--auth"]).await else { return };
    let url = |userinfo: &str| format!("mongodb://{userinfo}{}/rooms?authSource=admin", mongo.nodes[0].address());
    // Without any user yet, whoever is on the same machine may make the first one, and only an administrator.
    mongo.nodes[0].admin(doc! { "createUser": "root", "pwd": "root", "roles": ["root"] }).await;
    let admin = Client::with_uri_str(url("root:root@")).await.unwrap().database("admin");
    let roles = vec![doc! { "role": "readWrite", "db": "rooms" }];
    admin.run_command(doc! { "createUser": "ada", "pwd": PASSWORD, "roles": roles }).await.unwrap();

    let (created, log) = create_with(&url(&format!("ada:{ENCODED}@"))).await;
    assert_eq!(created.expect("a room").name, "demo");
    assert!(log.contains(&format!("mongodb://{}/rooms", mongo.nodes[0].address())), "{log}");
    assert!(!log.contains("hunter2"), "{log}");

    let (refused, log) = create_with(&url("ada:wrong-hunter2@")).await;
    assert_error(&refused.expect_err("the password is wrong"), Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(log.contains("uthentication failed"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");

    let (refused, log) = create_with(&url("")).await;
    assert_error(&refused.expect_err("nobody may do that"), Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(log.contains("requires authentication"), "{log}");
}
