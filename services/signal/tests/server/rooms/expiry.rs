//! Rooms that end at a given time, whoever is in them.

use std::time::{Duration, SystemTime};

use signalbox_proto::v1::{Action, ListRoomsRequest, Room};
use tonic::Code;

use super::{after, change, create, get, named};
use crate::common::{TestServer, assert_error, body, native::Member, say};

#[tokio::test]
async fn a_live_room_is_closed_when_its_time_has_come() {
    let server = TestServer::start(&["--auto-create", "false"]).await;
    let mut rooms = server.rooms().await;
    let (soon, later) = (after(Duration::from_secs(5)), after(Duration::from_secs(3600)));
    let room =
        rooms.create_room(create(Room { expires_at: soon, ..named("soon") })).await.expect("a room").into_inner();
    assert_eq!(room.expires_at.unwrap().seconds, soon.unwrap().seconds);
    rooms.create_room(create(Room { expires_at: soon, ..named("put-off") })).await.expect("a room");
    rooms.create_room(create(Room { expires_at: later, ..named("brought-forward") })).await.expect("a room");
    let mut ends = Vec::new();
    for name in ["soon", "brought-forward"] {
        ends.push(Member::join(&server, name).await);
        ends.push(Member::join(&server, name).await);
        let count = ends.len();
        body!(ends[count - 2].next().await, MemberJoined);
    }
    let mut stays = Member::join(&server, "put-off").await;
    let told = stays.welcome().room.as_ref().unwrap().expires_at;
    assert_eq!(told.unwrap().seconds, soon.unwrap().seconds, "members are told when it ends");
    change(&mut rooms, Room { expires_at: later, ..named("put-off") }, &["expires_at"]).await;
    change(&mut rooms, Room { expires_at: soon, ..named("brought-forward") }, &["expires_at"]).await;

    for member in &mut ends {
        let (go_away, status) = member.sent_away().await;
        assert_eq!((go_away.reason.as_str(), go_away.action()), ("ROOM_CLOSED", Action::Stop));
        assert_error(&status, Code::Aborted, "ROOM_CLOSED");
        assert!(SystemTime::now() >= SystemTime::try_from(soon.unwrap()).unwrap(), "not before its time");
    }
    for name in ["soon", "brought-forward"] {
        assert_error(&rooms.get_room(get(name)).await.unwrap_err(), Code::NotFound, "ROOM_NOT_FOUND");
        let gone = Member::try_join(server.addr, say::join(name)).await.err().expect("it is over");
        assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
        rooms.create_room(create(named(name))).await.expect("its name is free");
    }
    // The one that was put off goes on.
    let late = Member::join(&server, "put-off").await;
    assert_eq!(body!(stays.next().await, MemberJoined).member.unwrap().member_id, late.id);
}

#[tokio::test]
async fn a_stored_room_past_its_time_is_not_there() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let soon = after(Duration::from_secs(1));
    // The earlier of the two ends counts.
    let empty_timeout = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let room = Room { expires_at: soon, empty_timeout, max_members: 9, ..named("demo") };
    rooms.create_room(create(room)).await.expect("a room");
    tokio::time::sleep(Duration::from_millis(1010)).await;
    assert_error(&rooms.get_room(get("demo")).await.unwrap_err(), Code::NotFound, "ROOM_NOT_FOUND");
    assert!(rooms.list_rooms(ListRoomsRequest::default()).await.unwrap().into_inner().rooms.is_empty());
    let member = Member::join(&server, "demo").await;
    let room = member.welcome().room.clone().unwrap();
    assert_eq!((room.max_members, room.expires_at), (64, None), "it is a new room");
}
