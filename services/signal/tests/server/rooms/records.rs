//! Room records: created, found, listed, stored.

use signalbox_proto::v1::{CreateRoomRequest, DeleteRoomRequest, DuplicateIdentity, ListRoomsRequest, Room};
use signalbox_testkit::eventually;
use tonic::Code;

use super::{create, get, named};
use crate::common::{
    DEADLINE, TestServer, assert_error,
    internals::{EmbeddedStore, Record, Settings, Store, now_ms, room_name},
    messages,
    native::Member,
    web::WebClient,
};

#[tokio::test]
async fn a_created_room_has_the_requested_settings() {
    let server = TestServer::start(&["--max-members", "7"]).await;
    let mut rooms = server.rooms().await;
    let requested = Room {
        display_name: "Ein Raum ü😀".to_owned(),
        max_members: 3,
        locked: true,
        empty_timeout: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        labels: [("team".to_owned(), "red".to_owned())].into(),
        duplicate_identity: DuplicateIdentity::Reject.into(),
        ..named("demo")
    };
    let created = rooms.create_room(create(requested.clone())).await.expect("a room").into_inner();
    assert!(created.created_at.is_some() && created.expires_at.is_some() && !created.etag.is_empty());
    assert_eq!((created.updated_at, created.last_active_at), (created.created_at, None));
    let settings =
        Room { created_at: None, updated_at: None, expires_at: None, etag: String::new(), ..created.clone() };
    assert_eq!(settings, requested);
    assert_eq!(rooms.get_room(get("demo")).await.unwrap().into_inner(), created);

    // A second request with other settings changes nothing.
    let again = rooms.create_room(create(named("demo"))).await.expect_err("it exists");
    assert_error(&again, Code::AlreadyExists, "ROOM_EXISTS");
    assert_eq!(rooms.get_room(get("demo")).await.unwrap().into_inner(), created);

    let plain = rooms.create_room(create(named("plain"))).await.unwrap().into_inner();
    assert_eq!((plain.max_members, plain.duplicate_identity()), (7, DuplicateIdentity::Replace));
    assert_eq!((plain.expires_at, plain.empty_timeout), (None, None), "it is kept until deleted");
}

#[tokio::test]
async fn a_room_without_a_name_gets_an_unguessable_one() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let mut names = Vec::new();
    for request in [CreateRoomRequest::default(), create(Room::default())] {
        let name = rooms.create_room(request).await.expect("a room").into_inner().name;
        assert!(name.len() >= 22, "128 bits: {name}");
        Member::join(&server, &name).await;
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
}

#[tokio::test]
async fn a_room_created_by_a_join_has_the_defaults_of_the_server() {
    let server = TestServer::start(&["--empty-timeout", "90s", "--max-members", "5"]).await;
    let mut rooms = server.rooms().await;
    let missing = rooms.get_room(get("demo")).await.unwrap_err();
    assert_error(&missing, Code::NotFound, "ROOM_NOT_FOUND");

    let mut member = Member::join(&server, "demo").await;
    let room = rooms.get_room(get("demo")).await.unwrap().into_inner();
    let without_counters =
        Room { updated_at: None, last_active_at: None, join_count: 0, call_count: 0, ..room.clone() };
    assert_eq!(Some(&without_counters), member.welcome().room.as_ref(), "a welcome has the same without counters");
    assert_eq!((room.join_count, room.call_count), (1, 0));
    assert!(room.last_active_at.is_some(), "now");
    assert_eq!((room.max_members, room.member_count, room.expires_at), (5, 1, None));
    assert_eq!(room.empty_timeout.map(|timeout| timeout.seconds), Some(90));

    member.send("", messages::leave()).await;
    assert!(member.end().await.is_ok());
    let room = rooms.get_room(get("demo")).await.unwrap().into_inner();
    assert_eq!(room.member_count, 0);
    assert!(room.expires_at.is_some(), "the empty timeout has started");
}

/// A record that an earlier run of the server left.
fn left_behind(name: &str, expires_at_ms: u64) -> Record {
    let settings = Settings { max_members: Some(9), empty_timeout_ms: Some(1), ..Settings::default() };
    Record {
        idle_until_ms: Some(expires_at_ms),
        expires_at_ms: Some(expires_at_ms),
        ..Record::new(&room_name(name), settings, 1)
    }
}

#[tokio::test]
async fn a_record_that_expires_while_the_server_runs_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path().to_owned()).await.unwrap();
    let expires_at_ms = now_ms() + 300;
    for record in [left_behind("expired", expires_at_ms), left_behind("kept", expires_at_ms + 60_000)] {
        store.create(record).await.expect("a record");
    }
    drop(store);

    // The server deletes expired records at its start and then every 30 s, so this one is still stored when it expires.
    let server = TestServer::start_in(folder.path(), &["--auto-create", "false"]).await;
    let mut rooms = server.rooms().await;
    let gone = eventually(DEADLINE, "it expires", async || rooms.get_room(get("expired")).await.err()).await;
    assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
    assert_eq!(pages(&server, ListRoomsRequest::default()).await, [["kept"]]);
    let gone = Member::try_join(server.addr, messages::join("expired")).await.err().expect("it has expired");
    assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
    let gone = rooms.delete_room(DeleteRoomRequest { name: "expired".to_owned() }).await.unwrap_err();
    assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
    let kept = Member::join(&server, "kept").await;
    assert_eq!(kept.welcome().room.as_ref().unwrap().max_members, 9);
    let new = rooms.create_room(create(named("expired"))).await.expect("its name is free").into_inner();
    assert_eq!(new.max_members, 64);
}

