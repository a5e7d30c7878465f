//! One HTTP connection. Its first bytes select HTTP/1.1 or HTTP/2, and limits protect the server from hostile clients.

mod activity;
mod request_headers;

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
use parking_lot::Mutex;
use signalbox_core::Rate;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tower::ServiceExt;
use tracing::{debug, warn};

use self::activity::{Activity, Bounds, Opened, Rates, RequestBody, ResponseBody};
use super::{App, LimitExceeded, rarely::Rarely};
use crate::{
    config::ConnectionConfig,
    net::{LocalAddr, RemoteAddr},
    rpc::{EXCHANGE, SESSIONS},
};

/// Idle time before the server sends an HTTP/2 PING to detect a dead client.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// How long a PING may go unacknowledged before the connection counts as dead.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the head of a subsequent HTTP/1.1 request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 flow-control window of a stream, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// HTTP/2 flow-control window of a connection, in bytes. A lower value shrinks h2's budget for pending small frames.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Maximum HTTP/2 frame size, in bytes: the smallest that RFC 9113 allows.
const FRAME: u32 = 16 * 1024;
/// Maximum bytes of one stream that h2 buffers for a slow reader.
const SEND_BUFFER: usize = 64 * 1024;
/// Maximum size of the HTTP/1.1 read and write buffers, in bytes. It also limits the head of a request. Larger than
/// [`MAX_HEADERS`](request_headers::MAX_HEADERS), because hyper answers larger heads without a text.
const BUFFER: usize = 96 * 1024;
/// Maximum size of a request's headers over HTTP/2, in bytes. Larger than
/// [`MAX_HEADERS`](request_headers::MAX_HEADERS), so that the app can answer with a text.
const HEADER_LIST: u32 = 128 * 1024;
/// Streams that a client may reset right after opening, before the server closes the connection.
const PENDING_RESETS: usize = 20;
/// Streams that the server may reset for protocol errors, before it closes the connection. hyper's default is 1024.
const LOCAL_RESETS: usize = 256;
/// Maximum concurrent streams of a client with a trusted certificate, such as a reverse proxy.
const TRUSTED_STREAMS: u32 = 256;
/// How long the graceful shutdown of an idle connection may take.
const LINGER: Duration = Duration::from_millis(500);

/// A newly accepted connection.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) at: Instant,
    /// The remote address.
    pub(super) from: IpAddr,
    /// The local address, if known.
    pub(super) local: Option<SocketAddr>,
    /// Whether the client has a trusted certificate.
    pub(super) is_trusted: bool,
    /// Number of open streams of the client's network; `None` = not limited.
    pub(super) streams_of_address: Option<Arc<AtomicUsize>>,
}

/// Serves HTTP on connections.
pub(super) struct Http {
    public: auto::Builder<TokioExecutor>,
    trusted: auto::Builder<TokioExecutor>,
    limits: ConnectionConfig,
    /// Number of open streams on all connections.
    pub(super) open_streams: Arc<AtomicUsize>,
    warned: Arc<Mutex<Rarely>>,
}

impl Http {
    pub(super) fn new(limits: ConnectionConfig) -> Self {
        let trusted = limits.max_streams.max(TRUSTED_STREAMS);
        Self {
            public: builder(limits.max_streams),
            trusted: builder(trusted),
            limits,
            open_streams: Arc::default(),
            warned: Arc::default(),
        }
    }

    /// Returns how long the first request of a connection may take to arrive.
    pub(super) fn first_request(&self) -> Duration {
        self.limits.first_request_timeout
    }

    /// Serves a connection until it closes. A change of `stop` starts a graceful shutdown.
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
        let bounds = if arrival.is_trusted {
            Bounds::default()
        } else {
            let address = arrival.streams_of_address.clone();
            Bounds {
                sessions: Some(limits.max_sessions_per_connection),
                address: address.map(|streams| (streams, limits.max_streams_per_address)),
            }
        };
        let activity = Arc::new(Activity::new(rates, self.open_streams.clone(), bounds));
        let (at, warned) = (arrival.at, self.warned.clone());
        let requests = Requests { app, activity: activity.clone(), arrival, warned };
        let connection = http.serve_connection(TokioIo::new(socket), requests);
        tokio::pin!(connection);
        let timer = sleep_until(at + limits.first_request_timeout);
        tokio::pin!(timer);
        let (mut closing, mut stopping) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        // Log at debug, because lost connections and malformed bytes are common.
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

/// The service of one connection: passes each request to `app` and tracks its stream.
struct Requests {
    app: App,
    activity: Arc<Activity>,
    arrival: Arrival,
    warned: Arc<Mutex<Rarely>>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request_headers::limit(&mut request);
        let is_session = SESSIONS.contains(&request.uri().path());
        let Opened { stream, wait, exceeded } = self.activity.open(is_session);
        // The request body of `Exchange` never ends, so the request counts as arrived at once. The join timeout ends a
        // silent stream.
        let counts_at_once = request.uri().path() == EXCHANGE;
        let mut request = request.map(|body| Body::new(RequestBody::new(body, counts_at_once, self.activity.clone())));
        request.extensions_mut().insert(RemoteAddr(self.arrival.from));
        if let Some(address) = self.arrival.local {
            request.extensions_mut().insert(LocalAddr(address));
        }
        if let Some(error) = exceeded {
            if self.warned.lock().is_time() {
                warn!("rejecting calls: {error}");
            }
            request.extensions_mut().insert(LimitExceeded(error));
        }
        let answered = self.app.clone().oneshot(request);
        Box::pin(async move {
            // A waiting stream is open, so `max_streams` limits waiting streams as well.
            if !wait.is_zero() {
                sleep(wait).await;
            }
            let Ok(response) = answered.await;
            Ok(response.map(|body| ResponseBody::new(body, stream)))
        })
    }
}
