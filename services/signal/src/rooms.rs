//! Live rooms: the map of rooms, the locks for opening and deleting, the timers, and the link to the store.

mod live;
mod open;
mod snapshot;
mod stream_guard;
mod write_behind;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use signalbox_core::{Limits, Room, count::Counts, id::RoomName};
use tokio::{
    sync::{self, Semaphore, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::write_behind::UsageBuffer;
pub use self::{
    live::LiveRoom,
    snapshot::{RoomSnapshot, member_view},
    stream_guard::StreamGuard,
};
use crate::{
    auth::Passcodes,
    error::{Error, RoomError},
    limits::memory,
    store::Store,
};

/// Interval of the room timers. A timeout fires at most this late.
const TICK: Duration = Duration::from_millis(250);
/// How long a caller waits for the store, including the wait for the room lock. It exceeds the timeout of one store
/// call, so that a caller that does not wait for the lock gets the store's own error.
const STORE_TIMEOUT: Duration = Duration::from_millis(1700);
/// Maximum concurrent changes of records. While the store hangs, the server rejects further changes.
const MAX_CHANGES: usize = 256;
/// Interval between checks of the store.
pub const STORE_CHECK: Duration = Duration::from_secs(2);
/// Number of locks that serialize creating, opening and deleting rooms. A room's name hashes to one of them.
const ROOM_LOCKS: usize = 64;

/// How rooms are created.
#[derive(Debug, Clone)]
pub struct RoomDefaults {
    /// Whether a join creates a missing room.
    pub auto_create: bool,
    /// Default member limit of a room.
    pub max_members: u32,
    /// Highest member limit that a room may set. It bounds the cost of a join, which sends the whole roster.
    pub max_room_members: u32,
    /// How long the server keeps an empty auto-created room.
    pub empty_timeout: Duration,
}

/// Number of live rooms, and totals over all rooms.
#[derive(Debug, Default)]
pub struct RoomStats {
    /// Number of live rooms.
    pub rooms: usize,
    /// Sessions with a stream.
    pub connected: usize,
    /// Sessions without a stream.
    pub suspended: usize,
    /// Open streams, including those whose session has ended or has a newer stream.
    pub streams: usize,
    /// Counters since the server started.
    pub counts: Counts,
}

/// All live rooms.
pub struct Rooms {
    live: RwLock<HashMap<RoomName, Arc<LiveRoom>>>,
    store: Arc<dyn Store>,
    limits: Limits,
    defaults: RoomDefaults,
    passcodes: Passcodes,
    /// Locks of room names, held while a caller creates, opens or deletes a room. They are async, but the path of a
    /// signal never takes them.
    room_locks: [sync::Mutex<()>; ROOM_LOCKS],
    hasher: RandomState,
    usage: UsageBuffer,
    changes: Arc<Semaphore>,
    store_is_available: AtomicBool,
    draining: CancellationToken,
    /// Number of open streams.
    streams: watch::Sender<usize>,
    /// Counters of closed rooms. `remove` holds the lock until the room has left `live`, so that `stats` counts no room
    /// twice.
    closed: Mutex<Counts>,
}

impl Rooms {
    /// Creates an empty map of rooms.
    pub fn new(store: Arc<dyn Store>, passcodes: Passcodes, limits: Limits, defaults: RoomDefaults) -> Arc<Self> {
        Arc::new(Self {
            live: RwLock::default(),
            store,
            limits,
            defaults,
            passcodes,
            room_locks: std::array::from_fn(|_| sync::Mutex::new(())),
            hasher: RandomState::new(),
            usage: UsageBuffer::default(),
            changes: Arc::new(Semaphore::new(MAX_CHANGES)),
            store_is_available: AtomicBool::new(true),
            draining: CancellationToken::new(),
            streams: watch::Sender::new(0),
            closed: Mutex::default(),
        })
    }

    /// Returns the limits that every room enforces.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the defaults of new rooms.
    pub fn defaults(&self) -> &RoomDefaults {
        &self.defaults
    }

    /// Returns the store of the room records.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Returns the passcode hasher and verifier.
    pub fn passcodes(&self) -> &Passcodes {
        &self.passcodes
    }

    /// Runs `work`, which needs the store, with a deadline. After a timeout, the outcome of `work` is unknown.
    pub async fn with_deadline<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        time::timeout(STORE_TIMEOUT, work).await.unwrap_or(Err(Error::StoreUnavailable))
    }

    /// Runs a change of a record and its live room in a separate task, so that a disconnect or a missed deadline cannot
    /// leave it half-applied.
    pub async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.changes.clone().try_acquire_owned().map_err(|_| Error::StoreUnavailable)?;
        let change = tokio::spawn(async move {
            let result = change.await;
            drop(permit);
            result
        });
        // The task is cancelled only when the server stops.
        self.with_deadline(async { change.await.unwrap_or(Err(RoomError::Draining.into())) }).await
    }

    /// Takes the lock that serializes creating, opening and deleting this room.
    pub async fn room_lock(&self, name: &RoomName) -> sync::MutexGuard<'_, ()> {
        let index = self.hasher.hash_one(name) as usize % ROOM_LOCKS;
        self.room_locks[index].lock().await
    }

    /// Returns the room if it is live.
    pub fn find(&self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        self.live.read().get(name).cloned()
    }

    /// Returns all live rooms.
    pub fn all(&self) -> Vec<Arc<LiveRoom>> {
        self.live.read().values().cloned().collect()
    }

    /// Removes a retired room from the map, unless a new room already has its name.
    fn remove(&self, room: &LiveRoom) {
        let mut closed = self.closed.lock();
        closed.add(room.lock().counts());
        let mut live = self.live.write();
        if live.get(room.name()).is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), room)) {
            live.remove(room.name());
            debug!(room = %room.name(), "empty room closed");
        }
    }

    /// Runs the timers of all rooms while the server runs. Streams cannot run them, because a stalled stream is not
    /// polled.
    pub async fn run_timers(self: Arc<Self>) {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for room in self.all() {
                room.tick();
            }
        }
    }

    /// Checks the store and records the result for [`store_is_available`](Self::store_is_available).
    pub async fn check_store(&self) -> bool {
        let is_available = self.store.check().await.is_ok();
        self.store_is_available.store(is_available, Ordering::Relaxed);
        is_available
    }

    /// Returns whether the store was available at the last check.
    pub fn store_is_available(&self) -> bool {
        self.store_is_available.load(Ordering::Relaxed)
    }

    /// Returns whether the server is draining.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Completes when the server starts to drain.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Starts draining: every stream delivers its waiting entries and ends.
    pub fn drain(&self) {
        self.draining.cancel();
        for room in self.all() {
            room.with(Room::drain);
        }
    }

    /// Completes when all streams are closed.
    pub async fn all_streams_closed(&self) {
        // `wait_for` fails only if the sender is dropped, but `self` owns it.
        let _ = self.streams.subscribe().wait_for(|streams| *streams == 0).await;
    }

    /// Returns the number of open streams.
    pub fn stream_count(&self) -> usize {
        *self.streams.borrow()
    }

    fn count_streams(&self, count: impl FnOnce(&mut usize)) {
        // Notify only when the last stream closes: `all_streams_closed` is the only waiter.
        self.streams.send_if_modified(|streams| {
            count(streams);
            *streams == 0
        });
    }

    /// Returns the totals over live and closed rooms.
    pub fn stats(&self) -> RoomStats {
        let closed = self.closed.lock();
        let mut stats = RoomStats { streams: self.stream_count(), counts: closed.clone(), ..RoomStats::default() };
        for room in self.all() {
            let room = room.lock();
            let (connected, suspended) = room.presence();
            stats.rooms += usize::from(!room.is_retired());
            stats.connected += connected;
            stats.suspended += suspended;
            stats.counts.add(room.counts());
        }
        stats
    }

    /// Returns the number of sessions in all rooms.
    pub fn session_count(&self) -> usize {
        self.all().iter().map(|room| room.peek(Room::member_count)).sum()
    }

    /// Returns a lower bound of the memory that sessions and their mailboxes use, in bytes.
    pub fn held_bytes(&self) -> u64 {
        let held_by = |room: &Room| room.held_bytes() as u64 + room.member_count() as u64 * memory::SESSION;
        self.all().iter().map(|room| room.peek(held_by)).sum()
    }
}
