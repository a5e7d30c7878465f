//! A store that is not there: live rooms go on, and whoever needs the store is told so in time.

use std::{
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use signalbox_core::{Limits, WatchNext, id::RoomName};
use signalbox_proto::v1::{DeleteRoomRequest, ListMembersRequest, ListRoomsRequest, RemoveMemberRequest, Room};
use signalbox_server::{
    auth::Passcodes,
    clock::now_ms,
    error::RoomError,
    random::Random,
    rooms::{RoomDefaults, Rooms},
    store::{Created, EmbeddedStore, Filter, Record, Settings, Store, Unavailable, Updated, Usage},
};
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{self as test, change, create, get, named, update};
use crate::common::{DEADLINE, TestServer, assert_error, body, native::Member, say, within};

/// How the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// It answers that it cannot.
    Failing,
    /// It does not answer.
    Hanging,
}

/// The real store, behind something that breaks.
struct Breakable {
    store: EmbeddedStore,
    state: watch::Sender<State>,
}

impl Breakable {
    async fn open(folder: &TempDir) -> Arc<Self> {
        let store = EmbeddedStore::open(folder.path().to_owned()).await.unwrap();
        Arc::new(Self { store, state: watch::Sender::new(State::Well) })
    }

    fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    async fn reach(&self) -> Result<&EmbeddedStore, Unavailable> {
        let mut state = self.state.subscribe();
        let state = *state.wait_for(|state| *state != State::Hanging).await.expect("the sender is here");
        if state == State::Failing { Err(Unavailable) } else { Ok(&self.store) }
    }
}

#[async_trait]
impl Store for Breakable {
    fn kind(&self) -> &'static str {
        self.store.kind()
    }
    async fn check(&self) -> Result<(), Unavailable> {
        self.reach().await?.check().await
    }
    async fn create(&self, record: Record) -> Result<Created, Unavailable> {
        self.reach().await?.create(record).await
    }
    async fn get(&self, name: &RoomName) -> Result<Option<Record>, Unavailable> {
        self.reach().await?.get(name).await
    }
    async fn list(&self, filter: Filter) -> Result<Vec<Record>, Unavailable> {
        self.reach().await?.list(filter).await
    }
    async fn update(&self, name: &RoomName, expected: Option<u64>, to: Settings) -> Result<Updated, Unavailable> {
        self.reach().await?.update(name, expected, to).await
    }
    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable> {
        self.reach().await?.delete(name).await
    }
    async fn renew_expiry(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable> {
        self.reach().await?.renew_expiry(in_use, grace).await
    }
    async fn add_usage(&self, usages: Vec<Usage>) -> Result<(), Unavailable> {
        self.reach().await?.add_usage(usages).await
    }
}

/// Awaits an answer that must be that the store cannot be reached, in time.
async fn unavailable<T: std::fmt::Debug>(call: impl Future<Output = Result<T, Status>>) {
    let started = Instant::now();
    let status = call.await.expect_err("the store is not there");
    assert!(started.elapsed() < Duration::from_secs(2), "after {:?}", started.elapsed());
    assert_error(&status, Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some(), "it says when to try again");
}

#[tokio::test]
async fn live_rooms_go_on_and_the_rest_is_told_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Breakable::open(&folder).await;
    let server = TestServer::start_with(store.clone(), &["--heartbeat", "60s"]).await;
    let mut rooms = server.rooms().await;
    rooms.create_room(create(named("stored"))).await.expect("a room");
    let mut a = Member::join(&server, "demo").await;
    let passer_by = Member::join(&server, "passed").await;

    for state in [State::Failing, State::Hanging] {
        store.set(state);
        // Into a live room, out of it, back into it, and to each other.
        let mut b = Member::join_with(server.addr, say::join_as("demo", "bob")).await;
        body!(a.next().await, MemberJoined);
        a.say(&b.id, say::offer("o")).await;
        assert_eq!(body!(b.next().await, Offer).sdp, "o");
        let b = Member::resume(&server, &b.lose()).await;
        for _ in 0..2 {
            body!(a.next().await, MemberUpdated);
        }
        assert_eq!(rooms.get_room(get("demo")).await.expect("it is live").into_inner().member_count, 2);
        let members = ListMembersRequest { room: "demo".to_owned() };
        assert_eq!(rooms.list_members(members).await.expect("it is live").into_inner().members.len(), 2);
        let live = ListRoomsRequest { live_only: true, ..ListRoomsRequest::default() };
        assert!(!rooms.list_rooms(live).await.expect("they are live").into_inner().rooms.is_empty());
        rooms.watch_room(test::watch("demo")).await.expect("it is live");

        // What needs the store.
        let join = async |room: &str| Member::try_join(server.addr, say::join(room)).await.map(|member| member.id);
        let [mut first, mut second, mut third, mut fourth, mut fifth] = std::array::from_fn(|_| rooms.clone());
        tokio::join!(
            unavailable(join("new")),
            unavailable(join("stored")),
            unavailable(first.create_room(create(named("created")))),
            unavailable(second.get_room(get("stored"))),
            unavailable(third.watch_room(test::watch("stored"))),
            unavailable(fourth.list_members(ListMembersRequest { room: "stored".to_owned() })),
            unavailable(fifth.list_rooms(ListRoomsRequest::default())),
        );
        unavailable(rooms.clone().update_room(update(Room { locked: true, ..named("demo") }, &["locked"]))).await;
        unavailable(rooms.clone().delete_room(DeleteRoomRequest { name: "demo".to_owned() })).await;
        // A ban is for later, so it is all or nothing; to remove somebody works now.
        let ban = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let remove = RemoveMemberRequest { room: "demo".to_owned(), member_id: b.id.clone(), ban };
        unavailable(rooms.clone().remove_member(remove.clone())).await;
        assert_eq!(rooms.get_room(get("demo")).await.expect("it is live").into_inner().member_count, 2);
        rooms.remove_member(RemoveMemberRequest { ban: None, ..remove }).await.expect("it is there");
        body!(a.next().await, MemberLeft);
        Member::join_with(server.addr, say::join_as("demo", "bob")).await.leave().await;
        body!(a.next().await, MemberJoined);
        body!(a.next().await, MemberLeft);
        if state == State::Failing {
            store.set(State::Well);
            change(&mut rooms, Room { max_members: 7, ..named("demo") }, &["max_members"]).await;
        }
    }
    passer_by.leave().await;

    // What hung is done after all, in its order: the room was locked, and deleted.
    store.set(State::Well);
    assert_error(&a.sent_away().await.1, Code::Aborted, "ROOM_CLOSED");
    assert_error(&rooms.get_room(get("demo")).await.unwrap_err(), Code::NotFound, "ROOM_NOT_FOUND");
    let created = rooms.create_room(create(named("created"))).await.unwrap_err();
    assert_error(&created, Code::AlreadyExists, "ROOM_EXISTS");
    Member::join(&server, "new").await;
}

