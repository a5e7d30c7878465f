//! All live rooms, and what connects them to the clock, the store and the streams.

mod bookkeeping;
mod live;
mod look;
mod open;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{self, Semaphore, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::bookkeeping::Ledger;
pub use self::{
    live::{LiveRoom, Seat},
    look::{Look, describe},
};
use crate::{
    auth::Authority,
    error::Error,
    limit::Limits,
    memory::{self, Memory},
    metrics::{Figures, Refusals},
    passcode::Passcodes,
    random::Random,
    room::{RETRY, Room, count::Counts, id::RoomName},
    store::Store,
};

/// How often rooms look what is due; a window or a stall is found at most this much late.
const TICK: Duration = Duration::from_millis(250);
/// How long somebody may wait for what needs the store, also behind others at the same room. A little longer than one
/// call to it may take, so that who waits alone is told by the store itself.
const STORE_TIMEOUT: Duration = Duration::from_millis(1700);
/// Changes of records that may be under way; while the store hangs, further ones are refused.
const MAX_CHANGES: usize = 256;
/// How often the store is asked whether it is there.
pub const STORE_CHECK: Duration = Duration::from_secs(2);
/// Locks for what must not happen to one room at the same time; names share them by hash.
const GATES: usize = 64;

/// How rooms come into being.
#[derive(Debug, Clone)]
pub struct RoomDefaults {
    /// Whether a join makes a room that is not there.
    pub auto_create: bool,
    /// Seats of a room that says nothing about it.
    pub max_members: u32,
    /// Seats that a room may be set to have. Every join tells the whole roster, so that this is what bounds a join.
    pub max_room_members: u32,
    /// How long an auto-created room is kept when nobody is in it.
    pub empty_timeout: Duration,
}

/// All live rooms.
pub struct Hub {
    rooms: RwLock<HashMap<RoomName, Arc<LiveRoom>>>,
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    random: Random,
    memory: Arc<Memory>,
    limits: Limits,
    defaults: RoomDefaults,
    /// Held while a room is opened from its record, created or deleted. Awaited, but never on the path of a signal.
    gates: [sync::Mutex<()>; GATES],
    hasher: RandomState,
    passcodes: Passcodes,
    ledger: Ledger,
    /// Changes of records that are under way.
    changes: Arc<Semaphore>,
    store_is_well: AtomicBool,
    draining: CancellationToken,
    /// Streams that carry a session; a receiver for whoever waits for the last.
    seats: watch::Sender<usize>,
    /// What rooms that are gone have counted. Held while one goes, so that nothing is counted twice or not at all.
    past: Mutex<Counts>,
    refusals: Refusals,
}

impl Hub {
    /// No live rooms yet.
    pub fn new(
        store: Arc<dyn Store>,
        authority: Authority,
        random: Random,
        memory: Arc<Memory>,
        limits: Limits,
        defaults: RoomDefaults,
    ) -> Arc<Self> {
        Arc::new(Self {
            rooms: RwLock::default(),
            store,
            authority: Arc::new(authority),
            passcodes: Passcodes::new(random.clone()),
            ledger: Ledger::default(),
            changes: Arc::new(Semaphore::new(MAX_CHANGES)),
            random,
            memory,
            limits,
            defaults,
            gates: std::array::from_fn(|_| sync::Mutex::new(())),
            hasher: RandomState::new(),
            store_is_well: AtomicBool::new(true),
            draining: CancellationToken::new(),
            seats: watch::Sender::new(0),
            past: Mutex::default(),
            refusals: Refusals::default(),
        })
    }

    /// The limits that every room enforces.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How rooms come into being.
    pub fn defaults(&self) -> &RoomDefaults {
        &self.defaults
    }

    /// Where random bits come from.
    pub fn random(&self) -> &Random {
        &self.random
    }

    /// How much memory the process has, and may have.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Where the records are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Does what needs the store, or says in time that it cannot be reached. What it was asked by then may be done.
    pub async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        time::timeout(STORE_TIMEOUT, work).await.unwrap_or(Err(Error::StoreUnavailable))
    }

    /// Who decides who may do what.
    pub fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Hashes and tries passcodes.
    pub fn passcodes(&self) -> &Passcodes {
        &self.passcodes
    }

    /// Changes something of a record, and then of its live room: to the end, even if the caller goes away or is told
    /// after a while that the store does not answer, so that nothing stays half done.
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
        // Its task comes to no end only when the server stops.
        self.in_time(async { change.await.unwrap_or(Err(Error::Draining(RETRY))) }).await
    }

    /// Keeps others from creating, opening or deleting the room meanwhile.
    pub async fn gate(&self, name: &RoomName) -> sync::MutexGuard<'_, ()> {
        let index = self.hasher.hash_one(name) as usize % GATES;
        self.gates[index].lock().await
    }

    /// The room, if it is live.
    pub fn find(&self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All live rooms.
    pub fn all(&self) -> Vec<Arc<LiveRoom>> {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Takes a room that was given up out of the map, unless another has taken its place.
    fn forget(&self, room: &LiveRoom) {
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.add(room.lock().counts());
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        if rooms.get(room.name()).is_some_and(|known| std::ptr::eq(Arc::as_ptr(known), room)) {
            rooms.remove(room.name());
            debug!(room = %room.name(), "room closed: nobody is left");
        }
    }

    /// Lets time pass for all rooms, for as long as the server runs. Outside the streams, since a stream that stalls is
    /// not polled.
    pub async fn run_clock(self: Arc<Self>) {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for room in self.all() {
                room.tick();
            }
        }
    }

    /// Asks the store whether it is there, and remembers the answer for `store_is_well`.
    pub async fn check_store(&self) -> bool {
        let is_well = self.store.check().await.is_ok();
        self.store_is_well.store(is_well, Ordering::Relaxed);
        is_well
    }

    /// Whether the store was there when it was last asked.
    pub fn store_is_well(&self) -> bool {
        self.store_is_well.load(Ordering::Relaxed)
    }

    /// Whether the server is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Done when the server stops.
    pub async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// Done when no stream carries a session any more.
    pub async fn all_seats_empty(&self) {
        // The sender is here, so it cannot be gone.
        let _ = self.seats.subscribe().wait_for(|seats| *seats == 0).await;
    }

    /// What is and what was, over all rooms.
    pub fn figures(&self) -> Figures {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let mut figures = Figures { streams: *self.seats.borrow(), counts: past.clone(), ..Figures::default() };
        for room in self.all() {
            figures.add(&room.lock());
        }
        figures
    }

    /// How many were not let in, and why.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Sessions in all rooms.
    pub fn session_count(&self) -> usize {
        self.all().iter().map(|room| room.peek(Room::member_count)).sum()
    }

    /// Bytes that sessions and what is kept for them take at least.
    pub fn held_bytes(&self) -> u64 {
        let held_by = |room: &Room| room.held_bytes() as u64 + room.member_count() as u64 * memory::SESSION;
        self.all().iter().map(|room| room.peek(held_by)).sum()
    }

    /// Ends every stream after what waits for it was read.
    pub fn drain(&self) {
        self.draining.cancel();
        for room in self.all() {
            room.with(Room::drain);
        }
    }
}

/// The time, from the runtime's clock.
pub fn now() -> Instant {
    time::Instant::now().into_std()
}
