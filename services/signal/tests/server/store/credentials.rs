//! A database with authentication.

use mongodb::{Client, bson::doc};
use signalbox_proto::v1::{CreateRoomRequest, Room, rooms_client::RoomsClient};
use signalbox_testkit::require;
use tonic::Code;

use crate::common::{assert_error, connect, mongo::Mongo, program::Program};

const PASSWORD: &str = "hunter2/@:%?";
const ENCODED: &str = "hunter2%2F%40%3A%25%3F";

/// Runs the program with a store, creates a room; returns the outcome and the log at level `trace`.
async fn create_with(url: &str) -> (Result<Room, tonic::Status>, String) {
    let program = Program::start(&["--store", url, "--log", "trace"]).await;
    let room = Room { name: "demo".to_owned(), ..Room::default() };
    let create = CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() };
    let created = RoomsClient::new(connect(program.addr).await).create_room(create).await;
    let log = program.stop().await;
    (created.map(tonic::Response::into_inner), log)
}

#[tokio::test]
async fn credentials_are_used_and_never_logged() {
    let folder = tempfile::tempdir().unwrap();
    let mongo = require!(Mongo::standalone_in(folder, &["--auth"]).await);
    let url = |userinfo: &str| format!("mongodb://{userinfo}{}/rooms?authSource=admin", mongo.nodes[0].address());
    // Without users, a client on the same machine may create the first administrator.
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
    assert_error(&refused.expect_err("authentication is required"), Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(log.contains("requires authentication"), "{log}");
}
