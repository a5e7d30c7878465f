//! What goes on on a connection: whether it has asked for anything, what is under way, and what was given up.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{BoxError, body::Body};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::{sync::Notify, time::Instant};

/// What goes on on a connection.
pub(super) struct Activity {
    state: Mutex<State>,
    abused: Notify,
}

struct State {
    /// A whole request has arrived.
    has_begun: bool,
    /// Requests that are not answered to the end.
    open: usize,
    /// When the last of them was.
    idle_since: Instant,
    rates: Option<Rates>,
}

/// What a peer may do. One that is trusted has no such bounds.
pub(super) struct Rates {
    /// Streams that it may open; more wait.
    pub(super) calls: Rate,
    /// Streams that it may give up.
    pub(super) resets: Rate,
}

/// So many at once, and so many a second (a token bucket).
pub(super) struct Rate {
    left: f64,
    per_second: f64,
    burst: f64,
    at: Instant,
}

impl Activity {
    /// Of a connection that has just come.
    pub(super) fn new(rates: Option<Rates>) -> Self {
        let state = State { has_begun: false, open: 0, idle_since: Instant::now(), rates };
        Self { state: Mutex::new(state), abused: Notify::new() }
    }

    /// A request has come. Says how long it has to wait for its turn.
    pub(super) fn open(self: &Arc<Self>) -> (Stream, Duration) {
        let now = Instant::now();
        let mut state = self.state();
        state.open += 1;
        let wait = state.rates.as_mut().map_or(Duration::ZERO, |rates| rates.calls.take(now));
        (Stream { activity: self.clone(), is_answered: false }, wait)
    }

    /// Whether a whole request has arrived yet.
    pub(super) fn has_begun(&self) -> bool {
        self.state().has_begun
    }

    /// When it is to be looked at again, or ended if that is now: once nothing was under way for that long.
    pub(super) fn due(&self, now: Instant, idle: Duration) -> Instant {
        let state = self.state();
        if state.open > 0 { now + idle } else { state.idle_since + idle }
    }

    /// Done when the peer has given up more streams than it may.
    pub(super) async fn abused(&self) {
        self.abused.notified().await;
    }

    fn begin(&self) {
        self.state().has_begun = true;
    }

    fn close(&self, is_answered: bool) {
        let now = Instant::now();
        let mut state = self.state();
        state.open -= 1;
        state.idle_since = now;
        if is_answered {
            state.has_begun = true;
        } else if let Some(rates) = &mut state.rates
            && !rates.resets.take(now).is_zero()
        {
            self.abused.notify_one();
        }
    }

    /// Nothing that panics happens under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rate {
    /// That many a second, averaged, and at once.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let burst = f64::from(burst);
        Self { left: burst, per_second: f64::from(per_second), burst, at: Instant::now() }
    }

    /// Takes one, on credit if need be. Returns how long that one is ahead of its time.
    fn take(&mut self, now: Instant) -> Duration {
        let earned = (now - self.at).as_secs_f64() * self.per_second;
        self.at = now;
        self.left = (self.left + earned).min(self.burst) - 1.0;
        if self.left >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.left / self.per_second).unwrap_or(Duration::MAX)
    }
}

/// A request that is under way. Dropping it before it was answered means that the peer has given it up.
pub(super) struct Stream {
    activity: Arc<Activity>,
    is_answered: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.activity.close(self.is_answered);
    }
}

/// The body of a request; it notes when it has arrived.
pub(super) struct Asked {
    body: Incoming,
    /// Until it has arrived.
    activity: Option<Arc<Activity>>,
}

impl Asked {
    /// `is_whole` if the rest of the body is not waited for.
    pub(super) fn new(body: Incoming, is_whole: bool, activity: Arc<Activity>) -> Self {
        let mut asked = Self { body, activity: Some(activity) };
        if is_whole || asked.body.is_end_stream() {
            asked.arrived();
        }
        asked
    }

    fn arrived(&mut self) {
        if let Some(activity) = self.activity.take() {
            activity.begin();
        }
    }
}

impl HttpBody for Asked {
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

/// The body of a response; it notes when it was taken to its end.
pub(super) struct Answer {
    body: Body,
    stream: Stream,
}

impl Answer {
    pub(super) fn new(body: Body, mut stream: Stream) -> Self {
        stream.is_answered = body.is_end_stream();
        Self { body, stream }
    }
}

impl HttpBody for Answer {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(rates: Option<Rates>) -> Arc<Activity> {
        Arc::new(Activity::new(rates))
    }

    fn rates(calls: (u32, u32), resets: (u32, u32)) -> Option<Rates> {
        let [calls, resets] = [calls, resets].map(|(per_second, burst)| Rate::new(per_second, burst));
        Some(Rates { calls, resets })
    }

    async fn is_abused(activity: &Activity) -> bool {
        tokio::time::timeout(Duration::ZERO, activity.abused()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_may_give_up_so_many_streams_and_more_with_time() {
        let activity = activity(rates((1000, 1000), (20, 40)));
        for _ in 0..40 {
            drop(activity.open());
        }
        assert!(!is_abused(&activity).await);
        tokio::time::advance(Duration::from_millis(500)).await;
        for _ in 0..10 {
            drop(activity.open());
        }
        assert!(!is_abused(&activity).await);
        drop(activity.open());
        assert!(is_abused(&activity).await);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_are_answered_do_not_count_and_trusted_peers_have_no_limit() {
        for (rates, is_answered) in [(rates((1000, 1000), (1, 1)), true), (None, false)] {
            let activity = activity(rates);
            for _ in 0..1000 {
                let (mut stream, wait) = activity.open();
                stream.is_answered = is_answered;
                assert!(wait.is_zero());
            }
            assert!(!is_abused(&activity).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn streams_beyond_the_rate_wait_each_for_its_turn() {
        let activity = activity(rates((100, 10), (0, 1000)));
        let opened = |count: u32| (0..count).map(|_| activity.open().1).collect::<Vec<_>>();
        assert!(opened(10).iter().all(Duration::is_zero));
        assert_eq!(opened(3), [10, 20, 30].map(Duration::from_millis));
        tokio::time::advance(Duration::from_millis(30)).await;
        assert_eq!(opened(1), [Duration::from_millis(10)]);
        // Never more at once than the burst.
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(opened(10).iter().all(Duration::is_zero));
        assert_eq!(opened(1), [Duration::from_millis(10)]);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_begins_when_the_last_stream_has_ended() {
        let idle = Duration::from_secs(60);
        let activity = activity(None);
        let start = Instant::now();
        assert_eq!(activity.due(start, idle), start + idle);
        let (one, two) = (activity.open(), activity.open());
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(activity.due(Instant::now(), idle) > Instant::now());
        drop(one);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(activity.due(Instant::now(), idle) > Instant::now());
        drop(two);
        let end = Instant::now();
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(activity.due(Instant::now(), idle), end + idle);
    }
}