/// The names on each page of a list.
async fn pages(server: &TestServer, request: ListRoomsRequest) -> Vec<Vec<String>> {
    let mut rooms = server.rooms().await;
    let (mut request, mut pages) = (request, Vec::new());
    loop {
        let page = rooms.list_rooms(request.clone()).await.expect("a page").into_inner();
        pages.push(page.rooms.into_iter().map(|room| room.name).collect());
        if page.next_page_token.is_empty() {
            return pages;
        }
        request.page_token = page.next_page_token;
        assert!(pages.len() < 20, "the list does not end: {pages:?}");
    }
}

#[tokio::test]
async fn rooms_are_listed_by_name_in_pages() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    assert_eq!(pages(&server, ListRoomsRequest::default()).await, [[""; 0]]);
    for (name, team) in [("b", "red"), ("d", "blue"), ("a", "red"), ("e", "red"), ("c", "blue")] {
        let labels = [("team".to_owned(), team.to_owned()), ("floor".to_owned(), "1".to_owned())].into();
        rooms.create_room(create(Room { labels, ..named(name) })).await.expect("a room");
    }
    let sized = |page_size| ListRoomsRequest { page_size, ..ListRoomsRequest::default() };
    assert_eq!(pages(&server, sized(0)).await, [["a", "b", "c", "d", "e"]]);
    assert_eq!(pages(&server, sized(5)).await, [["a", "b", "c", "d", "e"]], "no empty page at the end");
    assert_eq!(pages(&server, sized(6)).await, [["a", "b", "c", "d", "e"]]);
    let by_two: [&[&str]; 3] = [&["a", "b"], &["c", "d"], &["e"]];
    assert_eq!(pages(&server, sized(2)).await, by_two);

    let of = |labels: &[(&str, &str)], page_size| ListRoomsRequest {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        page_size,
        ..ListRoomsRequest::default()
    };
    assert_eq!(pages(&server, of(&[("team", "red")], 0)).await, [["a", "b", "e"]]);
    assert_eq!(pages(&server, of(&[("team", "blue"), ("floor", "1")], 0)).await, [["c", "d"]]);
    assert_eq!(pages(&server, of(&[("team", "blue"), ("floor", "2")], 0)).await, [[""; 0]]);
    // With any page size each room is on one page.
    assert_eq!(pages(&server, of(&[("team", "red")], 1)).await.concat(), ["a", "b", "e"]);

    let _in_d = Member::join(&server, "d").await;
    let _in_new = Member::join(&server, "new").await;
    let live = ListRoomsRequest { live_only: true, ..ListRoomsRequest::default() };
    assert_eq!(pages(&server, live.clone()).await, [["d", "new"]]);
    let red = of(&[("team", "red")], 0);
    assert_eq!(pages(&server, ListRoomsRequest { live_only: true, ..red }).await, [[""; 0]]);
    let listed = rooms.list_rooms(live.clone()).await.unwrap().into_inner().rooms;
    let got = rooms.get_room(get("d")).await.unwrap().into_inner();
    // `last_active_at` is now, which is a little later.
    assert_eq!(listed[0], Room { last_active_at: listed[0].last_active_at, ..got });
    assert_eq!(pages(&server, ListRoomsRequest { page_size: 1, ..live }).await, [["d"], ["new"]]);
}

#[tokio::test]
async fn records_survive_a_restart_and_sessions_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_in(folder.path(), &[]).await;
    let mut rooms = server.rooms().await;
    let labels = [("team".to_owned(), "red".to_owned())].into();
    let kept = Room { max_members: 2, labels, ..named("kept") };
    let kept = rooms.create_room(create(kept)).await.expect("a room").into_inner();
    rooms.create_room(create(named("deleted"))).await.expect("a room");
    rooms.delete_room(DeleteRoomRequest { name: "deleted".to_owned() }).await.expect("it is deleted");
    let ticket = Member::join(&server, "kept").await.disconnect();
    Member::join(&server, "joined").await.disconnect();
    drop(rooms);
    server.stop().await;

    let server = TestServer::start_in(folder.path(), &[]).await;
    let mut rooms = server.rooms().await;
    let now = rooms.get_room(get("kept")).await.unwrap().into_inner();
    assert_eq!(now.join_count, 1, "counters are stored before the server ends");
    assert!(now.last_active_at.is_some());
    assert_eq!(Room { join_count: 0, last_active_at: None, ..now }, kept);
    assert_eq!(pages(&server, ListRoomsRequest::default()).await, [["joined", "kept"]]);
    let gone = Member::try_resume(server.addr, &ticket).await.err().expect("live state was in memory");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");
    let member = Member::join(&server, "kept").await;
    assert_eq!(member.welcome().room.as_ref().unwrap().max_members, 2);
}

#[tokio::test]
async fn rooms_is_served_over_grpc_web() {
    let server = TestServer::start(&[]).await;
    let web = WebClient::new(server.addr);
    let created: Room = web.unary("/signalbox.v1.Rooms/CreateRoom", &create(named("demo"))).await.expect("a room");
    let got: Room = web.unary("/signalbox.v1.Rooms/GetRoom", &get("demo")).await.expect("the room");
    assert_eq!(got, created);
    let missing = web.unary::<Room>("/signalbox.v1.Rooms/GetRoom", &get("nowhere")).await.expect_err("no such room");
    assert_error(&missing, Code::NotFound, "ROOM_NOT_FOUND");
}
