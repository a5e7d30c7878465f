//! The start of sessions: headers, join timeout, member limit, identities. And heartbeats.

use std::time::{Duration, Instant};

use signalbox_proto::v1::{Action, LeaveReason, client_message::Body as ClientBody};
use tonic::Code;

use crate::common::{
    TestServer, assert_error, body, messages,
    native::{Member, Stream},
};

#[tokio::test]
async fn headers_come_before_the_first_message() {
    let server = TestServer::start(&[]).await;
    // `open` waits for the headers, and nothing was sent.
    let mut stream = Stream::open(server.addr).await;
    stream.send_message(messages::unnumbered("", ClientBody::Join(messages::join("demo")))).await;
    body!(stream.next().await, Welcome);
}

#[tokio::test]
async fn a_stream_without_a_join_ends_with_join_timeout() {
    let server = TestServer::start(&["--join-timeout", "100ms"]).await;
    let opened = Instant::now();
    let mut stream = Stream::open(server.addr).await;
    let status = stream.end().await.expect_err("it must not stay open");
    assert_error(&status, Code::DeadlineExceeded, "JOIN_TIMEOUT");
    assert!(opened.elapsed() >= Duration::from_millis(100), "{:?}", opened.elapsed());
}

#[tokio::test]
async fn heartbeats_arrive_on_a_joined_stream_beyond_the_join_timeout() {
    let server = TestServer::start(&["--heartbeat", "1s", "--join-timeout", "1500ms"]).await;
    let mut member = Member::join(&server, "demo").await;
    for _ in 0..2 {
        let message = member.next().await;
        assert_eq!(message.seq, 0, "a heartbeat has no sequence number");
        body!(message, Heartbeat);
    }
}

#[tokio::test]
async fn a_full_room_refuses_joins() {
    let server = TestServer::start(&["--max-members", "3"]).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::join(&server, "demo").await);
    }
    let refused = async |name: &str| {
        let status = Member::try_join(server.addr, messages::join(name)).await.err().expect("the room is full");
        assert_error(&status, Code::ResourceExhausted, "ROOM_FULL");
    };
    refused("demo").await;
    Member::join(&server, "another").await;

    // A suspended member counts, one that left does not.
    let first = &mut members[0];
    body!(first.next().await, MemberJoined);
    body!(first.next().await, MemberJoined);
    let ticket = members.pop().expect("three").disconnect();
    body!(members[0].next().await, MemberUpdated);
    refused("demo").await;
    let third = Member::resume(&server, &ticket).await;
    third.send("", messages::leave()).await;
    body!(members[0].next().await, MemberUpdated);
    body!(members[0].next().await, MemberLeft);
    let fourth = Member::join(&server, "demo").await;
    assert_eq!(fourth.welcome().you.as_ref().unwrap().join_order, 4, "join orders are not reused");
    refused("demo").await;
}

#[tokio::test]
async fn join_orders_start_again_in_an_empty_room() {
    let server = TestServer::start(&[]).await;
    for _ in 0..2 {
        let mut a = Member::join(&server, "demo").await;
        let mut b = Member::join(&server, "demo").await;
        let orders = [&a, &b].map(|member| member.welcome().you.as_ref().unwrap().join_order);
        assert_eq!(orders, [1, 2]);
        for member in [&mut a, &mut b] {
            member.send("", messages::leave()).await;
            while let Ok(Some(_)) = member.try_next().await {}
        }
        let request = signalbox_proto::v1::GetRoomRequest { name: "demo".to_owned() };
        let room = server.rooms().await.get_room(request).await.expect("the record is kept").into_inner();
        assert_eq!(room.member_count, 0);
    }
}

#[tokio::test]
async fn a_second_join_of_an_identity_replaces_its_session() {
    let server = TestServer::start(&["--max-members", "3"]).await;
    let mut watcher = Member::join(&server, "demo").await;
    let mut old = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    let _third = Member::join(&server, "demo").await;
    body!(watcher.next().await, MemberJoined);
    body!(watcher.next().await, MemberJoined);
    body!(old.next().await, MemberJoined);

    // In a full room, too: it takes the place of the old session.
    let new = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    let (go_away, status) = old.expect_go_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("REPLACED", Action::Stop));
    assert_error(&status, Code::Aborted, "REPLACED");
    assert_ne!(new.id, old.id, "ids are not reused");
    assert!(new.welcome().members.iter().all(|member| member.member_id != old.id));

    let left = body!(watcher.next().await, MemberLeft);
    assert_eq!((left.member_id.as_str(), left.reason()), (old.id.as_str(), LeaveReason::Replaced));
    assert_eq!(body!(watcher.next().await, MemberJoined).member.unwrap().member_id, new.id);
    let gone = Member::try_resume(server.addr, &old.disconnect()).await.err().expect("a replaced session is over");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");
}

#[tokio::test]
async fn a_suspended_session_is_replaced() {
    let server = TestServer::start(&[]).await;
    let mut watcher = Member::join(&server, "demo").await;
    let old = Member::join_with(server.addr, messages::join_as("demo", "ann")).await.disconnect();
    body!(watcher.next().await, MemberJoined);
    body!(watcher.next().await, MemberUpdated);
    let new = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    assert_eq!(body!(watcher.next().await, MemberLeft).member_id, old.id);
    assert_eq!(body!(watcher.next().await, MemberJoined).member.unwrap().member_id, new.id);
}

#[tokio::test]
async fn anonymous_members_and_identities_of_other_rooms_are_not_replaced() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let b = Member::join(&server, "demo").await;
    let elsewhere = Member::join_with(server.addr, messages::join_as("elsewhere", "ann")).await;
    let ann = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    for newcomer in [&b, &ann] {
        assert_eq!(body!(a.next().await, MemberJoined).member.unwrap().member_id, newcomer.id);
    }
    let mut elsewhere = elsewhere;
    elsewhere.send_message(messages::numbered(1, "", messages::heartbeat())).await;
    elsewhere.await_ack(1).await;
}
