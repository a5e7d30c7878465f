//! A store that fails or hangs: live rooms continue, and calls that need the store fail in time.

use std::{
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use signalbox_proto::v1::{DeleteRoomRequest, ListMembersRequest, ListRoomsRequest, RemoveMemberRequest, Room};
use signalbox_testkit::eventually;
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{self as test, change, create, get, named, update};
use crate::common::{
    DEADLINE, TestServer, assert_error, body,
    internals::{
        Created, EmbeddedStore, Filter, Limits, Passcodes, Random, Record, RoomDefaults, RoomError, RoomName, Rooms,
        Settings, Store, Unavailable, Updated, Usage, WatchNext, now_ms, room_name,
    },
    messages,
    native::Member,
    within,
};

/// State of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Healthy,
    /// Its answers are errors.
    Failing,
    /// It does not answer.
    Hanging,
}

/// The embedded store, behind a switch.
struct Breakable {
    store: EmbeddedStore,
    state: watch::Sender<State>,
}

impl Breakable {
    async fn open(folder: &TempDir) -> Arc<Self> {
        let store = EmbeddedStore::open(folder.path().to_owned()).await.unwrap();
        Arc::new(Self { store, state: watch::Sender::new(State::Healthy) })
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

/// Awaits a call that must fail in time, because the store is unavailable.
async fn unavailable<T: std::fmt::Debug>(call: impl Future<Output = Result<T, Status>>) {
    let started = Instant::now();
    let status = call.await.expect_err("the store is unavailable");
    assert!(started.elapsed() < Duration::from_secs(2), "after {:?}", started.elapsed());
    assert_error(&status, Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some(), "it has retry_delay");
}

#[tokio::test]
async fn live_rooms_continue_and_calls_that_need_the_store_fail_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = Breakable::open(&folder).await;
    let server = TestServer::start_with(store.clone(), &["--heartbeat", "60s"]).await;
    let mut rooms = server.rooms().await;
    rooms.create_room(create(named("stored"))).await.expect("a room");
    let mut a = Member::join(&server, "demo").await;
    let leaver = Member::join(&server, "passed").await;

    for state in [State::Failing, State::Hanging] {
        store.set(state);
        // Joins, resumes and signals in a live room.
        let mut b = Member::join_with(server.addr, messages::join_as("demo", "bob")).await;
        body!(a.next().await, MemberJoined);
        a.send(&b.id, messages::offer("o")).await;
        assert_eq!(body!(b.next().await, Offer).sdp, "o");
        let b = Member::resume(&server, &b.disconnect()).await;
        for _ in 0..2 {
            body!(a.next().await, MemberUpdated);
        }
        assert_eq!(rooms.get_room(get("demo")).await.expect("it is live").into_inner().member_count, 2);
        let members = ListMembersRequest { room: "demo".to_owned() };
        assert_eq!(rooms.list_members(members).await.expect("it is live").into_inner().members.len(), 2);
        let live = ListRoomsRequest { live_only: true, ..ListRoomsRequest::default() };
        assert!(!rooms.list_rooms(live).await.expect("they are live").into_inner().rooms.is_empty());
        rooms.watch_room(test::watch("demo")).await.expect("it is live");

        // Calls that need the store.
        let join = async |room: &str| Member::try_join(server.addr, messages::join(room)).await.map(|member| member.id);
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
        // A ban must be stored, so the removal fails with it. A removal without a ban succeeds.
        let ban = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let remove = RemoveMemberRequest { room: "demo".to_owned(), member_id: b.id.clone(), ban };
        unavailable(rooms.clone().remove_member(remove.clone())).await;
        assert_eq!(rooms.get_room(get("demo")).await.expect("it is live").into_inner().member_count, 2);
        rooms.remove_member(RemoveMemberRequest { ban: None, ..remove }).await.expect("it is there");
        body!(a.next().await, MemberLeft);
        Member::join_with(server.addr, messages::join_as("demo", "bob")).await.leave().await;
        body!(a.next().await, MemberJoined);
        body!(a.next().await, MemberLeft);
        if state == State::Failing {
            store.set(State::Healthy);
            change(&mut rooms, Room { max_members: 7, ..named("demo") }, &["max_members"]).await;
        }
    }
    leaver.leave().await;

    // The calls that hung are completed in order: the room was locked, then deleted.
    store.set(State::Healthy);
    assert_error(&a.expect_go_away().await.1, Code::Aborted, "ROOM_CLOSED");
    assert_error(&rooms.get_room(get("demo")).await.unwrap_err(), Code::NotFound, "ROOM_NOT_FOUND");
    let created = rooms.create_room(create(named("created"))).await.unwrap_err();
    assert_error(&created, Code::AlreadyExists, "ROOM_EXISTS");
    Member::join(&server, "new").await;
}

#[tokio::test]
async fn a_change_that_only_the_store_has_is_applied_to_the_live_room() {
    let folder = tempfile::tempdir().unwrap();
    let store = Breakable::open(&folder).await;
    let server = TestServer::start_with(store.clone(), &[]).await;
    let mut rooms = server.rooms().await;
    let _member = Member::join(&server, "demo").await;
    // The live room does not have the change, as after a lost reply.
    let name = room_name("demo");
    let settings = store.store.get(&name).await.unwrap().expect("a record").settings;
    store.store.update(&name, None, Settings { locked: true, ..settings }).await.unwrap();

    let stale = Room { max_members: 9, etag: "1".to_owned(), ..named("demo") };
    let stale = rooms.update_room(update(stale, &["max_members"])).await.unwrap_err();
    assert_error(&stale, Code::Aborted, "ETAG_MISMATCH");
    let locked = Member::try_join(server.addr, messages::join("demo")).await.err().expect("it is locked");
    assert_error(&locked, Code::PermissionDenied, "ROOM_LOCKED");
    let room = change(&mut rooms, Room { max_members: 9, ..named("demo") }, &["max_members"]).await;
    assert_eq!((room.locked, room.max_members, room.etag.as_str()), (true, 9, "3"));
}

#[tokio::test]
async fn a_watch_does_not_continue_in_the_next_room_of_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = Breakable::open(&folder).await;
    let server = TestServer::start_with(store.clone(), &[]).await;
    let mut rooms = server.rooms().await;
    for by_join in [true, false] {
        rooms.create_room(create(named("demo"))).await.expect("a room");
        let mut watching = rooms.watch_room(test::watch("demo")).await.expect("it is there").into_inner();
        store.store.delete(&room_name("demo")).await.unwrap();
        if by_join {
            Member::join(&server, "demo").await;
            rooms.delete_room(DeleteRoomRequest { name: "demo".to_owned() }).await.expect("it is there");
        } else {
            rooms.create_room(create(named("demo"))).await.expect("a room");
        }
        let status = watching.message().await.expect_err("the watch ends");
        assert_error(&status, Code::Aborted, "ROOM_CLOSED");
    }
}

