//! Counters of rooms: joins, calls, last activity.

use std::time::{Duration, SystemTime};

use signalbox_proto::v1::{ConnectionReport, GetRoomRequest, Room, client_message::Body as ClientBody};
use signalbox_testkit::eventually;

use super::{create, named};
use crate::common::{
    DEADLINE, TestServer, body,
    internals::{EmbeddedStore, Store, room_name},
    messages,
    native::Member,
};

fn report(peer: &str, state: &str) -> ClientBody {
    let (peer, connection_state) = (peer.to_owned(), state.to_owned());
    ClientBody::Report(ConnectionReport { peer, connection_state, ..ConnectionReport::default() })
}

async fn get_room(server: &TestServer, name: &str) -> Room {
    server.rooms().await.get_room(GetRoomRequest { name: name.to_owned() }).await.expect("a room").into_inner()
}

/// Sends a report, and waits until it is handled.
async fn send_report(member: &mut Member, seq: u64, report: ClientBody) {
    member.send_message(messages::numbered(seq, "", report)).await;
    member.await_ack(seq).await;
}

#[tokio::test]
async fn each_connected_pair_of_sessions_counts_as_one_call() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    let mut c = Member::join(&server, "demo").await;
    for _ in 0..2 {
        body!(a.next().await, MemberJoined);
    }
    body!(b.next().await, MemberJoined);
    let calls = async || get_room(&server, "demo").await.call_count;

    for (seq, state) in (1..).zip(["new", "connecting", "failed", "disconnected", "closed", "Connected", ""]) {
        send_report(&mut a, seq, report(&b.id, state)).await;
    }
    for (seq, stranger) in (8..).zip(["unknown", "", &a.id.clone()]) {
        send_report(&mut a, seq, report(stranger, "connected")).await;
    }
    assert_eq!(calls().await, 0);
    send_report(&mut a, 11, report(&b.id, "connected")).await;
    assert_eq!(calls().await, 1);
    send_report(&mut a, 12, report(&b.id, "connected")).await;
    send_report(&mut b, 1, report(&a.id, "connected")).await;
    assert_eq!(calls().await, 1, "again, and from the other side, it is the same call");
    send_report(&mut c, 1, report(&a.id, "connected")).await;
    send_report(&mut a, 13, report(&c.id, "connected")).await;
    assert_eq!(calls().await, 2);

    // A resumed session is the same one, a new session is not.
    let mut b = Member::resume(&server, &b.disconnect()).await;
    for _ in 0..2 {
        body!(a.next().await, MemberUpdated);
    }
    send_report(&mut b, 2, report(&a.id, "connected")).await;
    assert_eq!(calls().await, 2);
    b.send("", messages::leave()).await;
    body!(a.next().await, MemberLeft);
    let d = Member::join(&server, "demo").await;
    body!(a.next().await, MemberJoined);
    send_report(&mut a, 14, report(&d.id, "connected")).await;
    assert_eq!((calls().await, get_room(&server, "demo").await.join_count), (3, 4));
}

#[tokio::test]
async fn counters_are_stored_when_a_room_empties_or_the_server_stops() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_in(folder.path(), &[]).await;
    let created = server.rooms().await.create_room(create(named("demo"))).await.expect("a room").into_inner();
    assert_eq!((created.join_count, created.call_count, created.last_active_at), (0, 0, None));
    for visit in 1..=2 {
        let mut a = Member::join(&server, "demo").await;
        let b = Member::join(&server, "demo").await;
        body!(a.next().await, MemberJoined);
        send_report(&mut a, 1, report(&b.id, "connected")).await;
        let live = get_room(&server, "demo").await;
        assert_eq!((live.join_count, live.call_count, live.member_count), (2 * visit, visit, 2));
        a.leave().await;
        b.leave().await;
        // Written behind.
        let stored = eventually(DEADLINE, "the counters are stored", async || {
            let room = get_room(&server, "demo").await;
            assert!(room.join_count <= 2 * visit && room.call_count <= visit, "nothing counts twice: {room:?}");
            (room.member_count == 0 && room.join_count == 2 * visit).then_some(room)
        })
        .await;
        assert_eq!(stored.call_count, visit);
        let (then, now) = (stored.last_active_at.unwrap(), SystemTime::now());
        assert!(now.duration_since(then.try_into().unwrap()).unwrap() < Duration::from_secs(10), "{then:?} is now");
        assert_eq!(
            (stored.etag, stored.updated_at),
            (created.etag.clone(), created.updated_at),
            "settings are unchanged"
        );
    }
    // Those of members that are connected when the server stops are stored, too.
    let member = Member::join(&server, "demo").await;
    server.stop().await;
    drop(member);
    let store = EmbeddedStore::open(folder.path().to_owned()).await.unwrap();
    let record = store.get(&room_name("demo")).await.unwrap().expect("the record");
    assert_eq!((record.joins, record.calls), (5, 2));
}
