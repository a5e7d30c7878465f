//! The members of a room as each of them sees it: the snapshot in the welcome, and later changes.

use signalbox_proto::v1::{
    LeaveReason, Member as RosterEntry, MemberState, MemberUpdate, client_message::Body as ClientBody,
};

use crate::common::{TestServer, body, messages, native::Member};

fn ids(members: &[RosterEntry]) -> Vec<&str> {
    members.iter().map(|member| member.member_id.as_str()).collect()
}

async fn assert_joined(member: &mut Member, newcomer: &Member) {
    let message = member.next().await;
    assert_eq!(message.from, "", "the server sends changes of the roster");
    let joined = body!(message, MemberJoined).member;
    assert_eq!(joined.as_ref(), newcomer.welcome().you.as_ref(), "the others see a member as it sees itself");
}

async fn assert_left(member: &mut Member, id: &str, reason: LeaveReason) {
    let left = body!(member.next().await, MemberLeft);
    assert_eq!((left.member_id.as_str(), left.reason()), (id, reason));
}

async fn assert_state(member: &mut Member, id: &str, state: MemberState) {
    let updated = body!(member.next().await, MemberUpdated).member.expect("a member");
    assert_eq!((updated.member_id.as_str(), updated.state()), (id, state));
}

/// The next message of the member is this one, so nothing came before it.
async fn assert_nothing_before_barrier(member: &mut Member, from: &Member) {
    from.send(&member.id, messages::data("barrier")).await;
    assert_eq!(body!(member.next().await, Data).text, "barrier");
}

#[tokio::test]
async fn all_members_have_the_same_roster_without_themselves() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    let mut b = Member::join_with(server.addr, messages::join_as("demo", "bob")).await;
    let c = Member::join_with(server.addr, messages::join_as("demo", "cem")).await;

    let orders = [&a, &b, &c].map(|member| member.welcome().you.as_ref().unwrap().join_order);
    assert_eq!(orders, [1, 2, 3]);
    assert_eq!(ids(&a.welcome().members), [""; 0]);
    assert_eq!(ids(&b.welcome().members), [a.id.as_str()]);
    assert_eq!(ids(&c.welcome().members), [a.id.as_str(), &b.id], "in join order");
    let you = |member: &Member| member.welcome().you.clone().unwrap();
    assert_eq!(c.welcome().members, [you(&a), you(&b)]);
    assert_eq!((you(&a).identity.as_str(), you(&a).state()), ("ann", MemberState::Connected));
    assert_eq!(c.welcome().room.as_ref().unwrap().member_count, 3);

    assert_joined(&mut a, &b).await;
    assert_joined(&mut a, &c).await;
    assert_joined(&mut b, &c).await;
    // A member gets no message about its own join, nor about one that its welcome shows.
    let mut c = c;
    assert_nothing_before_barrier(&mut a, &c).await;
    assert_nothing_before_barrier(&mut b, &c).await;
    assert_nothing_before_barrier(&mut c, &a).await;
}

#[tokio::test]
async fn a_welcome_has_the_room_and_the_limits() {
    let server = TestServer::start(&["--ice-server", "stun:stun.example.org", "--resume-window", "7s"]).await;
    let member = Member::join(&server, "demo").await;
    let welcome = member.welcome();
    assert_eq!(welcome.server_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(welcome.ice_servers[0].urls, ["stun:stun.example.org"]);
    assert_eq!(welcome.ice_expires_at, None, "STUN servers have no credentials that expire");
    let limits = welcome.limits.as_ref().unwrap();
    assert_eq!((limits.max_message_bytes, limits.max_signals_per_second, limits.max_unacked), (131_072, 50, 256));
    assert_eq!(limits.resume_window.unwrap().seconds, 7);
    assert_eq!(limits.heartbeat_interval.unwrap().seconds, 15);
    let room = welcome.room.as_ref().unwrap();
    assert_eq!((room.name.as_str(), room.max_members, room.member_count), ("demo", 64, 1));
}

#[tokio::test]
async fn a_leave_is_sent_to_the_others_and_ends_the_stream_with_ok() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    assert_joined(&mut a, &b).await;

    b.send("", messages::leave()).await;
    assert!(b.end().await.is_ok());
    assert_left(&mut a, &b.id, LeaveReason::Left).await;

    let gone = Member::try_resume(server.addr, &b.ticket()).await.err().expect("a session that was left is over");
    crate::common::assert_error(&gone, tonic::Code::NotFound, "SESSION_GONE");
    let c = Member::join(&server, "demo").await;
    assert_eq!(ids(&c.welcome().members), [a.id.as_str()]);
}

#[tokio::test]
async fn a_lost_stream_suspends_the_member_who_leaves_after_the_resume_window() {
    let server = TestServer::start(&["--resume-window", "3s"]).await;
    let mut a = Member::join(&server, "demo").await;
    let b = Member::join(&server, "demo").await;
    assert_joined(&mut a, &b).await;

    let b = b.disconnect();
    assert_state(&mut a, &b.id, MemberState::Suspended).await;
    let c = Member::join(&server, "demo").await;
    assert_joined(&mut a, &c).await;
    assert_eq!(c.welcome().members[1].state(), MemberState::Suspended, "it stays a member for the window");

    assert_left(&mut a, &b.id, LeaveReason::TimedOut).await;
    let gone = Member::try_resume(server.addr, &b).await.err().expect("a session that timed out is over");
    crate::common::assert_error(&gone, tonic::Code::NotFound, "SESSION_GONE");
}

#[tokio::test]
async fn a_half_closed_stream_keeps_its_member_in_the_room() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    assert_joined(&mut a, &b).await;

    b.half_close();
    for text in ["one", "two"] {
        a.send(&b.id, messages::data(text)).await;
        assert_eq!(body!(b.next().await, Data).text, text);
    }
    let c = Member::join(&server, "demo").await;
    assert_joined(&mut b, &c).await;
    assert_joined(&mut a, &c).await;
    assert_eq!(c.welcome().members[1].state(), MemberState::Connected);
    // When that stream is dropped, the member is suspended.
    let b = b.disconnect();
    assert_state(&mut a, &b.id, MemberState::Suspended).await;
}

#[tokio::test]
async fn updates_are_sent_to_the_others_and_not_echoed() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    assert_joined(&mut a, &b).await;

    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let update = |attributes: &[(String, String)], clear| {
        let attributes = attributes.iter().cloned().collect();
        ClientBody::Update(MemberUpdate { display_name: None, attributes, clear_attributes: clear })
    };
    let steps = [
        (messages::display_name("Bob"), "Bob", vec![]),
        (update(&[pair("hand", "up"), pair("mic", "off")], false), "Bob", vec![pair("hand", "up"), pair("mic", "off")]),
        // Attributes are replaced as a whole. An update without attributes does not change them.
        (update(&[pair("hand", "down")], false), "Bob", vec![pair("hand", "down")]),
        (messages::display_name(""), "", vec![pair("hand", "down")]),
        (update(&[], true), "", vec![]),
    ];
    for (body, name, attributes) in steps {
        b.send("", body.clone()).await;
        let updated = body!(a.next().await, MemberUpdated).member.unwrap();
        assert_eq!((updated.member_id.as_str(), updated.display_name.as_str()), (b.id.as_str(), name), "{body:?}");
        assert_eq!(updated.attributes, attributes.into_iter().collect(), "{body:?}");
    }
    assert_nothing_before_barrier(&mut b, &a).await;
}
