//! How streams begin and sessions are replaced: headers, timeouts, seats, identities, heartbeats.

use std::time::{Duration, Instant};

use signalbox_proto::v1::{Action, LeaveReason, client_message::Body as Said};
use tonic::Code;

use crate::common::{
    TestServer, assert_error, body,
    native::{Member, Stream},
    say,
};

#[tokio::test]
async fn headers_come_before_anything_is_said() {
    let server = TestServer::start(&[]).await;
    // `open` waits for the headers, and nothing was sent.
    let mut stream = Stream::open(server.addr).await;
    stream.send(say::unnumbered("", Said::Join(say::join("demo")))).await;
    body!(stream.next().await, Welcome);
}

#[tokio::test]
async fn a_stream_on_which_nothing_is_said_ends_with_join_timeout() {
    let server = TestServer::start(&["--join-timeout", "100ms"]).await;
    let opened = Instant::now();
    let mut stream = Stream::open(server.addr).await;
    let status = stream.end().await.expect_err("it must not stay open");
    assert_error(&status, Code::DeadlineExceeded, "JOIN_TIMEOUT");
    assert!(opened.elapsed() >= Duration::from_millis(100), "{:?}", opened.elapsed());
}

#[tokio::test]
async fn the_server_is_never_silent_for_longer_than_the_heartbeat() {
    // The join timeout is over by then, and is no limit for whoever has joined.
    let server = TestServer::start(&["--heartbeat", "1s", "--join-timeout", "1500ms"]).await;
    let joined = Instant::now();
    let mut member = Member::join(&server, "demo").await;
    let mut since = Instant::now();
    for count in 1..=2 {
        let message = member.next().await;
        assert_eq!(message.seq, 0, "a heartbeat is not part of the log");
        body!(message, Heartbeat);
        let silent = since.elapsed();
        assert!(silent < Duration::from_millis(1500), "silent for {silent:?}");
        assert!(joined.elapsed() >= Duration::from_secs(count), "heartbeat {count} after {:?}", joined.elapsed());
        since = Instant::now();
    }
}

#[tokio::test]
async fn a_room_takes_as_many_as_it_has_seats() {
    let server = TestServer::start(&["--max-members", "3"]).await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(Member::join(&server, "demo").await);
    }
    let refused = async |name: &str| {
        let status = Member::try_join(server.addr, say::join(name)).await.err().expect("the room is full");
        assert_error(&status, Code::ResourceExhausted, "ROOM_FULL");
    };
    refused("demo").await;
    Member::join(&server, "another").await;

    // A suspended member keeps its seat, one that left does not.
    let first = &mut members[0];
    body!(first.next().await, MemberJoined);
    body!(first.next().await, MemberJoined);
    let ticket = members.pop().expect("three").lose();
    body!(members[0].next().await, MemberUpdated);
    refused("demo").await;
    let third = Member::resume(&server, &ticket).await;
    third.say("", say::leave()).await;
    body!(members[0].next().await, MemberUpdated);
    body!(members[0].next().await, MemberLeft);
    let fourth = Member::join(&server, "demo").await;
    assert_eq!(fourth.welcome().you.as_ref().unwrap().join_order, 4, "join orders are not used again");
    refused("demo").await;
}

#[tokio::test]
async fn a_room_that_everybody_left_starts_anew() {
    let server = TestServer::start(&[]).await;
    for _ in 0..2 {
        let mut a = Member::join(&server, "demo").await;
        let mut b = Member::join(&server, "demo").await;
        let orders = [&a, &b].map(|member| member.welcome().you.as_ref().unwrap().join_order);
        assert_eq!(orders, [1, 2]);
        for member in [&mut a, &mut b] {
            member.say("", say::leave()).await;
            while let Ok(Some(_)) = member.try_next().await {}
        }
        let request = signalbox_proto::v1::GetRoomRequest { name: "demo".to_owned() };
        let room = server.rooms().await.get_room(request).await.expect("the record is kept").into_inner();
        assert_eq!(room.member_count, 0);
    }
}

#[tokio::test]
async fn an_identity_that_joins_again_takes_the_place_of_its_old_session() {
    let server = TestServer::start(&["--max-members", "3"]).await;
    let mut watcher = Member::join(&server, "demo").await;
    let mut old = Member::join_with(server.addr, say::join_as("demo", "ann")).await;
    let _third = Member::join(&server, "demo").await;
    body!(watcher.next().await, MemberJoined);
    body!(watcher.next().await, MemberJoined);
    body!(old.next().await, MemberJoined);

    // The seat of the old one is free for it, in a full room too.
    let new = Member::join_with(server.addr, say::join_as("demo", "ann")).await;
    let (go_away, status) = old.sent_away().await;
    assert_eq!((go_away.reason.as_str(), go_away.action()), ("REPLACED", Action::Stop));
    assert_error(&status, Code::Aborted, "REPLACED");
    assert_ne!(new.id, old.id, "ids are not used again");
    assert!(new.welcome().members.iter().all(|member| member.member_id != old.id));

    let left = body!(watcher.next().await, MemberLeft);
    assert_eq!((left.member_id.as_str(), left.reason()), (old.id.as_str(), LeaveReason::Replaced));
    assert_eq!(body!(watcher.next().await, MemberJoined).member.unwrap().member_id, new.id);
    let gone = Member::try_resume(server.addr, &old.lose()).await.err().expect("a replaced session is over");
    assert_error(&gone, Code::NotFound, "SESSION_GONE");
}

#[tokio::test]
async fn a_suspended_session_is_replaced_too() {
    let server = TestServer::start(&[]).await;
    let mut watcher = Member::join(&server, "demo").await;
    let old = Member::join_with(server.addr, say::join_as("demo", "ann")).await.lose();
    body!(watcher.next().await, MemberJoined);
    body!(watcher.next().await, MemberUpdated);
    let new = Member::join_with(server.addr, say::join_as("demo", "ann")).await;
    assert_eq!(body!(watcher.next().await, MemberLeft).member_id, old.id);
    assert_eq!(body!(watcher.next().await, MemberJoined).member.unwrap().member_id, new.id);
}

#[tokio::test]
async fn anonymous_members_and_equal_names_in_other_rooms_never_collide() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let b = Member::join(&server, "demo").await;
    let elsewhere = Member::join_with(server.addr, say::join_as("elsewhere", "ann")).await;
    let ann = Member::join_with(server.addr, say::join_as("demo", "ann")).await;
    for newcomer in [&b, &ann] {
        assert_eq!(body!(a.next().await, MemberJoined).member.unwrap().member_id, newcomer.id);
    }
    let mut elsewhere = elsewhere;
    elsewhere.send(say::numbered(1, "", say::heartbeat())).await;
    elsewhere.await_ack(1).await;
}
