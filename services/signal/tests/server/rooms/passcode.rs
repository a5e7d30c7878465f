//! Passcodes: required by joins, stored as hashes, protected against guessing.

use std::time::Duration;

use signalbox_proto::v1::{CreateRoomRequest, Join, Room, UpdateRoomRequest};
use signalbox_testkit::eventually;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{change, create, get, named, update};
use crate::common::{
    DEADLINE, TestServer, assert_error, body,
    internals::{EmbeddedStore, Store, room_name},
    messages,
    native::Member,
    web::{WebClient, WebMember},
};

fn with_passcode(name: &str, passcode: &str) -> CreateRoomRequest {
    CreateRoomRequest { passcode: passcode.to_owned(), ..create(named(name)) }
}

fn join(passcode: &str) -> Join {
    Join { passcode: passcode.to_owned(), ..messages::join("demo") }
}

async fn refused(server: &TestServer, join: Join) -> Status {
    Member::try_join(server.addr, join).await.err().expect("the join is refused")
}

#[tokio::test]
async fn a_join_needs_the_passcode() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start_in(folder.path(), &[]).await;
    let mut rooms = server.rooms().await;
    let room = rooms.create_room(with_passcode("demo", "öpen sesame")).await.expect("a room").into_inner();
    assert!(room.passcode_required);
    // First of a new room, then of one that has been live.
    for _ in 0..2 {
        for wrong in ["", "open sesame", "öpen sesame ", "Öpen sesame", &"a".repeat(256)] {
            assert_error(&refused(&server, join(wrong)).await, Code::Unauthenticated, "PASSCODE_WRONG");
        }
        assert_eq!(rooms.get_room(get("demo")).await.unwrap().into_inner().member_count, 0);
        let member = Member::join_with(server.addr, join("öpen sesame")).await;
        assert!(member.welcome().room.as_ref().unwrap().passcode_required);
        let page = WebMember::join(WebClient::new(server.addr), join("öpen sesame")).await;
        assert_error(&refused(&server, join("x")).await, Code::Unauthenticated, "PASSCODE_WRONG");
        for gone in [member.disconnect(), page.disconnect()] {
            Member::resume(&server, &gone).await.leave().await;
        }
    }
    drop(rooms);
    server.stop().await;

    let store = EmbeddedStore::open(folder.path().to_owned()).await.unwrap();
    let record = store.get(&room_name("demo")).await.unwrap().expect("the record");
    let hash = record.settings.passcode_hash.expect("a hash");
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    drop(store);
    let stored = std::fs::read(folder.path().join("rooms.redb")).unwrap();
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&hash) && !holds("sesame"), "the passcode itself is not stored");
}

#[tokio::test]
async fn a_new_passcode_applies_to_later_joins_only() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    rooms.create_room(with_passcode("demo", "one")).await.expect("a room");
    let mut a = Member::join_with(server.addr, join("one")).await;
    let b = Member::join_with(server.addr, join("one")).await;
    body!(a.next().await, MemberJoined);
    let mut set = async |passcode: &str| {
        let request = UpdateRoomRequest { passcode: passcode.to_owned(), ..update(named("demo"), &["passcode"]) };
        rooms.update_room(request).await.expect("it is changed").into_inner()
    };
    assert!(set("two").await.passcode_required);
    assert_error(&refused(&server, join("one")).await, Code::Unauthenticated, "PASSCODE_WRONG");
    let mut b = Member::resume(&server, &b.disconnect()).await;
    for _ in 0..2 {
        body!(a.next().await, MemberUpdated);
    }
    a.send("", messages::offer("still here")).await;
    assert_eq!(body!(b.next().await, Offer).sdp, "still here");
    Member::join_with(server.addr, join("two")).await;

    assert!(!set("").await.passcode_required);
    // A passcode that is not required is ignored.
    for passcode in ["", "one"] {
        Member::join_with(server.addr, join(passcode)).await;
    }
    assert!(set("three").await.passcode_required);
    // Other changes do not affect it.
    let room = change(&mut server.rooms().await, Room { max_members: 9, ..named("demo") }, &["max_members"]).await;
    assert!(room.passcode_required);
    assert_error(&refused(&server, join("")).await, Code::Unauthenticated, "PASSCODE_WRONG");
    Member::join_with(server.addr, join("three")).await;
}

#[tokio::test]
async fn a_wrong_passcode_reveals_nothing_about_members() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    let full = Room { max_members: 1, ..named("demo") };
    rooms.create_room(CreateRoomRequest { passcode: "secret".to_owned(), ..create(full) }).await.expect("a room");
    let _ann = Member::join_with(server.addr, Join { identity: "ann".to_owned(), ..join("secret") }).await;
    let ask = |passcode: &str| Join { identity: "bob".to_owned(), ..join(passcode) };
    assert_error(&refused(&server, ask("guess")).await, Code::Unauthenticated, "PASSCODE_WRONG");
    assert_error(&refused(&server, ask("secret")).await, Code::ResourceExhausted, "ROOM_FULL");
    change(&mut rooms, Room { duplicate_identity: 2, ..named("demo") }, &["duplicate_identity"]).await;
    let ask = |passcode: &str| Join { identity: "ann".to_owned(), ..join(passcode) };
    assert_error(&refused(&server, ask("guess")).await, Code::Unauthenticated, "PASSCODE_WRONG");
    assert_error(&refused(&server, ask("secret")).await, Code::AlreadyExists, "IDENTITY_TAKEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_rate_limited_and_the_right_passcode_still_joins() {
    let server = TestServer::start(&[]).await;
    let mut rooms = server.rooms().await;
    for name in ["demo", "other"] {
        rooms.create_room(with_passcode(name, "right")).await.expect("a room");
    }
    // Far more than the ten that a room allows at once.
    let addr = server.addr;
    let guesses: Vec<_> = (0..120)
        .map(|n| tokio::spawn(async move { Member::try_join(addr, join(&format!("guess {n}"))).await.err() }))
        .collect();
    let (mut wrong, mut limited) = (0, 0);
    for guess in guesses {
        let status = guess.await.unwrap().expect("no guess is right");
        if status.code() == Code::Unauthenticated {
            assert_error(&status, Code::Unauthenticated, "PASSCODE_WRONG");
            wrong += 1;
        } else {
            assert_error(&status, Code::ResourceExhausted, "RATE_LIMITED");
            let retry = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("RetryInfo");
            assert!(retry <= Duration::from_secs(5), "{retry:?}");
            limited += 1;
        }
    }
    // One more for every 4 s that the checks take.
    assert!((10..=20).contains(&wrong), "{wrong} guesses were checked, not ten and a few more");
    assert_eq!(wrong + limited, 120);

    // Other rooms are not affected. The room itself admits the correct passcode after the retry delay.
    Member::join_with(addr, Join { passcode: "right".to_owned(), ..messages::join("other") }).await;
    let member = eventually(DEADLINE, "the right passcode is checked", async || {
        match Member::try_join(addr, join("right")).await {
            Ok(member) => Some(member),
            Err(status) => {
                assert_error(&status, Code::ResourceExhausted, "RATE_LIMITED");
                None
            }
        }
    });
    let member = member.await;
    // A resume needs no passcode.
    Member::resume(&server, &member.disconnect()).await;
}
