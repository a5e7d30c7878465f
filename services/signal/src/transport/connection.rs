//! One connection: HTTP/1.1 or HTTP/2, detected by its first bytes, within the limits for untrusted clients.

mod activity;

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response};
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use signalbox_core::Rate;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tower::ServiceExt;
use tracing::debug;

use self::activity::{Activity, Rates, RequestBody, ResponseBody};
use super::App;
use crate::{
    config::ConnectionConfig,
    net::{LocalAddr, RemoteAddr},
    rpc::EXCHANGE,
};

/// Silence after which a PING is sent, to detect a dead HTTP/2 client.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a PING may go unacknowledged before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the head of a later HTTP/1.1 request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that one stream may send before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes that one connection may send before they are read. A lower value shrinks h2's budget for pending small frames.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Largest HTTP/2 frame: the minimum that RFC 9113 allows.
const FRAME: u32 = 16 * 1024;
/// Bytes of one stream that may wait in a connection's buffer for a slow reader.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes that are read ahead or wait to be written over HTTP/1.1. This also limits the head of a request.
const BUFFER: usize = 64 * 1024;
/// Maximum size of a request's headers over HTTP/2, in bytes.
const HEADER_LIST: u32 = 8 * 1024;
/// Stream resets before a connection is closed: by the client right after opening, and by the server for protocol errors.
/// The latter has no limit by default.
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 256;
/// Streams of a client with a trusted certificate, such as a reverse proxy.
const TRUSTED_STREAMS: u32 = 256;
/// How long a graceful shutdown may take.
const LINGER: Duration = Duration::from_millis(500);

/// A new connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) at: Instant,
    /// Its remote address.
    pub(super) from: IpAddr,
    /// Its local address, if known.
    pub(super) local: Option<SocketAddr>,
    /// Whether it has a trusted client certificate.
    pub(super) is_trusted: bool,
}

/// Serves HTTP on connections.
pub(super) struct Http {
    public: auto::Builder<TokioExecutor>,
    trusted: auto::Builder<TokioExecutor>,
    limits: ConnectionConfig,
    /// Open streams of all connections.
    pub(super) open_streams: Arc<AtomicUsize>,
}

impl Http {
    pub(super) fn new(limits: ConnectionConfig) -> Self {
        let trusted = limits.max_streams.max(TRUSTED_STREAMS);
        Self { public: builder(limits.max_streams), trusted: builder(trusted), limits, open_streams: Arc::default() }
    }

    /// How long the first request of a connection may take to arrive.
    pub(super) fn first_request(&self) -> Duration {
        self.limits.first_request_timeout
    }

    /// Serves a connection to its end. It shuts down gracefully when `stop` changes.
    pub(super) async fn serve<S>(&self, app: App, socket: S, arrival: Arrival, mut stop: watch::Receiver<()>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.limits;
        let http = if arrival.is_trusted { &self.trusted } else { &self.public };
        let rates = (!arrival.is_trusted).then(|| Rates {
            calls: Rate::per_second(limits.max_calls_per_second, limits.call_burst),
            resets: Rate::per_second(limits.max_resets_per_second, limits.reset_burst),
        });
        let activity = Arc::new(Activity::new(rates, self.open_streams.clone()));
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
                        // Lost connections and malformed bytes are common: debug.
                        debug!(error, "connection failed");
                    }
                    return;
                }
                () = activity.reset_limit_reached() => return debug!("connection closed: too many stream resets"),
                _ = stop.changed(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = timer.as_mut() => {
                    let now = Instant::now();
                    let due = activity.due(now, limits.idle_timeout);
                    if closing && (due <= now || !activity.has_begun()) {
                        return debug!("connection closed: idle");
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

/// The service of one connection: passes each request to `app` and tracks it.
struct Requests {
    app: App,
    activity: Arc<Activity>,
    arrival: Arrival,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (stream, wait) = self.activity.open();
        // The request body of Exchange has no end, and a stream that does not join has its own timeout.
        let counts_at_once = request.uri().path() == EXCHANGE;
        let mut request = request.map(|body| Body::new(RequestBody::new(body, counts_at_once, self.activity.clone())));
        request.extensions_mut().insert(RemoteAddr(self.arrival.from));
        if let Some(address) = self.arrival.local {
            request.extensions_mut().insert(LocalAddr(address));
        }
        let answered = self.app.clone().oneshot(request);
        Box::pin(async move {
            // The limit on open streams also limits the waiting ones.
            if !wait.is_zero() {
                sleep(wait).await;
            }
            let Ok(response) = answered.await;
            Ok(response.map(|body| ResponseBody::new(body, stream)))
        })
    }
}
