//! Rooms with members in them: settings that joins obey, closing, removing, looking.

use signalbox_proto::v1::{
    Action, DeleteRoomRequest, DuplicateIdentity, GetRoomRequest, LeaveReason, ListMembersRequest, MemberState,
    RemoveMemberRequest, Room,
};
use tonic::Code;

use super::{create, named};
use crate::common::{
    TestServer, assert_error, body,
    native::Member,
    say,
    web::{Web, WebMember},
};

#[tokio::test]
async fn deleting_a_room_sends_everybody_away_for_good() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let mut native = Member::join(&server, "demo").await;
    let lost = Member::join(&server, "demo").await.lose();
    body!(native.next().await, MemberJoined);
    body!(native.next().await, MemberUpdated);
    let mut page = WebMember::join(Web::new(server.addr), say::join("demo")).await;
    body!(native.next().await, MemberJoined);
    let elsewhere = Member::join(&server, "elsewhere").await;

    rooms.delete_room(DeleteRoomRequest { name: "demo".to_owned() }).await.expect("it is deleted");
    for (go_away, status) in [native.sent_away().await, page.sent_away().await] {
        assert_eq!((go_away.reason.as_str(), go_away.action()), ("ROOM_CLOSED", Action::Stop));
        assert_error(&status, Code::Aborted, "ROOM_CLOSED");
    }
    let page = page.lose();
    for ticket in [&native.ticket(), &page, &lost] {
        let gone = Member::try_resume(server.addr, ticket).await.err().expect("its token is dead");
        assert_error(&gone, Code::NotFound, "SESSION_GONE");
    }
    let said = vec![say::unnumbered("", say::heartbeat())];
    let gone = Web::new(server.addr).send(&page.token, said).await.expect_err("its token is dead");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");

    let gone = rooms.get_room(GetRoomRequest { name: "demo".to_owned() }).await.unwrap_err();
    assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
    let gone = rooms.delete_room(DeleteRoomRequest { name: "demo".to_owned() }).await.unwrap_err();
    assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
    // A room of that name is a new one, and other rooms are as they were.
    let fresh = Member::join(&server, "demo").await;
    assert_eq!(fresh.welcome().you.as_ref().unwrap().join_order, 1);
    let next = Member::join(&server, "elsewhere").await;
    assert_eq!(next.welcome().members[0].member_id, elsewhere.id);
}

#[tokio::test]
async fn a_removed_member_is_out_at_once() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let mut watcher = Member::join(&server, "demo").await;
    let mut live = Member::join(&server, "demo").await;
    let lost = Member::join(&server, "demo").await.lose();
    for _ in 0..2 {
        body!(watcher.next().await, MemberJoined);
    }
    body!(watcher.next().await, MemberUpdated);
    body!(live.next().await, MemberJoined);
    body!(live.next().await, MemberUpdated);
    let mut remove = async |room: &str, id: &str| {
        rooms.remove_member(RemoveMemberRequest { room: room.to_owned(), member_id: id.to_owned(), ban: None }).await
    };

    for id in [&live.id, &lost.id] {
        remove("demo", id).await.expect("it is there");
        let left = body!(watcher.next().await, MemberLeft);
        assert_eq!((&left.member_id, left.reason()), (id, LeaveReason::Removed));
        assert_error(&remove("demo", id).await.unwrap_err(), Code::NotFound, "NO_SUCH_MEMBER");
    }
    let (go_away, status) = live.sent_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("REMOVED", Action::Stop));
    assert_error(&status, Code::Aborted, "REMOVED");
    for ticket in [&live.ticket(), &lost] {
        let gone = Member::try_resume(server.addr, ticket).await.err().expect("its token is dead");
        assert_error(&gone, Code::NotFound, "SESSION_GONE");
    }
    let stranger = Member::join(&server, "elsewhere").await;
    for (room, id) in [("demo", stranger.id.as_str()), ("demo", "nobody"), ("demo", ""), ("nowhere", &watcher.id)] {
        assert_error(&remove(room, id).await.unwrap_err(), Code::NotFound, "NO_SUCH_MEMBER");
    }
}

