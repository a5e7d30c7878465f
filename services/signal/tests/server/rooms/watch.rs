//! Watches: the events of a room, for operators.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use signalbox_proto::v1::{
    ConnectionReport, DeleteRoomRequest, LeaveReason, MemberState, MemberUpdate, RemoveMemberRequest, Room, RoomEvent,
    SignalKind, SignalSummary, client_message::Body as ClientBody, room_event::Event,
};
use signalbox_testkit::eventually;
use tonic::{Code, Status, Streaming};

use super::{change, create, named, watch};
use crate::common::{DEADLINE, TestServer, assert_error, body, messages, native::Member, within};

/// Starts a watch, which must succeed.
async fn begin(server: &TestServer, room: &str) -> Watch {
    let stream = server.rooms().await.watch_room(watch(room)).await.expect("the room exists").into_inner();
    Watch { stream, began: SystemTime::now() }
}

struct Watch {
    stream: Streaming<RoomEvent>,
    began: SystemTime,
}

impl Watch {
    /// The next event and its sequence number.
    async fn next(&mut self) -> (u64, Event) {
        let event =
            within(DEADLINE, self.stream.message()).await.expect("the watch continues").expect("it never ends with OK");
        let at = SystemTime::try_from(event.at.expect("a time")).unwrap();
        let (earliest, latest) = (self.began - Duration::from_secs(10), SystemTime::now() + Duration::from_secs(1));
        assert!(earliest < at && at < latest, "{at:?}");
        (event.seq, event.event.expect("an event"))
    }

    async fn end(&mut self) -> Status {
        within(DEADLINE, self.stream.message()).await.expect_err("it ends with an error")
    }
}

/// The sequence number and content of the next event, which must be of that kind.
macro_rules! next {
    ($watch:expr, $kind:ident) => {
        match $watch.next().await {
            (seq, Event::$kind(what)) => (seq, what),
            other => panic!("expected {}, got {other:?}", stringify!($kind)),
        }
    };
}

