//! Settings of live rooms: changed at once, for later joins.

use signalbox_proto::v1::{DuplicateIdentity, Room};
use tonic::Code;

use super::{change, create, named};
use crate::common::{TestServer, assert_error, body, messages, native::Member};

#[tokio::test]
async fn a_lower_max_members_ends_no_session_and_allows_resumes() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let mut a = Member::join(&server, "demo").await;
    let b = Member::join(&server, "demo").await;
    let c = Member::join(&server, "demo").await;
    for _ in 0..2 {
        body!(a.next().await, MemberJoined);
    }
    let room = change(&mut rooms, Room { max_members: 1, ..named("demo") }, &["max_members"]).await;
    assert_eq!((room.max_members, room.member_count), (1, 3));

    let c = c.disconnect();
    body!(a.next().await, MemberUpdated);
    let full = async || Member::try_join(server.addr, messages::join("demo")).await.err().expect("it is full");
    assert_error(&full().await, Code::ResourceExhausted, "ROOM_FULL");
    let c = Member::resume(&server, &c).await;
    body!(a.next().await, MemberUpdated);
    a.send(&c.id, messages::offer("still here")).await;
    for gone in [b, c] {
        gone.send("", messages::leave()).await;
        body!(a.next().await, MemberLeft);
        assert_error(&full().await, Code::ResourceExhausted, "ROOM_FULL");
    }
    change(&mut rooms, Room { max_members: 2, ..named("demo") }, &["max_members"]).await;
    let d = Member::join(&server, "demo").await;
    assert_eq!(d.welcome().room.as_ref().unwrap().max_members, 2);
    assert_error(&full().await, Code::ResourceExhausted, "ROOM_FULL");
}

#[tokio::test]
async fn a_lock_applies_to_later_joins_only() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let mut a = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    let b = Member::join(&server, "demo").await;
    body!(a.next().await, MemberJoined);
    change(&mut rooms, Room { locked: true, ..named("demo") }, &["locked"]).await;
    // A second session of a member is a join, too.
    for join in [messages::join("demo"), messages::join_as("demo", "ann")] {
        let locked = Member::try_join(server.addr, join).await.err().expect("it is locked");
        assert_error(&locked, Code::PermissionDenied, "ROOM_LOCKED");
    }
    let mut b = Member::resume(&server, &b.disconnect()).await;
    for _ in 0..2 {
        body!(a.next().await, MemberUpdated);
    }
    a.send(&b.id, messages::offer("still here")).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "still here");
    change(&mut rooms, named("demo"), &["locked"]).await;
    Member::join(&server, "demo").await;
}

#[tokio::test]
async fn duplicate_identity_can_be_changed() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let ann = || messages::join_as("demo", "ann");
    let mut first = Member::join_with(server.addr, ann()).await;
    let mut set = async |duplicate_identity: DuplicateIdentity| {
        let room = Room { duplicate_identity: duplicate_identity.into(), ..named("demo") };
        change(&mut rooms, room, &["duplicate_identity"]).await;
    };
    set(DuplicateIdentity::Reject).await;
    let refused = Member::try_join(server.addr, ann()).await.err().expect("ann is a member");
    assert_error(&refused, Code::AlreadyExists, "IDENTITY_TAKEN");
    set(DuplicateIdentity::Allow).await;
    let second = Member::join_with(server.addr, ann()).await;
    assert_eq!(body!(first.next().await, MemberJoined).member.unwrap().member_id, second.id);
    second.send("", messages::leave()).await;
    body!(first.next().await, MemberLeft);
    set(DuplicateIdentity::Replace).await;
    Member::join_with(server.addr, ann()).await;
    assert_error(&first.expect_go_away().await.1, Code::Aborted, "REPLACED");
}

#[tokio::test]
async fn relay_only_applies_from_the_next_signal() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    rooms.create_room(create(named("demo"))).await.expect("a room");
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    body!(a.next().await, MemberJoined);
    let host = "candidate:1 1 udp 2122260223 192.0.2.1 54321 typ host";
    a.send("", messages::candidate(host)).await;
    assert_eq!(body!(b.next().await, Candidate).candidate, host);

    change(&mut rooms, Room { relay_only: true, ..named("demo") }, &["relay_only"]).await;
    a.send_message(messages::numbered(1, "", messages::candidate(host))).await;
    let undelivered = body!(a.next().await, Undelivered);
    let reported = (undelivered.client_seq, undelivered.to.as_str(), undelivered.reason.as_str());
    assert_eq!(reported, (1, b.id.as_str(), "FORBIDDEN"));
    a.await_ack(1).await;
    // An empty candidate is the end of candidates.
    a.send("", messages::candidate("")).await;
    assert_eq!(body!(b.next().await, Candidate).candidate, "");

    change(&mut rooms, named("demo"), &["relay_only"]).await;
    a.send("", messages::candidate(host)).await;
    assert_eq!(body!(b.next().await, Candidate).candidate, host);
}
