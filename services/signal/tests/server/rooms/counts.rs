//! What is on record of a room: joins, calls, when somebody was in it last.

use std::time::{Duration, SystemTime};

use signalbox_proto::v1::{ConnectionReport, GetRoomRequest, Room, client_message::Body as Said};
use signalbox_server::store::{EmbeddedStore, Store};

use super::{create, named};
use crate::common::{TestServer, body, native::Member, say};

fn report(peer: &str, state: &str) -> Said {
    let (peer, connection_state) = (peer.to_owned(), state.to_owned());
    Said::Report(ConnectionReport { peer, connection_state, ..ConnectionReport::default() })
}

async fn look(server: &TestServer, name: &str) -> Room {
    server.rooms().await.get_room(GetRoomRequest { name: name.to_owned() }).await.expect("a room").into_inner()
}

/// Reports, and waits until that is handled.
async fn tell(member: &mut Member, seq: u64, report: Said) {
    member.send(say::numbered(seq, "", report)).await;
    member.await_ack(seq).await;
}

#[tokio::test]
async fn a_pair_of_sessions_counts_as_one_call() {
    let server = TestServer::start(&[]).await;
    let mut a = Member::join(&server, "demo").await;
    let mut b = Member::join(&server, "demo").await;
    let mut c = Member::join(&server, "demo").await;
    for _ in 0..2 {
        body!(a.next().await, MemberJoined);
    }
    body!(b.next().await, MemberJoined);
    let calls = async || look(&server, "demo").await.call_count;

    for (seq, state) in (1..).zip(["new", "connecting", "failed", "disconnected", "closed", "Connected", ""]) {
        tell(&mut a, seq, report(&b.id, state)).await;
    }
    for (seq, stranger) in (8..).zip(["nobody", "", &a.id.clone()]) {
        tell(&mut a, seq, report(stranger, "connected")).await;
    }
    assert_eq!(calls().await, 0);
    tell(&mut a, 11, report(&b.id, "connected")).await;
    assert_eq!(calls().await, 1);
    tell(&mut a, 12, report(&b.id, "connected")).await;
    tell(&mut b, 1, report(&a.id, "connected")).await;
    assert_eq!(calls().await, 1, "again, and from the other side, it is the same call");
    tell(&mut c, 1, report(&a.id, "connected")).await;
    tell(&mut a, 13, report(&c.id, "connected")).await;
    assert_eq!(calls().await, 2);

    // A resumed session is the same; a new one is another.
    let mut b = Member::resume(&server, &b.lose()).await;
    for _ in 0..2 {
        body!(a.next().await, MemberUpdated);
    }
    tell(&mut b, 2, report(&a.id, "connected")).await;
    assert_eq!(calls().await, 2);
    b.say("", say::leave()).await;
    body!(a.next().await, MemberLeft);
    let d = Member::join(&server, "demo").await;
    body!(a.next().await, MemberJoined);
    tell(&mut a, 14, report(&d.id, "connected")).await;
    assert_eq!((calls().await, look(&server, "demo").await.join_count), (3, 4));
}

#[tokio::test]
async fn what_was_counted_is_written_down_when_a_room_empties() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_in(folder.path(), &[]).await;
    let created = server.rooms().await.create_room(create(named("demo"))).await.expect("a room").into_inner();
    assert_eq!((created.join_count, created.call_count, created.last_active_at), (0, 0, None));
    for visit in 1..=2 {
        let mut a = Member::join(&server, "demo").await;
        let b = Member::join(&server, "demo").await;
        body!(a.next().await, MemberJoined);
        tell(&mut a, 1, report(&b.id, "connected")).await;
        let live = look(&server, "demo").await;
        assert_eq!((live.join_count, live.call_count, live.member_count), (2 * visit, visit, 2));
        a.leave().await;
        b.leave().await;
        // Behind: soon, but nobody waits for it.
        let mut tries = 0;
        let stored = loop {
            let room = look(&server, "demo").await;
            assert!(room.join_count <= 2 * visit && room.call_count <= visit, "nothing counts twice: {room:?}");
            if room.member_count == 0 && room.join_count == 2 * visit {
                break room;
            }
            tries += 1;
            assert!(tries < 500, "it is never written down: {room:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(stored.call_count, visit);
        let (then, now) = (stored.last_active_at.unwrap(), SystemTime::now());
        assert!(now.duration_since(then.try_into().unwrap()).unwrap() < Duration::from_secs(10), "{then:?} is now");
        assert_eq!(
            (stored.etag, stored.updated_at),
            (created.etag.clone(), created.updated_at),
            "settings are as they were"
        );
    }
    // And of those who are there when the server ends.
    let member = Member::join(&server, "demo").await;
    server.stop().await;
    drop(member);
    let store = EmbeddedStore::open(folder.path().to_owned()).await.unwrap();
    let name = signalbox_core::id::RoomName::parse("demo", "name").unwrap();
    let record = store.get(&name).await.unwrap().expect("the record");
    assert_eq!((record.joins, record.calls), (5, 2));
}