#[tokio::test]
async fn a_room_that_is_only_watched_expires() {
    let folder = tempfile::tempdir().unwrap();
    let store = Breakable::open(&folder).await;
    let defaults = RoomDefaults {
        auto_create: true,
        max_members: 64,
        max_room_members: 64,
        empty_timeout: Duration::from_secs(60),
    };
    let rooms = Rooms::new(store.clone(), Passcodes::new(Random::system()), Limits::default(), defaults);
    let mut watched = Vec::new();
    for name in ["kept", "expired"] {
        let name = room_name(name);
        store.create(Record::new(&name, Settings::default(), now_ms())).await.unwrap();
        let (room, watch, members) = rooms.watch(&name).await.expect("the room exists");
        assert!(members.is_empty());
        watched.push((room, watch));
    }
    let expired = room_name("expired");
    let over = Settings { ends_at_ms: Some(1), ..Settings::default() };
    assert!(matches!(store.update(&expired, None, over).await.unwrap(), Updated::Done(_)));
    let write_behind = tokio::spawn(rooms.clone().run_write_behind());
    let polled = || watched.iter().map(|(room, watch)| room.poll_watch(*watch, Waker::noop())).collect::<Vec<_>>();
    let is_closed = || matches!(polled()[..], [WatchNext::Wait, WatchNext::End(RoomError::RoomClosed)]).then_some(());
    eventually(DEADLINE, "the expired room is closed", async || is_closed()).await;
    rooms.drain();
    within(DEADLINE, write_behind).await.unwrap();
    assert!(matches!(polled()[..], [WatchNext::End(RoomError::Draining), WatchNext::End(RoomError::RoomClosed)]));
}
