//! A live room: its state behind its lock, and its record as last known.

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

/// A room in memory: its state behind a lock, and its record.
pub struct LiveRoom {
    name: RoomName,
    /// Blocking locks: sections are short and await nothing. A caller that needs both takes the room's first.
    room: Mutex<Room>,
    stored: Mutex<Stored>,
    rooms: Weak<Rooms>,
}

/// The record of a live room, as last known.
struct Stored {
    /// The record as last read or changed, with the counters from when the room became live.
    record: Arc<Record>,
    /// Joins and calls since the room became live that were already passed to write-behind.
    reported: (u64, u64),
}

impl LiveRoom {
    pub(super) fn new(name: RoomName, record: Record, room: Room, rooms: Weak<Rooms>) -> Self {
        let stored = Stored { record: Arc::new(record), reported: (0, 0) };
        Self { name, room: Mutex::new(room), stored: Mutex::new(stored), rooms }
    }

    /// Works on the room under its lock. Then, without it, wakes streams and removes the room if it is empty.
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

    /// Reads from the room under its lock.
    pub fn peek<T>(&self, read: impl FnOnce(&Room) -> T) -> T {
        read(&self.lock())
    }

    /// Runs the timers of the room. A room that has reached its `expires_at` is closed, and its record counts as
    /// expired.
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
                // The counters since the room became live are added to those of the first record.
                let (joins, calls) = (stored.record.joins, stored.record.calls);
                stored.record = Arc::new(Record { joins, calls, ..record });
            }
            room.set_policy(policy);
            if room.is_watched() {
                room.settings_changed(now(), self.snapshot_of(room).operator_view(defaults));
            }
        });
    }

    /// The state of the room now.
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

    /// Takes the usage since the last call, of a room that has members or just became empty.
    pub(super) fn take_usage(&self) -> Usage {
        let room = self.lock();
        let (mut stored, counted) = (self.stored.lock(), (room.counts().opened, room.counts().calls));
        let (joins, calls) = (counted.0 - stored.reported.0, counted.1 - stored.reported.1);
        stored.reported = counted;
        Usage { name: self.name.clone(), joins, calls, last_active_ms: now_ms() }
    }

    /// Whether the room has members.
    pub fn is_in_use(&self) -> bool {
        self.peek(|room| room.member_count() > 0)
    }

    /// Whether the room is empty and live only for its watchers.
    pub fn is_dormant(&self) -> bool {
        self.peek(|room| room.member_count() == 0 && room.is_watched())
    }

    /// The next event or the end of a watch.
    pub fn poll_watch(&self, watch: u64, waker: &Waker) -> WatchNext {
        // Polling leaves no wakers and ends nothing, so `with` is not needed.
        self.lock().poll_watch(watch, waker)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Room> {
        self.room.lock()
    }

    pub(super) fn rooms(&self) -> Option<Arc<Rooms>> {
        self.rooms.upgrade()
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// The room's record.
    pub fn record(&self) -> Arc<Record> {
        self.stored.lock().record.clone()
    }
}
