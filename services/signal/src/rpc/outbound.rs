//! The response stream of a session, from the first message to the final status.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use signalbox_core::{End, Frame, Next, id::MemberId};
use signalbox_proto::v1::{Action, GoAway, IceServers, server_message::Body};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};
use tonic::Status;

use super::join::{OpenStream, SessionOpener};
use crate::{
    error::{Error, RoomError},
    rooms::StreamGuard,
};

/// Clients of a draining server reconnect at random times within this interval.
const RETURN_SPREAD: Duration = Duration::from_secs(5);

/// A session's response stream. It merges the opening message, the room's frames, new ICE servers and `go_away`.
pub struct Outbound {
    state: State,
    /// Timer of the next heartbeat, ack or ICE refresh. `poll_next` resets it only after it fires, or for an earlier
    /// deadline.
    timer: Pin<Box<Sleep>>,
    /// Dropping this sender ends the task that reads the request stream.
    _alive: Option<oneshot::Sender<Infallible>>,
    opener: Arc<SessionOpener>,
    /// When the client needs fresh ICE servers.
    ice_due: Option<Instant>,
}

enum State {
    /// The session is not open yet. The response headers have been sent.
    Opening(oneshot::Receiver<Result<OpenStream, Status>>),
    Live(StreamGuard),
    /// `go_away` has been sent, and the status follows.
    Ending(Status),
    Ended,
}

impl Outbound {
    /// Creates the stream of a session that is not open yet.
    pub(super) fn new(
        opening: oneshot::Receiver<Result<OpenStream, Status>>,
        alive: Option<oneshot::Sender<Infallible>>,
        opener: Arc<SessionOpener>,
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        let mut this = Self { state: State::Opening(opening), timer, _alive: alive, opener, ice_due: None };
        this.schedule_ice();
        this
    }

    fn random_unit(&self) -> f64 {
        self.opener.context.random.unit()
    }

    fn schedule_ice(&mut self) {
        let after = self.opener.context.ice.refresh_after(self.random_unit());
        self.ice_due = after.map(|after| Instant::now() + after);
    }

    /// Returns new ICE servers if they are due.
    fn fresh_ice(&mut self, id: MemberId) -> Option<Frame> {
        self.ice_due.filter(|due| *due <= Instant::now())?;
        self.schedule_ice();
        let (ice_servers, expires_at) = self.opener.ice_servers(id);
        Some(Frame::unnumbered(Body::IceServers(IceServers { ice_servers, expires_at })))
    }

    fn end(&mut self, end: End) -> Poll<Option<Result<Frame, Status>>> {
        let error = match end {
            End::Left => {
                self.state = State::Ended;
                return Poll::Ready(None);
            }
            End::Fault(RoomError::Draining) => Error::Draining(RETURN_SPREAD.mul_f64(self.random_unit())),
            End::Fault(error) => error.into(),
        };
        let retry_after = if let Error::Draining(after) = &error { (*after).try_into().ok() } else { None };
        let go_away = GoAway { reason: error.reason().to_owned(), action: action(&error).into(), retry_after };
        self.state = State::Ending(error.into());
        Poll::Ready(Some(Ok(Frame::unnumbered(Body::GoAway(go_away)))))
    }
}

impl Stream for Outbound {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Opening(opening) => {
                    // The opening task drops the sender without a value only when the server stops.
                    let opened = ready!(Pin::new(opening).poll(cx))
                        .unwrap_or_else(|_| Err(Error::Draining(RETURN_SPREAD).into()));
                    match opened {
                        Ok(OpenStream { mut stream, first }) => {
                            stream.is_welcomed = true;
                            this.state = State::Live(stream);
                            return Poll::Ready(Some(Ok(first)));
                        }
                        Err(status) => {
                            this.state = State::Ended;
                            return Poll::Ready(Some(Err(status)));
                        }
                    }
                }
                State::Live(stream) => match stream.poll(cx.waker()) {
                    Next::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                    Next::End(end) => return this.end(end),
                    Next::Wait(deadline) => {
                        let id = stream.id;
                        if let Some(frame) = this.fresh_ice(id) {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        let deadline = Instant::from_std(deadline);
                        let deadline = this.ice_due.map_or(deadline, |due| due.min(deadline));
                        if deadline < this.timer.deadline() || this.timer.is_elapsed() {
                            this.timer.as_mut().reset(deadline);
                        }
                        // The timer may fire before the room's current deadline. The next poll then returns this
                        // deadline again.
                        ready!(this.timer.as_mut().poll(cx));
                    }
                },
                State::Ending(status) => {
                    let status = std::mem::replace(status, Status::ok(""));
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(status)));
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}

/// Returns what a client does after its stream ended with this error.
fn action(error: &Error) -> Action {
    match error {
        Error::Draining(_) | Error::Room(RoomError::HeartbeatTimeout | RoomError::SeqGap { .. }) => Action::Resume,
        Error::Room(RoomError::SessionGone | RoomError::SlowConsumer | RoomError::TokenExpired) => Action::Rejoin,
        // Replaced, removed, closed and fenced sessions end on purpose. Other errors are mistakes that the client would
        // repeat.
        _ => Action::Stop,
    }
}
