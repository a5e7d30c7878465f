//! Settings of rooms: changed by field mask and etag, all or none.

use std::time::{Duration, SystemTime};

use signalbox_proto::v1::{CreateRoomRequest, DuplicateIdentity, Room, UpdateRoomRequest};
use tonic::Code;

use super::{after, change, create, get, named, update};
use crate::common::{TestServer, assert_error, assert_field_error, native::Member};

#[tokio::test]
async fn each_named_field_is_changed_and_no_other() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let before = rooms.create_room(create(named("demo"))).await.expect("a room").into_inner();
    // Each field differs from the defaults.
    let other = Room {
        display_name: "Ein Raum ü😀".to_owned(),
        max_members: 5,
        locked: true,
        expires_at: Some(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(4_000_000_000)).unwrap().into()),
        empty_timeout: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        labels: [("team".to_owned(), "red".to_owned())].into(),
        duplicate_identity: DuplicateIdentity::Reject.into(),
        relay_only: true,
        ..named("demo")
    };
    let mut expected = before.clone();
    for (path, set) in [
        ("display_name", (|room, other| room.display_name = other.display_name) as fn(&mut Room, Room)),
        ("max_members", |room, other| room.max_members = other.max_members),
        ("locked", |room, other| room.locked = other.locked),
        ("expires_at", |room, other| room.expires_at = other.expires_at),
        ("labels", |room, other| room.labels = other.labels),
        ("duplicate_identity", |room, other| room.duplicate_identity = other.duplicate_identity),
        ("relay_only", |room, other| room.relay_only = other.relay_only),
        ("empty_timeout", |room, other| room.empty_timeout = other.empty_timeout),
    ] {
        let changed = change(&mut rooms, other.clone(), &[path]).await;
        set(&mut expected, other.clone());
        assert_ne!(changed.etag, expected.etag, "{path}");
        assert!(changed.updated_at.is_some());
        (expected.etag, expected.updated_at) = (changed.etag.clone(), changed.updated_at);
        if path == "empty_timeout" {
            // It ends before `expires_at` does.
            assert!(changed.expires_at.unwrap().seconds < other.expires_at.unwrap().seconds);
            expected.expires_at = changed.expires_at;
        }
        assert_eq!(changed, expected, "{path}");
        assert_eq!(rooms.get_room(get("demo")).await.unwrap().into_inner(), expected, "{path}");
    }

    // A named field without a value gets its default.
    let all = [
        "display_name",
        "max_members",
        "locked",
        "expires_at",
        "empty_timeout",
        "labels",
        "duplicate_identity",
        "relay_only",
        "passcode",
    ];
    let reset = change(&mut rooms, named("demo"), &all).await;
    assert_eq!(reset, Room { etag: reset.etag.clone(), updated_at: reset.updated_at, ..before });
}

#[tokio::test]
async fn an_update_with_an_invalid_field_changes_nothing() {
    let server = TestServer::start(&["--max-room-members", "100"]).await;
    let mut rooms = server.rooms().await;
    let room = rooms.create_room(create(named("demo"))).await.expect("a room").into_inner();
    let bad = Room {
        display_name: "a".repeat(257),
        max_members: 101,
        expires_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        empty_timeout: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        labels: [("key".to_owned(), "a".repeat(4 * 1024))].into(),
        duplicate_identity: 4,
        ..named("demo")
    };
    for path in ["display_name", "max_members", "expires_at", "empty_timeout", "labels", "duplicate_identity"] {
        let locked = Room { locked: true, ..bad.clone() };
        let refused = rooms.update_room(update(locked, &["locked", path])).await.unwrap_err();
        assert_field_error(&refused, "INVALID_MESSAGE", &format!("room.{path}"));
    }
    for paths in [
        &[][..],
        &["*"],
        &["name"],
        &["etag"],
        &["member_count"],
        &["passcode_required"],
        &["created_at"],
        &["labels.team"],
        &["room.locked"],
        &["LOCKED"],
        &["locked", "nothing"],
        &[""],
    ] {
        let refused = rooms.update_room(update(Room { locked: true, ..named("demo") }, paths)).await.unwrap_err();
        assert_field_error(&refused, "INVALID_MESSAGE", "update_mask");
        assert!(
            refused.message().contains("duplicate_identity"),
            "it lists the fields that can be changed: {refused:?}"
        );
    }
    let unmasked = UpdateRoomRequest { room: Some(named("demo")), ..UpdateRoomRequest::default() };
    assert_field_error(&rooms.update_room(unmasked).await.unwrap_err(), "INVALID_MESSAGE", "update_mask");
    for (passcode, paths) in [("secret", &["locked"][..]), (&"a".repeat(257), &["passcode"])] {
        let request = UpdateRoomRequest { passcode: passcode.to_owned(), ..update(named("demo"), paths) };
        assert_field_error(&rooms.update_room(request).await.unwrap_err(), "INVALID_MESSAGE", "passcode");
    }
    assert_eq!(rooms.get_room(get("demo")).await.unwrap().into_inner(), room, "the room is unchanged");

    let missing = rooms.update_room(update(named("nowhere"), &["locked"])).await.unwrap_err();
    assert_error(&missing, Code::NotFound, "ROOM_NOT_FOUND");
    let nameless = rooms.update_room(update(Room::default(), &["locked"])).await.unwrap_err();
    assert_field_error(&nameless, "INVALID_ROOM_NAME", "room.name");
}

