//! Tracks the activity of a connection: its first request, open requests and client resets.

#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{BoxError, body::Body};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use signalbox_core::{Rate, TokenBucket};
use tokio::{sync::Notify, time::Instant};

use crate::error::Error;

/// The activity of a connection: open and completed requests, and the client's rates.
pub(super) struct Activity {
    state: Mutex<State>,
    reset_limit_reached: Notify,
    /// Number of open streams on all connections.
    open_streams: Arc<AtomicUsize>,
    bounds: Bounds,
}

/// Limits of open streams.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// Maximum long-lived calls on the connection, such as sessions; `None` = no limit.
    pub(super) sessions: Option<usize>,
    /// The open streams of the client's network and their limit; `None` = no limit.
    pub(super) address: Option<(Arc<AtomicUsize>, usize)>,
}

struct State {
    /// Whether a whole request has arrived.
    has_begun: bool,
    /// Requests without a complete response.
    open: usize,
    /// Long-lived calls among the open requests.
    sessions: usize,
    /// When the last stream closed, or the connection opened.
    idle_since: Instant,
    limits: Option<Limits>,
}

/// Rate limits of a client. Trusted clients have none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// Rate at which the client may open streams. The server delays further streams.
    pub(super) calls: Rate,
    /// Rate at which the client may reset streams before their response is complete.
    pub(super) resets: Rate,
}

struct Limits {
    rates: Rates,
    calls: TokenBucket,
    resets: TokenBucket,
}

impl Activity {
    /// Starts tracking a new connection.
    pub(super) fn new(rates: Option<Rates>, open_streams: Arc<AtomicUsize>, bounds: Bounds) -> Self {
        let now = Instant::now();
        let full = TokenBucket::full(now.into_std());
        let limits = rates.map(|rates| Limits { rates, calls: full.clone(), resets: full });
        let state = State { has_begun: false, open: 0, sessions: 0, idle_since: now, limits };
        Self { state: Mutex::new(state), reset_limit_reached: Notify::new(), open_streams, bounds }
    }

    /// Opens a stream for a request. `is_session` means that the call is long-lived. Even a stream beyond a limit stays
    /// open until its error response is complete.
    pub(super) fn open(self: &Arc<Self>, is_session: bool) -> Opened {
        let now = Instant::now().into_std();
        let mut state = self.state.lock();
        state.open += 1;
        state.sessions += usize::from(is_session);
        self.open_streams.fetch_add(1, Ordering::Relaxed);
        let wait = state.limits.as_mut().map_or(Duration::ZERO, |l| l.calls.take_on_credit(now, l.rates.calls));
        let exceeded = self.exceeded(state.sessions, is_session);
        Opened { stream: Stream { activity: self.clone(), is_session, is_answered: false }, wait, exceeded }
    }

    /// Counts the stream for its address. Returns the limit that it exceeds.
    fn exceeded(&self, sessions: usize, is_session: bool) -> Option<Error> {
        if let Some((streams, limit)) = &self.bounds.address
            && streams.fetch_add(1, Ordering::Relaxed) >= *limit
        {
            return Some(Error::TooManyStreams(*limit));
        }
        let limit = self.bounds.sessions.filter(|limit| is_session && sessions > *limit);
        limit.map(Error::TooManySessions)
    }

    /// Returns whether a whole request has arrived yet.
    pub(super) fn has_begun(&self) -> bool {
        self.state.lock().has_begun
    }

    /// Returns the earliest time when the connection can have been idle for `idle`.
    pub(super) fn due(&self, now: Instant, idle: Duration) -> Instant {
        let state = self.state.lock();
        if state.open > 0 { now + idle } else { state.idle_since + idle }
    }

    /// Completes when the client has reset too many streams.
    pub(super) async fn reset_limit_reached(&self) {
        self.reset_limit_reached.notified().await;
    }

    fn begin(&self) {
        self.state.lock().has_begun = true;
    }

    fn close(&self, is_session: bool, is_answered: bool) {
        let now = Instant::now();
        if let Some((streams, _)) = &self.bounds.address {
            streams.fetch_sub(1, Ordering::Relaxed);
        }
        let mut state = self.state.lock();
        state.open -= 1;
        state.sessions -= usize::from(is_session);
        self.open_streams.fetch_sub(1, Ordering::Relaxed);
        state.idle_since = now;
        if is_answered {
            state.has_begun = true;
        } else if let Some(limits) = &mut state.limits
            && limits.resets.take(now.into_std(), limits.rates.resets).is_err()
        {
            self.reset_limit_reached.notify_one();
        }
    }
}

/// A newly opened stream.
pub(super) struct Opened {
    pub(super) stream: Stream,
    /// How long the request must wait for the rate limit.
    pub(super) wait: Duration,
    /// The limit that the stream exceeds.
    pub(super) exceeded: Option<Error>,
}

/// An open stream. Dropping it before the response is complete counts as a reset by the client.
pub(super) struct Stream {
    activity: Arc<Activity>,
    is_session: bool,
    is_answered: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.activity.close(self.is_session, self.is_answered);
    }
}

/// A request body that records when the whole request has arrived.
pub(super) struct RequestBody {
    body: Incoming,
    /// `None` once the whole request has arrived.
    activity: Option<Arc<Activity>>,
}

impl RequestBody {
    /// Wraps a request body. If `counts_at_once`, the request counts as arrived before its body.
    pub(super) fn new(body: Incoming, counts_at_once: bool, activity: Arc<Activity>) -> Self {
        let mut this = Self { body, activity: Some(activity) };
        if counts_at_once || this.body.is_end_stream() {
            this.arrived();
        }
        this
    }

    fn arrived(&mut self) {
        if let Some(activity) = self.activity.take() {
            activity.begin();
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() || self.body.is_end_stream() {
            self.arrived();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body that records when the response is complete.
pub(super) struct ResponseBody {
    body: Body,
    stream: Stream,
}

impl ResponseBody {
    pub(super) fn new(body: Body, mut stream: Stream) -> Self {
        stream.is_answered = body.is_end_stream();
        Self { body, stream }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let is_last = match &frame {
            None | Some(Err(_)) => true,
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
        };
        self.stream.is_answered |= is_last;
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
