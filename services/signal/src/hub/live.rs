//! A live room under its lock, and a stream's hold on a session in it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
};

use super::{Hub, now};
use crate::{
    room::{
        Next, Room,
        id::{MemberId, RoomName},
    },
    store::Record,
};

/// A live room: its state under its lock.
pub struct LiveRoom {
    name: RoomName,
    record: Record,
    /// A std lock: sections are short and nothing is awaited inside.
    room: Mutex<Room>,
    hub: Weak<Hub>,
}

impl LiveRoom {
    pub(super) fn new(name: RoomName, record: Record, room: Room, hub: Weak<Hub>) -> Self {
        Self { name, record, room: Mutex::new(room), hub }
    }

    /// Works on the room under its lock; then, without it, wakes the streams that have something to do and takes the
    /// room out of the hub if nobody is left.
    pub fn with<T>(&self, work: impl FnOnce(&mut Room) -> T) -> T {
        let (result, wakes, retired) = {
            let mut room = self.lock();
            let was_retired = room.is_retired();
            let result = work(&mut room);
            let retired = room.retire_if_empty() && !was_retired;
            (result, room.take_wakes(), retired)
        };
        wakes.into_iter().for_each(Waker::wake);
        if retired && let Some(hub) = self.hub.upgrade() {
            hub.forget(self);
        }
        result
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
    pub fn record(&self) -> &Record {
        &self.record
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
