//! Who is in the room, as each member sees it: the snapshot of the welcome and the news after it.

use std::time::{Duration, Instant};

use signalbox_proto::v1::{LeaveReason, Member as Shown, MemberState, MemberUpdate, client_message::Body as Said};

use crate::common::{TestServer, body, native::Member, say};

fn ids(members: &[Shown]) -> Vec<&str> {
    members.iter().map(|member| member.member_id.as_str()).collect()
}

async fn assert_joined(member: &mut Member, newcomer: &Member) {
    let news = member.next().await;
    assert_eq!(news.from, "", "news of the roster is the server's");
    let shown = body!(news, MemberJoined).member;
    assert_eq!(shown.as_ref(), newcomer.welcome().you.as_ref(), "the others see a member as it sees itself");
}

async fn assert_left(member: &mut Member, id: &str, reason: LeaveReason) {
    let left = body!(member.next().await, MemberLeft);
    assert_eq!((left.member_id.as_str(), left.reason()), (id, reason));
}

async fn assert_state(member: &mut Member, id: &str, state: MemberState) {
    let shown = body!(member.next().await, MemberUpdated).member.expect("a member");
    assert_eq!((shown.member_id.as_str(), shown.state()), (id, state));
}

/// Nothing but this message has come for the member.
async fn assert_nothing_before_barrier(member: &mut Member, from: &Member) {
    from.say(&member.id, say::data("barrier")).await;
    assert_eq!(body!(member.next().await, Data).text, "barrier");
}

#[tokio::test]
async fn three_members_have_the_same_roster_each_without_itself() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join_with(server.addr, say::join_as("demo", "ann")).await;
    let mut b = Member::join_with(server.addr, say::join_as("demo", "bob")).await;
    let c = Member::join_with(server.addr, say::join_as("demo", "cem")).await;

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
    // Nobody is told of its own join, nor of one that its welcome had.
    let mut c = c;
    assert_nothing_before_barrier(&mut a, &c).await;
    assert_nothing_before_barrier(&mut b, &c).await;
    assert_nothing_before_barrier(&mut c, &a).await;
}

#[tokio::test]
async fn a_welcome_tells_the_room_and_the_limits() {
    let server = TestServer::start(&["--ice-server", "stun:stun.example.org", "--resume-window", "7s"]).await;
    let member = Member::join(&server, "demo").await;
    let welcome = member.welcome();
    assert_eq!(welcome.server_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(welcome.ice_servers[0].urls, ["stun:stun.example.org"]);
    assert_eq!(welcome.ice_expires_at, None, "nothing of STUN expires");
    let limits = welcome.limits.as_ref().unwrap();
    assert_eq!((limits.max_message_bytes, limits.max_signals_per_second, limits.max_unacked), (131_072, 50, 256));
    assert_eq!(limits.resume_window.unwrap().seconds, 7);
    assert_eq!(limits.heartbeat_interval.unwrap().seconds, 15);
    let room = welcome.room.as_ref().unwrap();
    assert_eq!((room.name.as_str(), room.max_members, room.member_count), ("demo", 64, 1));
}

#[tokio::test]
async fn a_leave_is_seen_by_the_others_and_ends_the_stream_well() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    assert_joined(&mut a, &b).await;

    b.say("", say::leave()).await;
    assert!(b.end().await.is_ok());
    assert_left(&mut a, &b.id, LeaveReason::Left).await;

    let gone = Member::try_resume(server.addr, &b.ticket()).await.err().expect("a session that was left is over");
    crate::common::assert_error(&gone, tonic::Code::NotFound, "SESSION_GONE");
    let c = Member::join(&server, "demo").await;
    assert_eq!(ids(&c.welcome().members), [a.id.as_str()]);
}

#[tokio::test]
async fn a_lost_stream_suspends_and_after_the_window_the_member_has_left() {
    let window = Duration::from_secs(3);
    let server = TestServer::start(&["--resume-window", "3s"]).await;
    let mut a = Member::join(&server, "demo").await;
    let b = Member::join(&server, "demo").await;
    assert_joined(&mut a, &b).await;

    let lost_at = Instant::now();
    let b = b.lose();
    assert_state(&mut a, &b.id, MemberState::Suspended).await;
    let c = Member::join(&server, "demo").await;
    assert_joined(&mut a, &c).await;
    assert_eq!(c.welcome().members[1].state(), MemberState::Suspended, "it keeps its place for the window");

    assert_left(&mut a, &b.id, LeaveReason::TimedOut).await;
    assert!(lost_at.elapsed() >= window, "the window was cut short to {:?}", lost_at.elapsed());
    assert!(lost_at.elapsed() < 3 * window, "the window lasted {:?}", lost_at.elapsed());
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
        a.say(&b.id, say::data(text)).await;
        assert_eq!(body!(b.next().await, Data).text, text);
    }
    let c = Member::join(&server, "demo").await;
    assert_joined(&mut b, &c).await;
    assert_joined(&mut a, &c).await;
    assert_eq!(c.welcome().members[1].state(), MemberState::Connected);
    // It is a stream like any other: when it goes, the member is suspended.
    let b = b.lose();
    assert_state(&mut a, &b.id, MemberState::Suspended).await;
}

#[tokio::test]
async fn updates_are_seen_by_the_others_and_not_echoed() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    assert_joined(&mut a, &b).await;

    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let update = |attributes: &[(String, String)], clear| {
        let attributes = attributes.iter().cloned().collect();
        Said::Update(MemberUpdate { display_name: None, attributes, clear_attributes: clear })
    };
    let steps = [
        (say::display_name("Bob"), "Bob", vec![]),
        (update(&[pair("hand", "up"), pair("mic", "off")], false), "Bob", vec![pair("hand", "up"), pair("mic", "off")]),
        // The attributes are replaced as a whole, and an update without any leaves them alone.
        (update(&[pair("hand", "down")], false), "Bob", vec![pair("hand", "down")]),
        (say::display_name(""), "", vec![pair("hand", "down")]),
        (update(&[], true), "", vec![]),
    ];
    for (said, name, attributes) in steps {
        b.say("", said.clone()).await;
        let shown = body!(a.next().await, MemberUpdated).member.unwrap();
        assert_eq!((shown.member_id.as_str(), shown.display_name.as_str()), (b.id.as_str(), name), "{said:?}");
        assert_eq!(shown.attributes, attributes.into_iter().collect(), "{said:?}");
    }
    assert_nothing_before_barrier(&mut b, &a).await;
}
