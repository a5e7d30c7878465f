//! The response stream of a watch.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Instant, SystemTime},
    vec,
};

use futures_core::Stream;
use signalbox_core::WatchNext;
use signalbox_proto::v1::RoomEvent;
use tonic::Status;

use crate::{clock::now, error::Error, rooms::LiveRoom};

/// The response stream of a watch. Dropping it ends the watch.
pub struct WatchStream {
    room: Arc<LiveRoom>,
    watch: u64,
    /// Members that were present when the watch started and are not sent yet.
    present: vec::IntoIter<RoomEvent>,
    is_over: bool,
}

impl WatchStream {
    pub(super) fn new(room: Arc<LiveRoom>, watch: u64, present: Vec<RoomEvent>) -> Self {
        Self { room, watch, present: present.into_iter(), is_over: false }
    }
}

impl Stream for WatchStream {
    type Item = Result<RoomEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(event) = self.present.next() {
            return Poll::Ready(Some(Ok(at(now(), event))));
        }
        match self.room.poll_watch(self.watch, cx.waker()) {
            WatchNext::Event(then, event) => Poll::Ready(Some(Ok(at(then, Arc::unwrap_or_clone(event))))),
            WatchNext::Wait => Poll::Pending,
            WatchNext::End(error) => {
                self.is_over = true;
                Poll::Ready(Some(Err(Error::Room(error).into())))
            }
        }
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.room.with(|room| room.unwatch(self.watch));
    }
}

/// Sets the wall-clock time of an event. The room only knows monotonic time.
fn at(then: Instant, event: RoomEvent) -> RoomEvent {
    let at = SystemTime::now() - now().saturating_duration_since(then);
    RoomEvent { at: Some(at.into()), ..event }
}
