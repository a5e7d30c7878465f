//! Rooms that end at a set time, with or without members.

use std::time::{Duration, SystemTime};

use signalbox_proto::v1::{Action, ListRoomsRequest, Room};
use signalbox_testkit::eventually;
use tonic::Code;

use super::{after, change, create, get, named};
use crate::common::{DEADLINE, TestServer, assert_error, body, messages, native::Member};

#[tokio::test]
async fn a_live_room_is_closed_when_it_expires() {
    let server = TestServer::start(&["--auto-create", "false"]).await;
    let mut rooms = server.rooms().await;
    let (soon, later) = (after(Duration::from_secs(5)), after(Duration::from_secs(3600)));
    let room =
        rooms.create_room(create(Room { expires_at: soon, ..named("soon") })).await.expect("a room").into_inner();
    assert_eq!(room.expires_at.unwrap().seconds, soon.unwrap().seconds);
    rooms.create_room(create(Room { expires_at: soon, ..named("extended") })).await.expect("a room");
    rooms.create_room(create(Room { expires_at: later, ..named("shortened") })).await.expect("a room");
    let mut ends = Vec::new();
    for name in ["soon", "shortened"] {
        ends.push(Member::join(&server, name).await);
        ends.push(Member::join(&server, name).await);
        let count = ends.len();
        body!(ends[count - 2].next().await, MemberJoined);
    }
    let mut stays = Member::join(&server, "extended").await;
    let expires_at = stays.welcome().room.as_ref().unwrap().expires_at;
    assert_eq!(expires_at.unwrap().seconds, soon.unwrap().seconds);
    change(&mut rooms, Room { expires_at: later, ..named("extended") }, &["expires_at"]).await;
    change(&mut rooms, Room { expires_at: soon, ..named("shortened") }, &["expires_at"]).await;

    for member in &mut ends {
        let (go_away, status) = member.expect_go_away().await;
        assert_eq!((go_away.reason.as_str(), go_away.action()), ("ROOM_CLOSED", Action::Stop));
        assert_error(&status, Code::Aborted, "ROOM_CLOSED");
        assert!(SystemTime::now() >= SystemTime::try_from(soon.unwrap()).unwrap(), "it was closed early");
    }
    for name in ["soon", "shortened"] {
        assert_error(&rooms.get_room(get(name)).await.unwrap_err(), Code::NotFound, "ROOM_NOT_FOUND");
        let gone = Member::try_join(server.addr, messages::join(name)).await.err().expect("it is closed");
        assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
        rooms.create_room(create(named(name))).await.expect("its name is free");
    }
    // The extended room continues.
    let late = Member::join(&server, "extended").await;
    assert_eq!(body!(stays.next().await, MemberJoined).member.unwrap().member_id, late.id);
}

#[tokio::test]
async fn an_expired_stored_room_is_not_found() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let soon = after(Duration::from_secs(1));
    // The earlier of both ends counts.
    let empty_timeout = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let room = Room { expires_at: soon, empty_timeout, max_members: 9, ..named("demo") };
    rooms.create_room(create(room)).await.expect("a room");
    let expired = eventually(DEADLINE, "it expires", async || rooms.get_room(get("demo")).await.err()).await;
    assert_error(&expired, Code::NotFound, "ROOM_NOT_FOUND");
    assert!(SystemTime::now() >= SystemTime::try_from(soon.unwrap()).unwrap(), "it expired early");
    assert!(rooms.list_rooms(ListRoomsRequest::default()).await.unwrap().into_inner().rooms.is_empty());
    let member = Member::join(&server, "demo").await;
    let room = member.welcome().room.clone().unwrap();
    assert_eq!((room.max_members, room.expires_at), (64, None), "it is a new room");
}
