//! The response stream of a session: what its room has for it, from the first message to the last.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use signalbox_proto::v1::{Action, GoAway, IceServers, server_message::Body};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until},
};
use tonic::Status;

use super::join::{Opening, Reception};
use crate::{
    error::Error,
    hub::Seat,
    room::{End, Frame, Next, id::MemberId},
};

/// Clients that a stopping server sends away come back spread over this time.
const RETURN_SPREAD: Duration = Duration::from_secs(5);

/// A session's response stream.
pub struct Outbound {
    state: State,
    /// The next heartbeat or ack; set back only when it fires or something is due before it.
    timer: Pin<Box<Sleep>>,
    /// Dropped with this stream, which tells the task that reads the other direction.
    _alive: Option<oneshot::Sender<Infallible>>,
    reception: Arc<Reception>,
    /// When the client needs fresh ICE servers.
    ice_due: Option<Instant>,
}

enum State {
    /// The session is being opened; the headers are out already.
    Opening(oneshot::Receiver<Result<Opening, Status>>),
    /// The session is open.
    Live(Seat),
    /// The last message is out, the status follows.
    Ending(Status),
    Ended,
}

impl Outbound {
    /// A stream whose session is still being opened.
    pub(super) fn new(
        opening: oneshot::Receiver<Result<Opening, Status>>,
        alive: Option<oneshot::Sender<Infallible>>,
        reception: Arc<Reception>,
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        let mut this = Self { state: State::Opening(opening), timer, _alive: alive, reception, ice_due: None };
        this.schedule_ice();
        this
    }

    fn schedule_ice(&mut self) {
        self.ice_due =
            self.reception.ice.refresh_after(self.reception.hub.random().unit()).map(|after| Instant::now() + after);
    }

    /// Fresh ICE servers, when they are due.
    fn fresh_ice(&mut self, id: MemberId) -> Option<Frame> {
        self.ice_due.filter(|due| *due <= Instant::now())?;
        self.schedule_ice();
        let (ice_servers, expires_at) = self.reception.ice_servers(id);
        Some(Frame::unlogged(Body::IceServers(IceServers { ice_servers, expires_at })))
    }

    fn end(&mut self, end: End) -> Poll<Option<Result<Frame, Status>>> {
        let End::Fault(mut error) = end else {
            self.state = State::Ended;
            return Poll::Ready(None);
        };
        let mut retry_after = None;
        if let Error::Draining(after) = &mut error {
            *after = RETURN_SPREAD.mul_f64(self.reception.hub.random().unit());
            retry_after = (*after).try_into().ok();
        }
        let reason = error.code().1.to_owned();
        let go_away = GoAway { reason, action: action(&error).into(), retry_after };
        self.state = State::Ending(error.into());
        Poll::Ready(Some(Ok(Frame::unlogged(Body::GoAway(go_away)))))
    }
}

impl Stream for Outbound {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Opening(opening) => {
                    // The sender goes away without a word only when its task was ended with the server.
                    let opened = ready!(Pin::new(opening).poll(cx))
                        .unwrap_or_else(|_| Err(Error::Draining(RETURN_SPREAD).into()));
                    match opened {
                        Ok(Opening { mut seat, first }) => {
                            seat.welcomed = true;
                            this.state = State::Live(seat);
                            return Poll::Ready(Some(Ok(first)));
                        }
                        Err(status) => {
                            this.state = State::Ended;
                            return Poll::Ready(Some(Err(status)));
                        }
                    }
                }
                State::Live(seat) => match seat.poll(cx.waker()) {
                    Next::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                    Next::End(end) => return this.end(end),
                    Next::Wait(deadline) => {
                        let id = seat.id;
                        if let Some(frame) = this.fresh_ice(id) {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        let deadline = Instant::from_std(deadline);
                        let deadline = this.ice_due.map_or(deadline, |due| due.min(deadline));
                        if deadline < this.timer.deadline() || this.timer.is_elapsed() {
                            this.timer.as_mut().reset(deadline);
                        }
                        // When it fires early, the room is asked again and names a later time.
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

/// What a client does after its stream ended with this error.
fn action(error: &Error) -> Action {
    match error {
        Error::Draining(_) | Error::HeartbeatTimeout | Error::SeqGap { .. } => Action::Resume,
        Error::SessionGone | Error::SlowConsumer | Error::TokenExpired => Action::Rejoin,
        // Replaced, removed, closed, fenced: somebody wanted it so. The rest are the client's own mistakes, which it
        // would only make again.
        _ => Action::Stop,
    }
}
