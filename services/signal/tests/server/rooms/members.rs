//! Rooms with members: settings that apply to joins, deletion, removal, lists.

use signalbox_proto::v1::{
    Action, DeleteRoomRequest, DuplicateIdentity, GetRoomRequest, LeaveReason, ListMembersRequest, MemberState,
    RemoveMemberRequest, Room,
};
use tonic::Code;

use super::{create, named};
use crate::common::{
    TestServer, assert_error, body, messages,
    native::Member,
    web::{WebClient, WebMember},
};

#[tokio::test]
async fn deleting_a_room_ends_all_sessions() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let mut native = Member::join(&server, "demo").await;
    let lost = Member::join(&server, "demo").await.disconnect();
    body!(native.next().await, MemberJoined);
    body!(native.next().await, MemberUpdated);
    let mut page = WebMember::join(WebClient::new(server.addr), messages::join("demo")).await;
    body!(native.next().await, MemberJoined);
    let elsewhere = Member::join(&server, "elsewhere").await;

    rooms.delete_room(DeleteRoomRequest { name: "demo".to_owned() }).await.expect("it is deleted");
    for (go_away, status) in [native.expect_go_away().await, page.expect_go_away().await] {
        assert_eq!((go_away.reason.as_str(), go_away.action()), ("ROOM_CLOSED", Action::Stop));
        assert_error(&status, Code::Aborted, "ROOM_CLOSED");
    }
    let page = page.disconnect();
    for ticket in [&native.ticket(), &page, &lost] {
        let gone = Member::try_resume(server.addr, ticket).await.err().expect("its token is invalid");
        assert_error(&gone, Code::NotFound, "SESSION_GONE");
    }
    let batch = vec![messages::unnumbered("", messages::heartbeat())];
    let gone = WebClient::new(server.addr).send(&page.token, batch).await.expect_err("its token is invalid");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");

    let gone = rooms.get_room(GetRoomRequest { name: "demo".to_owned() }).await.unwrap_err();
    assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
    let gone = rooms.delete_room(DeleteRoomRequest { name: "demo".to_owned() }).await.unwrap_err();
    assert_error(&gone, Code::NotFound, "ROOM_NOT_FOUND");
    // The next room of that name is a new one. Other rooms are not affected.
    let fresh = Member::join(&server, "demo").await;
    assert_eq!(fresh.welcome().you.as_ref().unwrap().join_order, 1);
    let next = Member::join(&server, "elsewhere").await;
    assert_eq!(next.welcome().members[0].member_id, elsewhere.id);
}

#[tokio::test]
async fn removing_a_member_ends_its_session_at_once() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let mut watcher = Member::join(&server, "demo").await;
    let mut live = Member::join(&server, "demo").await;
    let lost = Member::join(&server, "demo").await.disconnect();
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
        remove("demo", id).await.expect("it is a member");
        let left = body!(watcher.next().await, MemberLeft);
        assert_eq!((&left.member_id, left.reason()), (id, LeaveReason::Removed));
        assert_error(&remove("demo", id).await.unwrap_err(), Code::NotFound, "NO_SUCH_MEMBER");
    }
    let (go_away, status) = live.expect_go_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("REMOVED", Action::Stop));
    assert_error(&status, Code::Aborted, "REMOVED");
    for ticket in [&live.ticket(), &lost] {
        let gone = Member::try_resume(server.addr, ticket).await.err().expect("its token is invalid");
        assert_error(&gone, Code::NotFound, "SESSION_GONE");
    }
    let stranger = Member::join(&server, "elsewhere").await;
    for (room, id) in [("demo", stranger.id.as_str()), ("demo", "unknown"), ("demo", ""), ("nowhere", &watcher.id)] {
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

    let mut a = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    let b = Member::join_with(server.addr, messages::join_as("demo", "bob")).await;
    let c = Member::join_with(server.addr, messages::join_as("demo", "cem")).await;
    let you = [&a, &b, &c].map(|member| member.welcome().you.clone().unwrap());
    assert_eq!(list("demo").await.unwrap(), you);

    b.disconnect();
    body!(a.next().await, MemberJoined);
    body!(a.next().await, MemberJoined);
    body!(a.next().await, MemberUpdated);
    let states: Vec<_> = list("demo").await.unwrap().iter().map(|member| member.state()).collect();
    assert_eq!(states, [MemberState::Connected, MemberState::Suspended, MemberState::Connected]);
    let room = server.rooms().await.get_room(GetRoomRequest { name: "demo".to_owned() }).await.unwrap().into_inner();
    assert_eq!(room.member_count, 3, "suspended members count");

    server.rooms().await.create_room(create(named("empty"))).await.expect("a room");
    assert_eq!(list("empty").await.unwrap(), []);
}

