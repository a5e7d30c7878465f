//! The guard of a stream that is attached to a session.

use std::{sync::Arc, task::Waker};

use signalbox_core::{Next, id::MemberId};

use super::LiveRoom;
use crate::clock::now;

/// Attaches a stream to a session. Dropping the guard reports the stream as lost.
pub struct StreamGuard {
    /// The room of the session.
    pub room: Arc<LiveRoom>,
    /// The member that owns the session.
    pub id: MemberId,
    /// The generation of the stream.
    pub generation: u64,
    /// Whether the client knows the session, from a `Welcome` or a resume. If not, dropping the guard ends the session.
    pub is_welcomed: bool,
}

impl StreamGuard {
    /// Attaches the stream of a newly opened or resumed session.
    pub fn new(room: Arc<LiveRoom>, id: MemberId, generation: u64, is_welcomed: bool) -> Self {
        room.rooms().inspect(|rooms| rooms.count_streams(|streams| *streams += 1));
        Self { room, id, generation, is_welcomed }
    }

    /// Returns the next step of the stream.
    pub fn poll(&self, waker: &Waker) -> Next {
        // Polling leaves no wakers and ends no session, so `LiveRoom::with` is not needed.
        self.room.lock().poll(now(), self.id, self.generation, waker)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.room.with(|room| {
            if self.is_welcomed {
                room.stream_lost(now(), self.id, self.generation);
            } else {
                room.abandon(now(), self.id);
            }
        });
        self.room.rooms().inspect(|rooms| rooms.count_streams(|streams| *streams -= 1));
    }
}
