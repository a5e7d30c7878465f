//! A stream that is attached to a session.

use std::{sync::Arc, task::Waker};

use signalbox_core::{Next, id::MemberId};

use super::LiveRoom;
use crate::clock::now;

/// A stream that is attached to a session. Dropping it reports the stream as lost.
pub struct StreamGuard {
    /// The room.
    pub room: Arc<LiveRoom>,
    /// The member.
    pub id: MemberId,
    /// The stream's generation.
    pub generation: u64,
    /// Whether the client can know the session: its `Welcome` was sent, or it has resumed.
    pub is_welcomed: bool,
}

impl StreamGuard {
    /// Attaches the stream of a session that was just opened or resumed.
    pub fn new(room: Arc<LiveRoom>, id: MemberId, generation: u64, is_welcomed: bool) -> Self {
        room.rooms().inspect(|rooms| rooms.count_streams(|streams| *streams += 1));
        Self { room, id, generation, is_welcomed }
    }

    /// The next step of the stream.
    pub fn poll(&self, waker: &Waker) -> Next {
        // Polling leaves no wakers and ends nothing, so `with` is not needed.
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