#[tokio::test]
async fn a_room_with_invalid_settings_is_not_created() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let past = Room { expires_at: Some(SystemTime::now().into()), ..named("demo") };
    assert_field_error(&rooms.create_room(create(past)).await.unwrap_err(), "INVALID_MESSAGE", "room.expires_at");
    let unprotected = Room { passcode_required: true, ..named("demo") };
    let refused = rooms.create_room(create(unprotected)).await.unwrap_err();
    assert_field_error(&refused, "INVALID_MESSAGE", "room.passcode_required");
    let long = CreateRoomRequest { passcode: "a".repeat(257), ..create(named("demo")) };
    assert_field_error(&rooms.create_room(long).await.unwrap_err(), "INVALID_MESSAGE", "passcode");
    assert_error(&rooms.get_room(get("demo")).await.unwrap_err(), Code::NotFound, "ROOM_NOT_FOUND");

    // Output-only fields are ignored.
    let odd = Room {
        member_count: 9,
        etag: "x".to_owned(),
        join_count: 9,
        created_at: after(Duration::ZERO),
        ..named("demo")
    };
    let created = rooms.create_room(create(odd)).await.expect("a room").into_inner();
    assert_eq!((created.member_count, created.etag.as_str(), created.join_count), (0, "1", 0));
    let longest = CreateRoomRequest { passcode: "a".repeat(256), ..create(named("longest")) };
    assert!(rooms.create_room(longest).await.expect("a room").into_inner().passcode_required);
}

#[tokio::test]
async fn an_update_with_an_old_etag_is_refused() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    for live in [false, true] {
        let name = if live { "live" } else { "stored" };
        let first = rooms.create_room(create(named(name))).await.expect("a room").into_inner();
        let _member = if live { Some(Member::join(&server, name).await) } else { None };
        let renamed = |etag: &str, name: &str, to: &str| Room {
            etag: etag.to_owned(),
            display_name: to.to_owned(),
            ..named(name)
        };
        let second = change(&mut rooms, renamed(&first.etag, name, "one"), &["display_name"]).await;
        for etag in [first.etag.as_str(), "0", "x", " "] {
            let stale = rooms.update_room(update(renamed(etag, name, "two"), &["display_name"])).await.unwrap_err();
            assert_error(&stale, Code::Aborted, "ETAG_MISMATCH");
        }
        let third = change(&mut rooms, renamed(&second.etag, name, "three"), &["display_name"]).await;
        let unconditional = change(&mut rooms, renamed("", name, "four"), &["display_name"]).await;
        assert_eq!((third.display_name.as_str(), unconditional.display_name.as_str()), ("three", "four"));
    }

    // Of many updates with the same etag one succeeds.
    let room = rooms.get_room(get("live")).await.unwrap().into_inner();
    let changes: Vec<_> = (1..=20)
        .map(|max_members| {
            let (mut rooms, room) = (rooms.clone(), Room { max_members, ..room.clone() });
            tokio::spawn(async move { rooms.update_room(update(room, &["max_members"])).await })
        })
        .collect();
    let mut done = Vec::new();
    for change in changes {
        match change.await.unwrap() {
            Ok(room) => done.push(room.into_inner().max_members),
            Err(status) => assert_error(&status, Code::Aborted, "ETAG_MISMATCH"),
        }
    }
    assert_eq!(done.len(), 1);
    assert_eq!(rooms.get_room(get("live")).await.unwrap().into_inner().max_members, done[0]);
}

#[tokio::test]
async fn updates_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_in(folder.path(), &[]).await;
    let mut rooms = server.rooms().await;
    rooms.create_room(create(named("demo"))).await.expect("a room");
    let member = Member::join(&server, "demo").await;
    let changed =
        change(&mut rooms, Room { max_members: 2, relay_only: true, ..named("demo") }, &["max_members", "relay_only"])
            .await;
    drop((member, rooms));
    server.stop().await;
    let server = TestServer::start_in(folder.path(), &[]).await;
    let member = Member::join(&server, "demo").await;
    let room = member.welcome().room.clone().unwrap();
    assert_eq!((room.max_members, room.relay_only, room.etag), (2, true, changed.etag));
}
