//! A live room under its lock, and a stream's hold on a session in it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
};

use tracing::info;

use super::{Hub, Look, RoomDefaults, now};
use crate::{
    room::{
        Next, Policy, Room, Seen,
        id::{MemberId, RoomName},
    },
    store::{Record, Tally, now_ms},
};

/// A live room: its state under its lock.
pub struct LiveRoom {
    name: RoomName,
    /// Std locks: sections are short and nothing is awaited inside. Where both are held, the room's is taken first.
    room: Mutex<Room>,
    stored: Mutex<Stored>,
    hub: Weak<Hub>,
}

/// What is known of a live room's record.
struct Stored {
    /// As it was read or changed last; its counters as they were when the room became live.
    record: Arc<Record>,
    /// Joins and calls that were counted since then and are on their way to the record.
    told: (u64, u64),
}

impl LiveRoom {
    pub(super) fn new(name: RoomName, record: Record, room: Room, hub: Weak<Hub>) -> Self {
        let stored = Stored { record: Arc::new(record), told: (0, 0) };
        Self { name, room: Mutex::new(room), stored: Mutex::new(stored), hub }
    }

    /// Works on the room under its lock; then, without it, wakes the streams that have something to do and takes the
    /// room out of the hub if nobody is left.
    pub fn with<T>(&self, work: impl FnOnce(&mut Room) -> T) -> T {
        let (result, wakes, retired, emptied) = {
            let mut room = self.lock();
            let (was_retired, was_empty) = (room.is_retired(), room.member_count() == 0);
            let result = work(&mut room);
            let retired = room.retire_if_empty() && !was_retired;
            let emptied = room.member_count() == 0 && !was_empty;
            (result, room.take_wakes(), retired, emptied)
        };
        wakes.into_iter().for_each(Waker::wake);
        if (retired || emptied)
            && let Some(hub) = self.hub.upgrade()
        {
            if emptied {
                hub.emptied(self);
            }
            if retired {
                hub.forget(self);
            }
        }
        result
    }

    /// Looks at the room under its lock.
    pub fn peek<T>(&self, look: impl FnOnce(&Room) -> T) -> T {
        look(&self.lock())
    }

    /// Lets time pass. A room whose end has come is closed; its record counts as gone.
    pub(super) fn tick(&self) {
        let ends_at_ms = self.stored().record.settings.ends_at_ms;
        if ends_at_ms.is_some_and(|at| at <= now_ms()) {
            info!(room = %self.name, "room closed: its time is over");
            return self.close();
        }
        self.with(|room| room.tick(now()));
    }

    /// Ends every session and every watch: the room is closed for good.
    pub fn close(&self) {
        self.with(|room| room.close(now()));
    }

    /// Goes by changed settings from now on.
    pub(super) fn adopt(&self, record: Record, policy: Policy, defaults: &RoomDefaults) {
        self.with(|room| {
            {
                let mut stored = self.stored();
                // What was counted since then is still added to what was on record then.
                let (joins, calls) = (stored.record.joins, stored.record.calls);
                stored.record = Arc::new(Record { joins, calls, ..record });
            }
            room.set_policy(policy);
            if room.is_watched() {
                room.settings_changed(now(), self.look_at(room).for_operators(defaults));
            }
        });
    }

    /// How the room looks from outside.
    pub fn look(&self) -> Look {
        self.look_at(&self.lock())
    }

    fn look_at(&self, room: &Room) -> Look {
        let mut record = Record::clone(&self.stored().record);
        let (counts, member_count) = (room.counts(), room.member_count());
        record.joins += counts.opened;
        record.calls += counts.calls;
        if member_count > 0 {
            record.last_active_ms = now_ms();
        }
        Look { record, member_count }
    }

    /// What was counted since this was asked last, of a room that somebody is in or was in until now.
    pub(super) fn tally(&self) -> Tally {
        let room = self.lock();
        let (mut stored, counted) = (self.stored(), (room.counts().opened, room.counts().calls));
        let (joins, calls) = (counted.0 - stored.told.0, counted.1 - stored.told.1);
        stored.told = counted;
        Tally { name: self.name.clone(), joins, calls, last_active_ms: now_ms() }
    }

    /// Whether somebody is in the room.
    pub fn is_in_use(&self) -> bool {
        self.peek(|room| room.member_count() > 0)
    }

    /// Whether nobody is in the room, and it is kept only for those who watch it.
    pub fn is_dormant(&self) -> bool {
        self.peek(|room| room.member_count() == 0 && room.is_watched())
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a watch gives next.
    pub fn poll_watch(&self, watch: u64, waker: &Waker) -> Seen {
        // Taking leaves no wakes and ends nothing: the lock is enough.
        self.lock().poll_watch(watch, waker)
    }

    /// The lock; a panic under it leaves a room whose next call is as good as any.
    pub(super) fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_seats(&self, count: impl FnOnce(&mut usize)) {
        if let Some(hub) = self.hub.upgrade() {
            // Only the last seat is news, to a server that stops.
            hub.seats.send_if_modified(|seats| {
                count(seats);
                *seats == 0
            });
        }
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// What is stored of the room.
    pub fn record(&self) -> Arc<Record> {
        self.stored().record.clone()
    }
}

/// A stream's hold on a session. Dropping it is how the room learns that the stream is gone.
pub struct Seat {
    /// The room.
    pub room: Arc<LiveRoom>,
    /// The member.
    pub id: MemberId,
    /// The stream's generation.
    pub generation: u64,
    /// Whether the client can know of the session: its `welcome` has left, or it has resumed.
    pub welcomed: bool,
}

impl Seat {
    /// Takes hold of a session that was just opened.
    pub fn new(room: Arc<LiveRoom>, id: MemberId, generation: u64) -> Self {
        room.count_seats(|seats| *seats += 1);
        Self { room, id, generation, welcomed: false }
    }

    /// What the stream does next.
    pub fn poll(&self, waker: &Waker) -> Next {
        // Taking leaves no wakes and ends nothing: the lock is enough.
        self.room.lock().poll(now(), self.id, self.generation, waker)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.with(|room| {
            if self.welcomed {
                room.stream_lost(now(), self.id, self.generation);
            } else {
                room.abandon(now(), self.id);
            }
        });
        self.room.count_seats(|seats| *seats -= 1);
    }
}