#[tokio::test]
async fn members_are_listed_in_join_order_with_their_state() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let mut list = async |room: &str| {
        let listed = rooms.list_members(ListMembersRequest { room: room.to_owned() }).await;
        listed.map(|response| response.into_inner().members)
    };
    assert_error(&list("demo").await.unwrap_err(), Code::NotFound, "ROOM_NOT_FOUND");

    let mut a = Member::join_with(server.addr, say::join_as("demo", "ann")).await;
    let b = Member::join_with(server.addr, say::join_as("demo", "bob")).await;
    let c = Member::join_with(server.addr, say::join_as("demo", "cem")).await;
    let you = [&a, &b, &c].map(|member| member.welcome().you.clone().unwrap());
    assert_eq!(list("demo").await.unwrap(), you);

    b.lose();
    body!(a.next().await, MemberJoined);
    body!(a.next().await, MemberJoined);
    body!(a.next().await, MemberUpdated);
    let states: Vec<_> = list("demo").await.unwrap().iter().map(|member| member.state()).collect();
    assert_eq!(states, [MemberState::Connected, MemberState::Suspended, MemberState::Connected]);
    let room = server.rooms().await.get_room(GetRoomRequest { name: "demo".to_owned() }).await.unwrap().into_inner();
    assert_eq!(room.member_count, 3, "suspended ones included");

    server.rooms().await.create_room(create(named("empty"))).await.expect("a room");
    assert_eq!(list("empty").await.unwrap(), []);
}

#[tokio::test]
async fn nobody_joins_a_locked_room() {
    let server = TestServer::start(&[]).await;
    server.rooms().await.create_room(create(Room { locked: true, ..named("demo") })).await.expect("a room");
    let status = Member::try_join(server.addr, say::join("demo")).await.err().expect("it is locked");
    assert_error(&status, Code::PermissionDenied, "ROOM_LOCKED");
}

#[tokio::test]
async fn only_created_rooms_can_be_joined_where_joins_create_none() {
    let server = TestServer::start(&["--auto-create", "false"]).await;
    let status = Member::try_join(server.addr, say::join("demo")).await.err().expect("there is no such room");
    assert_error(&status, Code::NotFound, "ROOM_NOT_FOUND");
    server.rooms().await.create_room(create(named("demo"))).await.expect("a room");
    let member = Member::join(&server, "demo").await;
    member.say("", say::leave()).await;
    // Nobody is in it any more, and it is still there.
    Member::join(&server, "demo").await;
}

#[tokio::test]
async fn a_created_room_has_as_many_seats_as_it_says() {
    let server = TestServer::start(&["--max-members", "1"]).await;
    server.rooms().await.create_room(create(Room { max_members: 2, ..named("two") })).await.expect("a room");
    for (room, seats) in [("two", 2), ("default", 1)] {
        let mut members = Vec::new();
        for _ in 0..seats {
            members.push(Member::join(&server, room).await);
        }
        assert_eq!(members[0].welcome().room.as_ref().unwrap().max_members, seats);
        let status = Member::try_join(server.addr, say::join(room)).await.err().expect("it is full");
        assert_error(&status, Code::ResourceExhausted, "ROOM_FULL");
    }
}

#[tokio::test]
async fn a_created_room_says_what_becomes_of_equal_identities() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    for (name, duplicate_identity) in [("reject", DuplicateIdentity::Reject), ("allow", DuplicateIdentity::Allow)] {
        let room = Room { duplicate_identity: duplicate_identity.into(), ..named(name) };
        rooms.create_room(create(room)).await.expect("a room");
    }
    let mut first = Member::join_with(server.addr, say::join_as("reject", "ann")).await;
    let refused = Member::try_join(server.addr, say::join_as("reject", "ann")).await.err().expect("ann is there");
    assert_error(&refused, Code::AlreadyExists, "IDENTITY_TAKEN");
    let other = Member::join_with(server.addr, say::join_as("reject", "bob")).await;
    let joined = body!(first.next().await, MemberJoined).member.unwrap();
    assert_eq!(joined.member_id, other.id, "the one that was refused was never there");

    let mut first = Member::join_with(server.addr, say::join_as("allow", "ann")).await;
    let mut second = Member::join_with(server.addr, say::join_as("allow", "ann")).await;
    assert_eq!(second.welcome().members[0].member_id, first.id);
    body!(first.next().await, MemberJoined);
    first.say("", say::data("both are here")).await;
    assert_eq!(body!(second.next().await, Data).text, "both are here");
}
