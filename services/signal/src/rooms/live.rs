//! A live room: its state under a lock, and its last known record.

use std::{
    sync::{Arc, Weak},
    task::Waker,
};

use parking_lot::{Mutex, MutexGuard};
use signalbox_core::{Policy, Room, WatchNext, id::RoomName};
use tracing::info;

use super::{RoomDefaults, RoomSnapshot, Rooms};
use crate::{
    clock::{now, now_ms},
    store::{Record, Usage},
};

/// A room in memory, with its last known record.
pub struct LiveRoom {
    name: RoomName,
    /// Blocking locks, because critical sections are short and never await. Lock order: `room`, then `stored`.
    room: Mutex<Room>,
    stored: Mutex<Stored>,
    rooms: Weak<Rooms>,
}

/// The last known record of a live room, and the usage that write-behind has taken.
struct Stored {
    /// The record as last read or changed. Its counters keep their values from when the room became live.
    record: Arc<Record>,
    /// Joins and calls since the room became live that write-behind has already taken.
    reported: (u64, u64),
}

impl LiveRoom {
    pub(super) fn new(name: RoomName, record: Record, room: Room, rooms: Weak<Rooms>) -> Self {
        let stored = Stored { record: Arc::new(record), reported: (0, 0) };
        Self { name, room: Mutex::new(room), stored: Mutex::new(stored), rooms }
    }

    /// Runs `work` under the room's lock. After releasing the lock, wakes streams and removes the room if it is empty.
    pub fn with<T>(&self, work: impl FnOnce(&mut Room) -> T) -> T {
        let (result, wakers, retired, emptied) = {
            let mut room = self.lock();
            let (was_retired, was_empty) = (room.is_retired(), room.member_count() == 0);
            let result = work(&mut room);
            let retired = room.retire_if_empty() && !was_retired;
            let emptied = room.member_count() == 0 && !was_empty;
            (result, room.take_wakers(), retired, emptied)
        };
        wakers.into_iter().for_each(Waker::wake);
        if (retired || emptied)
            && let Some(rooms) = self.rooms.upgrade()
        {
            if emptied {
                rooms.room_emptied(self);
            }
            if retired {
                rooms.remove(self);
            }
        }
        result
    }

    /// Runs `read` under the room's lock.
    pub fn peek<T>(&self, read: impl FnOnce(&Room) -> T) -> T {
        read(&self.lock())
    }

    /// Runs the timers of the room, and closes the room at its `expires_at`.
    pub(super) fn tick(&self) {
        let ends_at_ms = self.stored.lock().record.settings.ends_at_ms;
        if ends_at_ms.is_some_and(|at| at <= now_ms()) {
            info!(room = %self.name, "room expired");
            return self.close();
        }
        self.with(|room| room.tick(now()));
    }

    /// Ends every session and every watch.
    pub fn close(&self) {
        self.with(|room| room.close(now()));
    }

    /// Applies changed settings.
    pub(super) fn apply(&self, record: Record, policy: Policy, defaults: &RoomDefaults) {
        self.with(|room| {
            {
                let mut stored = self.stored.lock();
                // Keep the counters of the first record: `snapshot_of` adds the counters since the room became live.
                let (joins, calls) = (stored.record.joins, stored.record.calls);
                stored.record = Arc::new(Record { joins, calls, ..record });
            }
            room.set_policy(policy);
            if room.is_watched() {
                room.settings_changed(now(), self.snapshot_of(room).operator_view(defaults));
            }
        });
    }

    /// Returns the current state of the room.
    pub fn snapshot(&self) -> RoomSnapshot {
        self.snapshot_of(&self.lock())
    }

    fn snapshot_of(&self, room: &Room) -> RoomSnapshot {
        let mut record = Record::clone(&self.stored.lock().record);
        let (counts, member_count) = (room.counts(), room.member_count());
        record.joins += counts.opened;
        record.calls += counts.calls;
        if member_count > 0 {
            record.last_active_ms = now_ms();
        }
        RoomSnapshot { record, member_count }
    }

    /// Takes the usage since the last call, and reports the room as active now. The room must have members or have just
    /// become empty.
    pub(super) fn take_usage(&self) -> Usage {
        let room = self.lock();
        let (mut stored, counted) = (self.stored.lock(), (room.counts().opened, room.counts().calls));
        let (joins, calls) = (counted.0 - stored.reported.0, counted.1 - stored.reported.1);
        stored.reported = counted;
        Usage { name: self.name.clone(), joins, calls, last_active_ms: now_ms() }
    }

    /// Returns whether the room has members.
    pub fn is_in_use(&self) -> bool {
        self.peek(|room| room.member_count() > 0)
    }

    /// Returns whether the room is empty and live only for its watchers.
    pub fn is_dormant(&self) -> bool {
        self.peek(|room| room.member_count() == 0 && room.is_watched())
    }

    /// Returns the next event or the end of a watch.
    pub fn poll_watch(&self, watch: u64, waker: &Waker) -> WatchNext {
        // Polling leaves no wakers and ends no session, so `with` is not needed.
        self.lock().poll_watch(watch, waker)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock()
    }

    pub(super) fn rooms(&self) -> Option<Arc<Rooms>> {
        self.rooms.upgrade()
    }

    /// Returns the room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Returns the room's last known record.
    pub fn record(&self) -> Arc<Record> {
        self.stored.lock().record.clone()
    }
}
