//! All live rooms, and what connects them to the clock, the store and the streams.

mod live;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use signalbox_proto::v1::DuplicateIdentity;
use tokio::{
    sync::{self, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

pub use self::live::{LiveRoom, Seat};
use crate::{
    error::Error,
    limit::Limits,
    metrics::{Figures, Refusals},
    random::Random,
    room::{Carrier, Newcomer, Opened, Policy, RETRY, Room, count::Counts, id::RoomName},
    store::{Created, GRACE, Record, Settings, Store, now_ms},
};

/// How often rooms look what is due; a window or a stall is found at most this much late.
const TICK: Duration = Duration::from_millis(250);
/// How often records of rooms in use have their expiry put off.
const BOOKKEEPING: Duration = Duration::from_secs(30);
/// How long somebody may wait for what needs the store, also behind others at the same room. A little longer than one
/// call to it may take, so that who waits alone is told by the store itself.
const STORE_TIMEOUT: Duration = Duration::from_millis(1700);
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
    random: Random,
    limits: Limits,
    defaults: RoomDefaults,
    /// Held while a room is opened from its record, created or deleted. Awaited, but never on the path of a signal.
    gates: [sync::Mutex<()>; GATES],
    hasher: RandomState,
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
    pub fn new(store: Arc<dyn Store>, random: Random, limits: Limits, defaults: RoomDefaults) -> Arc<Self> {
        Arc::new(Self {
            rooms: RwLock::default(),
            store,
            random,
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

    /// Where the records are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Does what needs the store, or says in time that it cannot be reached. What it was asked by then may be done.
    pub async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        time::timeout(STORE_TIMEOUT, work).await.unwrap_or(Err(Error::StoreUnavailable))
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

    /// Opens a session, and the room if need be.
    pub async fn join(
        self: &Arc<Self>,
        name: &RoomName,
        newcomer: impl Fn() -> Newcomer,
        carrier: Carrier,
    ) -> Result<(Seat, Opened, Record), Error> {
        loop {
            let room = match self.find(name) {
                Some(room) => room,
                None => self.in_time(self.open(name)).await?,
            };
            let newcomer = newcomer();
            let id = newcomer.id;
            // A room that was given up between the two lines is simply opened anew.
            let joined = room.with(|r| (!r.is_retired()).then(|| r.join(now(), newcomer, carrier)));
            if let Some(joined) = joined {
                let opened = joined?;
                let record = room.record().clone();
                let seat = Seat::new(room, id, opened.generation);
                return Ok((seat, opened, record));
            }
        }
    }

    /// Makes a room live from its record, creating that where the server does so.
    async fn open(self: &Arc<Self>, name: &RoomName) -> Result<Arc<LiveRoom>, Error> {
        let _gate = self.gate(name).await;
        if let Some(room) = self.find(name) {
            return Ok(room);
        }
        let record = match self.store.get(name).await? {
            Some(record) => {
                if record.settings.empty_timeout_ms.is_some() {
                    self.store.keep(vec![name.clone()], GRACE).await?;
                }
                record
            }
            None if self.defaults.auto_create => self.create_for_join(name).await?,
            None => return Err(Error::RoomNotFound),
        };
        let policy = Policy {
            max_members: record.settings.max_members.unwrap_or(self.defaults.max_members),
            locked: record.settings.locked,
            duplicate_identity: DuplicateIdentity::try_from(record.settings.duplicate_identity)
                .unwrap_or(DuplicateIdentity::Replace),
        };
        let room = Room::new(policy, self.limits.clone());
        let room = Arc::new(LiveRoom::new(name.clone(), record, room, Arc::downgrade(self)));
        let mut rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        // Under this lock: either draining is seen here, or the room is seen by whoever drains.
        if self.is_draining() {
            return Err(Error::Draining(RETRY));
        }
        rooms.insert(name.clone(), room.clone());
        drop(rooms);
        debug!(room = %name, "room opened");
        Ok(room)
    }

    async fn create_for_join(&self, name: &RoomName) -> Result<Record, Error> {
        let timeout = u64::try_from(self.defaults.empty_timeout.as_millis()).unwrap_or(u64::MAX);
        let settings = Settings {
            duplicate_identity: DuplicateIdentity::Replace.into(),
            empty_timeout_ms: Some(timeout),
            ..Settings::default()
        };
        let record = Record::new(name, settings, now_ms());
        match self.store.create(record.clone()).await? {
            Created::New => Ok(record),
            Created::Exists(existing) => Ok(*existing),
        }
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
                room.with(|r| r.tick(now()));
            }
        }
    }

    /// Keeps the records of rooms in use, and lets the others expire, for as long as the server runs.
    pub async fn run_bookkeeping(self: Arc<Self>) {
        let mut tick = time::interval(BOOKKEEPING);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let in_use = self.all().iter().map(|room| room.name().clone()).collect();
            // What fails now is done at the next tick; the store has logged it.
            if let Ok(expired) = self.store.keep(in_use, GRACE).await
                && expired > 0
            {
                info!(expired, "records of empty rooms expired");
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
        self.all().iter().map(|room| room.with(|r| r.member_count())).sum()
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
