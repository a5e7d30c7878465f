//! Removed and banned members.

use std::time::{Duration, Instant};

use signalbox_proto::v1::{DuplicateIdentity, LeaveReason, RemoveMemberRequest, Room};
use signalbox_testkit::eventually;
use tonic::{Code, Status};

use super::{change, create, get, named};
use crate::common::{DEADLINE, TestServer, assert_error, assert_field_error, body, messages, native::Member};

async fn remove(server: &TestServer, id: &str, ban: Option<prost_types::Duration>) -> Result<(), Status> {
    let request = RemoveMemberRequest { room: "demo".to_owned(), member_id: id.to_owned(), ban };
    server.rooms().await.remove_member(request).await.map(tonic::Response::into_inner)
}

fn time(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

#[tokio::test]
async fn a_ban_survives_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_in(folder.path(), &[]).await;
    let mut rooms = server.rooms().await;
    let allow = Room { duplicate_identity: DuplicateIdentity::Allow.into(), ..named("demo") };
    let created = rooms.create_room(create(allow)).await.expect("a room").into_inner();
    let mut watcher = Member::join(&server, "demo").await;
    let mut phone = Member::join_with(server.addr, messages::join_as("demo", "eve")).await;
    let mut laptop = Member::join_with(server.addr, messages::join_as("demo", "eve")).await;
    for _ in 0..2 {
        body!(watcher.next().await, MemberJoined);
    }
    body!(phone.next().await, MemberJoined);

    remove(&server, &phone.id, time(3600, 0)).await.expect("she is a member");
    for _ in 0..2 {
        let left = body!(watcher.next().await, MemberLeft);
        assert_eq!(left.reason(), LeaveReason::Removed, "all of her sessions end");
    }
    // One may have received the leave of the other before its own end.
    let mut ends = 0;
    for member in [&mut phone, &mut laptop] {
        loop {
            match member.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends without a reason"),
                Err(status) => {
                    assert_error(&status, Code::Aborted, "REMOVED");
                    ends += 1;
                    break;
                }
            }
        }
    }
    assert_eq!(ends, 2);
    let banned = async |server: &TestServer| {
        let refused =
            Member::try_join(server.addr, messages::join_as("demo", "eve")).await.err().expect("she is banned");
        assert_error(&refused, Code::PermissionDenied, "ROOM_FORBIDDEN");
    };
    banned(&server).await;
    Member::join_with(server.addr, messages::join_as("demo", "eva")).await.disconnect();
    Member::join_with(server.addr, messages::join_as("elsewhere", "eve")).await.disconnect();
    assert_ne!(rooms.get_room(get("demo")).await.unwrap().into_inner().etag, created.etag);

    // Other changes do not lift it.
    change(&mut rooms, Room { max_members: 9, ..named("demo") }, &["max_members"]).await;
    banned(&server).await;
    drop((rooms, watcher));
    server.stop().await;
    let server = TestServer::start_in(folder.path(), &[]).await;
    banned(&server).await;
    Member::join(&server, "demo").await;
    banned(&server).await;
}

#[tokio::test]
async fn a_ban_ends_after_its_time() {
    let server = TestServer::start(&[]).await;
    let _keeps_it_live = Member::join(&server, "demo").await;
    let eve = Member::join_with(server.addr, messages::join_as("demo", "eve")).await;
    let asked = Instant::now();
    remove(&server, &eve.id, time(0, 400_000_000)).await.expect("she is a member");
    eventually(DEADLINE, "the ban ends", async || {
        let joined = Member::try_join(server.addr, messages::join_as("demo", "eve")).await;
        joined.inspect_err(|refused| assert_error(refused, Code::PermissionDenied, "ROOM_FORBIDDEN")).ok().map(drop)
    })
    .await;
    // The server counts whole milliseconds.
    assert!(asked.elapsed() >= Duration::from_millis(399), "she joined after {:?}", asked.elapsed());
}

#[tokio::test]
async fn an_invalid_ban_removes_no_member() {
    let server = TestServer::start(&[]).await;
    let anonymous = Member::join(&server, "demo").await;
    let eve = Member::join_with(server.addr, messages::join_as("demo", "eve")).await;
    assert_field_error(&remove(&server, &anonymous.id, time(60, 0)).await.unwrap_err(), "INVALID_MESSAGE", "ban");
    for ban in [time(0, 0), time(-1, 0), time(0, -1)] {
        assert_field_error(&remove(&server, &eve.id, ban).await.unwrap_err(), "INVALID_MESSAGE", "ban");
    }
    assert_error(&remove(&server, "unknown", time(60, 0)).await.unwrap_err(), Code::NotFound, "NO_SUCH_MEMBER");
    let room = server.rooms().await.get_room(get("demo")).await.unwrap().into_inner();
    assert_eq!((room.member_count, room.etag.as_str()), (2, "1"));
    // The longest duration of protobuf.
    remove(&server, &eve.id, time(315_576_000_000, 0)).await.expect("she is a member");
    let refused = Member::try_join(server.addr, messages::join_as("demo", "eve")).await.err().expect("she is banned");
    assert_error(&refused, Code::PermissionDenied, "ROOM_FORBIDDEN");
}