#[tokio::test]
async fn a_locked_room_refuses_joins() {
    let server = TestServer::start(&[]).await;
    server.rooms().await.create_room(create(Room { locked: true, ..named("demo") })).await.expect("a room");
    let status = Member::try_join(server.addr, messages::join("demo")).await.err().expect("it is locked");
    assert_error(&status, Code::PermissionDenied, "ROOM_LOCKED");
}

#[tokio::test]
async fn without_auto_create_only_created_rooms_can_be_joined() {
    let server = TestServer::start(&["--auto-create", "false"]).await;
    let status = Member::try_join(server.addr, messages::join("demo")).await.err().expect("there is no such room");
    assert_error(&status, Code::NotFound, "ROOM_NOT_FOUND");
    server.rooms().await.create_room(create(named("demo"))).await.expect("a room");
    let member = Member::join(&server, "demo").await;
    member.send("", messages::leave()).await;
    // The room is empty, but still exists.
    Member::join(&server, "demo").await;
}

#[tokio::test]
async fn max_members_of_a_room_overrides_the_default() {
    let server = TestServer::start(&["--max-members", "1"]).await;
    server.rooms().await.create_room(create(Room { max_members: 2, ..named("two") })).await.expect("a room");
    for (room, limit) in [("two", 2), ("default", 1)] {
        let mut members = Vec::new();
        for _ in 0..limit {
            members.push(Member::join(&server, room).await);
        }
        assert_eq!(members[0].welcome().room.as_ref().unwrap().max_members, limit);
        let status = Member::try_join(server.addr, messages::join(room)).await.err().expect("it is full");
        assert_error(&status, Code::ResourceExhausted, "ROOM_FULL");
    }
}

#[tokio::test]
async fn duplicate_identity_of_a_room_is_applied_to_joins() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    for (name, duplicate_identity) in [("reject", DuplicateIdentity::Reject), ("allow", DuplicateIdentity::Allow)] {
        let room = Room { duplicate_identity: duplicate_identity.into(), ..named(name) };
        rooms.create_room(create(room)).await.expect("a room");
    }
    let mut first = Member::join_with(server.addr, messages::join_as("reject", "ann")).await;
    let refused =
        Member::try_join(server.addr, messages::join_as("reject", "ann")).await.err().expect("ann is a member");
    assert_error(&refused, Code::AlreadyExists, "IDENTITY_TAKEN");
    let other = Member::join_with(server.addr, messages::join_as("reject", "bob")).await;
    let joined = body!(first.next().await, MemberJoined).member.unwrap();
    assert_eq!(joined.member_id, other.id, "the refused join is not visible");

    let mut first = Member::join_with(server.addr, messages::join_as("allow", "ann")).await;
    let mut second = Member::join_with(server.addr, messages::join_as("allow", "ann")).await;
    assert_eq!(second.welcome().members[0].member_id, first.id);
    body!(first.next().await, MemberJoined);
    first.send("", messages::data("both are members")).await;
    assert_eq!(body!(second.next().await, Data).text, "both are members");
}