#[tokio::test]
async fn a_watch_starts_with_the_members_and_continues_with_events() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join_with(server.addr, messages::join_as("demo", "ann")).await;
    let b = Member::join_with(server.addr, messages::join_as("demo", "bob")).await;
    body!(a.next().await, MemberJoined);
    let lost = b.disconnect();
    body!(a.next().await, MemberUpdated);
    let mut watch = begin(&server, "demo").await;
    for (id, identity, state) in [(&a.id, "ann", MemberState::Connected), (&lost.id, "bob", MemberState::Suspended)] {
        let (seq, joined) = next!(watch, MemberJoined);
        let member = joined.member.unwrap();
        assert_eq!((seq, &member.member_id, member.identity.as_str(), member.state()), (0, id, identity, state));
    }

    let mut b = Member::resume(&server, &lost).await;
    let sent_to_a = a.next().await;
    let (seq, updated) = next!(watch, MemberUpdated);
    assert_eq!((seq, &updated), (sent_to_a.seq, &body!(sent_to_a, MemberUpdated)));
    assert_eq!(updated.member.unwrap().state(), MemberState::Connected);
    a.send("", messages::display_name("Ann")).await;
    assert_eq!(next!(watch, MemberUpdated).1, body!(b.event().await, MemberUpdated));

    // Signals, without their content.
    let (offer, answer) = (messages::offer("v=0 secret offer"), messages::answer("v=0 answer ü"));
    let text = "secret text";
    let mut offer_message = messages::numbered(1, &b.id, offer);
    offer_message.negotiation = 7;
    a.send_message(offer_message).await;
    let seq = b.next().await.seq;
    let (from, to) = (a.id.clone(), b.id.clone());
    let summary = |kind: SignalKind, size_bytes: u32| SignalSummary {
        from: from.clone(),
        to: to.clone(),
        kind: kind.into(),
        size_bytes,
        ..SignalSummary::default()
    };
    assert_eq!(next!(watch, Signal), (seq, SignalSummary { negotiation: 7, ..summary(SignalKind::Offer, 16) }));
    b.send("", answer).await;
    let back = SignalSummary { from: to.clone(), to: from.clone(), ..summary(SignalKind::Answer, 13) };
    assert_eq!(next!(watch, Signal), (seq + 1, back));
    a.send("", messages::candidate("")).await;
    assert_eq!(next!(watch, Signal), (seq + 2, summary(SignalKind::Candidate, 0)));
    a.send("", messages::data(text)).await;
    let data = SignalSummary { to: String::new(), ..summary(SignalKind::Data, text.len() as u32) };
    assert_eq!(next!(watch, Signal), (seq + 3, data));
    // Undelivered signals.
    a.send("unknown", messages::offer("o")).await;
    let unknown = "unknown".to_owned();
    let undelivered =
        SignalSummary { to: unknown, undelivered_reason: "NO_SUCH_MEMBER".to_owned(), ..summary(SignalKind::Offer, 1) };
    assert_eq!(next!(watch, Signal), (0, undelivered));
    a.send("", messages::offer(&"x".repeat(64 * 1024 + 1))).await;
    let undelivered =
        SignalSummary { undelivered_reason: "TOO_LARGE".to_owned(), ..summary(SignalKind::Offer, 64 * 1024 + 1) };
    assert_eq!(next!(watch, Signal), (0, undelivered));

    // A resent signal is not another one.
    a.send_message(messages::numbered(1, &b.id, messages::offer("v=0 secret offer"))).await;
    let report =
        ConnectionReport { peer: b.id.clone(), ice_state: "connected".to_owned(), ..ConnectionReport::default() };
    a.send("", ClientBody::Report(report.clone())).await;
    let (seq, connection) = next!(watch, Connection);
    assert_eq!((seq, connection.from, connection.report), (0, a.id.clone(), Some(report)));
    assert!(connection.since_join.unwrap().seconds < 60);

    let room = change(&mut server.rooms().await, Room { max_members: 3, ..named("demo") }, &["max_members"]).await;
    let (seq, updated) = next!(watch, RoomUpdated);
    assert_eq!((seq, updated.max_members, &updated.etag, updated.member_count), (0, 3, &room.etag, 2));

    let remove = RemoveMemberRequest { room: "demo".to_owned(), member_id: b.id.clone(), ban: None };
    server.rooms().await.remove_member(remove).await.expect("it is there");
    let left = next!(watch, MemberLeft).1;
    assert_eq!((&left.member_id, left.reason()), (&b.id, LeaveReason::Removed));
    a.send("", messages::leave()).await;
    assert_eq!(next!(watch, MemberLeft).1.reason(), LeaveReason::Left);
    let c = Member::join(&server, "demo").await;
    assert_eq!(
        next!(watch, MemberJoined).1.member.unwrap().member_id,
        c.id,
        "it continues when the room has members again"
    );

    server.rooms().await.delete_room(DeleteRoomRequest { name: "demo".to_owned() }).await.expect("it is there");
    assert_eq!(next!(watch, MemberLeft).1.reason(), LeaveReason::RoomClosed);
    assert_error(&watch.end().await, Code::Aborted, "ROOM_CLOSED");
}