#[tokio::test]
async fn a_change_that_the_store_makes_late_holds_for_the_live_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = Breakable::open(&folder).await;
    let server = TestServer::start_with(store.clone(), &[]).await;
    let mut rooms = server.rooms().await;
    let _member = Member::join(&server, "demo").await;
    // The live room does not know of it: as after an answer that was lost.
    let name = RoomName::parse("demo", "name").unwrap();
    let settings = store.store.get(&name).await.unwrap().expect("a record").settings;
    store.store.update(&name, None, Settings { locked: true, ..settings }).await.unwrap();

    let stale = Room { max_members: 9, etag: "1".to_owned(), ..named("demo") };
    let stale = rooms.update_room(update(stale, &["max_members"])).await.unwrap_err();
    assert_error(&stale, Code::Aborted, "ETAG_MISMATCH");
    let locked = Member::try_join(server.addr, say::join("demo")).await.err().expect("it is locked after all");
    assert_error(&locked, Code::PermissionDenied, "ROOM_LOCKED");
    let room = change(&mut rooms, Room { max_members: 9, ..named("demo") }, &["max_members"]).await;
    assert_eq!((room.locked, room.max_members, room.etag.as_str()), (true, 9, "3"));
}

#[tokio::test]
async fn a_watch_of_a_room_whose_record_ended_does_not_go_on_in_the_next_of_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = Breakable::open(&folder).await;
    let server = TestServer::start_with(store.clone(), &[]).await;
    let mut rooms = server.rooms().await;
    for by_join in [true, false] {
        rooms.create_room(create(named("demo"))).await.expect("a room");
        let mut watching = rooms.watch_room(test::watch("demo")).await.expect("it is there").into_inner();
        store.store.delete(&RoomName::parse("demo", "name").unwrap()).await.unwrap();
        if by_join {
            Member::join(&server, "demo").await;
            rooms.delete_room(DeleteRoomRequest { name: "demo".to_owned() }).await.expect("it is there");
        } else {
            rooms.create_room(create(named("demo"))).await.expect("a room");
        }
        let status = watching.message().await.expect_err("it is over");
        assert_error(&status, Code::Aborted, "ROOM_CLOSED");
    }
}

#[tokio::test]
async fn a_room_that_is_only_watched_expires_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Breakable::open(&folder).await;
    let defaults = RoomDefaults {
        auto_create: true,
        max_members: 64,
        max_room_members: 64,
        empty_timeout: Duration::from_secs(60),
    };
    let hub = Rooms::new(store.clone(), Passcodes::new(Random::system()), Limits::default(), defaults);
    let mut watched = Vec::new();
    for name in ["kept", "expired"] {
        let name = RoomName::parse(name, "name").unwrap();
        store.create(Record::new(&name, Settings::default(), now_ms())).await.unwrap();
        let (room, watch, there) = hub.watch(&name).await.expect("the room is there");
        assert!(there.is_empty());
        watched.push((room, watch));
    }
    let expired = RoomName::parse("expired", "name").unwrap();
    let over = Settings { ends_at_ms: Some(1), ..Settings::default() };
    assert!(matches!(store.update(&expired, None, over).await.unwrap(), Updated::Done(_)));
    let bookkeeping = tokio::spawn(hub.clone().run_write_behind());
    let seen = || watched.iter().map(|(room, watch)| room.poll_watch(*watch, Waker::noop())).collect::<Vec<_>>();
    let mut tries = 0;
    while !matches!(seen()[..], [WatchNext::Wait, WatchNext::End(RoomError::RoomClosed)]) {
        tries += 1;
        assert!(tries < 500, "{:?}", seen());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hub.drain();
    within(DEADLINE, bookkeeping).await.unwrap();
    assert!(matches!(seen()[..], [WatchNext::End(RoomError::Draining), WatchNext::End(RoomError::RoomClosed)]));
}
