//! The response stream of a watch.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Instant, SystemTime},
    vec,
};

use futures_core::Stream;
use signalbox_proto::v1::RoomEvent;
use tonic::Status;

use crate::{
    hub::{LiveRoom, now},
    room::Seen,
};

/// A watch of a room; dropping it ends the watch.
pub struct Watching {
    room: Arc<LiveRoom>,
    watch: u64,
    /// Who was there when it began.
    there: vec::IntoIter<RoomEvent>,
    is_over: bool,
}

impl Watching {
    pub(super) fn new(room: Arc<LiveRoom>, watch: u64, there: Vec<RoomEvent>) -> Self {
        Self { room, watch, there: there.into_iter(), is_over: false }
    }
}

impl Stream for Watching {
    type Item = Result<RoomEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(event) = self.there.next() {
            return Poll::Ready(Some(Ok(at(now(), event))));
        }
        match self.room.poll_watch(self.watch, cx.waker()) {
            Seen::Event(then, event) => Poll::Ready(Some(Ok(at(then, Arc::unwrap_or_clone(event))))),
            Seen::Wait => Poll::Pending,
            Seen::End(error) => {
                self.is_over = true;
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.room.with(|room| room.unwatch(self.watch));
    }
}

/// The room's clock has no date.
fn at(then: Instant, event: RoomEvent) -> RoomEvent {
    let at = SystemTime::now() - now().saturating_duration_since(then);
    RoomEvent { at: Some(at.into()), ..event }
}