#[tokio::test]
async fn a_watch_waits_for_a_stored_room_to_become_live() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let missing = rooms.watch_room(watch("demo")).await.unwrap_err();
    assert_error(&missing, Code::NotFound, "ROOM_NOT_FOUND");
    let created = rooms.create_room(create(named("demo"))).await.expect("a room").into_inner();
    let (mut first, mut second) = (begin(&server, "demo").await, begin(&server, "demo").await);
    // A room that is only watched counts as empty.
    assert_eq!(rooms.get_room(super::get("demo")).await.unwrap().into_inner(), created);
    for _ in 0..2 {
        let member = Member::join(&server, "demo").await;
        for watch in [&mut first, &mut second] {
            assert_eq!(next!(watch, MemberJoined).1.member.unwrap().member_id, member.id);
        }
        member.send("", messages::leave()).await;
        for watch in [&mut first, &mut second] {
            next!(watch, MemberLeft);
        }
    }
    drop(first);
    change(&mut rooms, Room { locked: true, ..named("demo") }, &["locked"]).await;
    assert!(next!(second, RoomUpdated).1.locked);
    let locked = Member::try_join(server.addr, messages::join("demo")).await.err().expect("it is locked");
    assert_error(&locked, Code::PermissionDenied, "ROOM_LOCKED");
    rooms.delete_room(DeleteRoomRequest { name: "demo".to_owned() }).await.expect("it is there");
    assert_error(&second.end().await, Code::Aborted, "ROOM_CLOSED");
}

#[tokio::test]
async fn a_watch_that_is_not_read_ends_and_delays_no_member() {
    let server = TestServer::start(&["--signal-burst", "100000"]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    body!(a.next().await, MemberJoined);
    let mut slow = begin(&server, "demo").await;
    // 12 MB: more than the connection's windows and the watch together can hold.
    let attributes: HashMap<_, _> = [("note".to_owned(), "x".repeat(4000))].into();
    for n in 1..=3000 {
        let update = MemberUpdate { attributes: attributes.clone(), ..MemberUpdate::default() };
        a.send_message(messages::numbered(n, "", ClientBody::Update(update))).await;
        body!(b.next().await, MemberUpdated);
        if n % 100 == 0 {
            a.await_ack(n).await;
        }
    }
    let mut events = 0;
    let status = loop {
        match within(DEADLINE, slow.stream.message()).await {
            Ok(event) => events += usize::from(event.is_some()),
            Err(status) => break status,
        }
    };
    assert_error(&status, Code::ResourceExhausted, "SLOW_CONSUMER");
    assert!((256..3000).contains(&events), "{events} events were read");
    // A new watch works.
    let mut again = begin(&server, "demo").await;
    for _ in 0..2 {
        next!(again, MemberJoined);
    }
}

#[tokio::test]
async fn watches_beyond_the_limit_are_refused_until_one_ends() {
    let server = TestServer::start(&["--max-streams", "64"]).await;
    let _member = Member::join(&server, "demo").await;
    let mut watches = Vec::new();
    for _ in 0..16 {
        watches.push(begin(&server, "demo").await);
    }
    let refused = server.rooms().await.watch_room(watch("demo")).await.unwrap_err();
    assert_error(&refused, Code::ResourceExhausted, "TOO_MANY_WATCHES");
    // The server notices the end of a watch a little later.
    drop(watches.pop());
    eventually(DEADLINE, "another watch starts", async || {
        let watching = server.rooms().await.watch_room(watch("demo")).await;
        watching
            .inspect_err(|refused| assert_error(refused, Code::ResourceExhausted, "TOO_MANY_WATCHES"))
            .ok()
            .map(drop)
    })
    .await;
    next!(watches[0], MemberJoined);
}

#[tokio::test]
async fn watches_do_not_keep_a_server_from_stopping() {
    let server = TestServer::start(&[]).await;
    server.rooms().await.create_room(create(named("empty"))).await.expect("a room");
    let _member = Member::join(&server, "demo").await.disconnect();
    let (mut live, mut empty) = (begin(&server, "demo").await, begin(&server, "empty").await);
    next!(live, MemberJoined);
    let stopping = tokio::spawn(server.stop());
    for watch in [&mut live, &mut empty] {
        // An event about the suspended member may come before.
        let status = loop {
            match within(DEADLINE, watch.stream.message()).await {
                Ok(event) => assert!(event.is_some(), "it never ends with OK"),
                Err(status) => break status,
            }
        };
        assert_error(&status, Code::Unavailable, "DRAINING");
    }
    within(Duration::from_secs(5), stopping).await.unwrap();
}
