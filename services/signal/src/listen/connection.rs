//! One connection: HTTP/1.1 or HTTP/2, told apart by its first bytes, within the limits of a stranger.

mod activity;

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tower::ServiceExt;
use tracing::debug;

use self::activity::{Activity, Answer, Asked, Rate, Rates};
use super::{
    App,
    gate::{ArrivedAt, EXCHANGE},
};
use crate::{config::ConnectionConfig, rpc::Peer};

/// A dead HTTP/2 peer is found after this long without a word...
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// ... and this long without an answer to a PING.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// The head of a later HTTP/1.1 request must have arrived by then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// What one stream may send before it is read.
const STREAM_WINDOW: u32 = 64 * 1024;
/// What one connection may send before it is read; lower shrinks h2's budget for small frames that are on their way.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Largest HTTP/2 frame that is read, the least that a peer may count on.
const FRAME: u32 = 16 * 1024;
/// Bytes of one stream that may wait in a connection's buffer for a slow reader.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes that are read ahead, or wait to be written, over HTTP/1.1. Also bounds the head of a request.
const BUFFER: usize = 64 * 1024;
/// Bytes of a request's headers over HTTP/2.
const HEADER_LIST: u32 = 8 * 1024;
/// Stream resets before a connection is ended: by the peer right after opening, and by ourselves for its mistakes.
/// Left unset, the latter has no limit.
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 256;
/// Streams of a peer that has shown a certificate of a trusted client: a proxy or another server of one's own.
const TRUSTED_STREAMS: u32 = 256;
/// How long a connection that is told to end may take to do so.
const LINGER: Duration = Duration::from_millis(500);

/// Who has come, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) at: Instant,
    /// Whose socket it is.
    pub(super) from: IpAddr,
    /// The address of this machine at which it arrived, where that is known.
    pub(super) arrived_at: Option<SocketAddr>,
    /// It has shown a certificate of a trusted client.
    pub(super) is_trusted: bool,
}

/// How connections are served.
pub(super) struct Http {
    public: auto::Builder<TokioExecutor>,
    trusted: auto::Builder<TokioExecutor>,
    limits: ConnectionConfig,
}

impl Http {
    pub(super) fn new(limits: ConnectionConfig) -> Self {
        let trusted = limits.max_streams.max(TRUSTED_STREAMS);
        Self { public: builder(limits.max_streams), trusted: builder(trusted), limits }
    }

    /// How soon the first request of a connection must have arrived.
    pub(super) fn first_request(&self) -> Duration {
        self.limits.first_request_timeout
    }

    /// Serves a connection to its end. It is asked to end when `stop` changes.
    pub(super) async fn serve<S>(&self, app: App, socket: S, arrival: Arrival, mut stop: watch::Receiver<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.limits;
        let http = if arrival.is_trusted { &self.trusted } else { &self.public };
        let rates = (!arrival.is_trusted).then(|| Rates {
            calls: Rate::new(limits.max_calls_per_second, limits.call_burst),
            resets: Rate::new(limits.max_resets_per_second, limits.reset_burst),
        });
        let activity = Arc::new(Activity::new(rates));
        let requests = Requests { app, activity: activity.clone(), arrival };
        let connection = http.serve_connection(TokioIo::new(socket), requests);
        tokio::pin!(connection);
        let timer = sleep_until(arrival.at + limits.first_request_timeout);
        tokio::pin!(timer);
        let (mut closing, mut stopping) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        // Lost connections and hostile bytes are no news: debug.
                        debug!(error, "connection ended");
                    }
                    return;
                }
                () = activity.abused() => return debug!("connection ended: its peer gives up too many streams"),
                _ = stop.changed(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = timer.as_mut() => {
                    let now = Instant::now();
                    let due = activity.due(now, limits.idle_timeout);
                    if closing && (due <= now || !activity.has_begun()) {
                        return debug!("connection ended: nothing was asked for too long");
                    }
                    if due <= now || !activity.has_begun() {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                        timer.as_mut().reset(now + LINGER);
                    } else {
                        timer.as_mut().reset(due);
                    }
                }
            }
        }
    }
}

fn builder(max_streams: u32) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .adaptive_window(false)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADER_LIST)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    http
}

/// What a connection asks for.
struct Requests {
    app: App,
    activity: Arc<Activity>,
    arrival: Arrival,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (stream, wait) = self.activity.open();
        // What is said on an Exchange has no end, and a stream that does not join has a timeout of its own.
        let is_whole = request.uri().path() == EXCHANGE;
        let mut request = request.map(|body| Body::new(Asked::new(body, is_whole, self.activity.clone())));
        request.extensions_mut().insert(Peer(self.arrival.from));
        if let Some(address) = self.arrival.arrived_at {
            request.extensions_mut().insert(ArrivedAt(address));
        }
        let answered = self.app.clone().oneshot(request);
        Box::pin(async move {
            // How many wait is bounded by the streams that a connection may have open.
            if !wait.is_zero() {
                sleep(wait).await;
            }
            let Ok(response) = answered.await;
            Ok(response.map(|body| Answer::new(body, stream)))
        })
    }
}
