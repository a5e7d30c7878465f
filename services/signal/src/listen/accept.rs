//! The accept loop: sockets in, HTTP/1.1 and HTTP/2 connections served, until told to stop.

use std::{io, net::SocketAddr, time::Duration};

use axum::{body::Body, serve::Listener};
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time,
};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{App, gate::ArrivedAt};
use crate::rpc::Peer;

/// Out of file descriptors, `accept` fails at once and over and over: wait before trying again.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);
/// A dead HTTP/2 peer is found after this long without a word...
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// ... and this long without an answer to a PING.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// The head of an HTTP/1.1 request must have arrived by then.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// What one stream may send before it is read.
const STREAM_WINDOW: u32 = 64 * 1024;
/// What one connection may send before it is read; lower shrinks h2's budget for small frames that are on their way.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of one stream that may wait in a connection's buffer for a slow reader.
const SEND_BUFFER: usize = 64 * 1024;
/// Bytes of a request's headers.
const HEADER_LIST: u32 = 8 * 1024;
/// Stream resets before a connection is ended: by the peer right after opening, and by ourselves for its mistakes.
/// Left unset, the latter has no limit.
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 256;

/// Limits of a connection that are settings.
#[derive(Debug, Clone, Copy)]
pub struct H2Limits {
    /// Streams and calls that one connection may have open.
    pub max_streams: u32,
}

/// A network to listen on.
pub trait Network: Listener<Addr = SocketAddr> {
    /// The address of this machine at which a connection arrived, where that is known.
    fn arrived_at(_: &Self::Io) -> Option<SocketAddr> {
        None
    }
}

/// The connections of a listener.
pub struct Connections {
    http: auto::Builder<TokioExecutor>,
    app: App,
    open: GracefulShutdown,
}

impl Connections {
    /// Serves `app`.
    pub fn new(app: App, limits: H2Limits) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(LOCAL_RESETS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http, app, open: GracefulShutdown::new() }
    }

    /// Takes connections until `stop` is done.
    pub async fn accept<L: Network>(&self, mut listener: L, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                (socket, peer) = listener.accept() => self.serve(Peer(peer.ip()), L::arrived_at(&socket), socket),
            }
        }
    }

    fn serve(
        &self,
        peer: Peer,
        arrived_at: Option<SocketAddr>,
        socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) {
        let app = self.app.clone().map_request(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            if let Some(address) = arrived_at {
                request.extensions_mut().insert(ArrivedAt(address));
            }
            request
        });
        let connection = self.http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(app)).into_owned();
        let connection = self.open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Lost connections and hostile bytes are no news: debug.
                debug!(error, "connection ended");
            }
        });
    }

    /// Tells every connection to end after what is under way, and waits for that.
    pub async fn finish(self) {
        self.open.shutdown().await;
    }
}

/// TCP sockets, as the connections need them.
pub struct Tcp(TcpListener);

impl Tcp {
    /// Binds an address.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }
}

impl Listener for Tcp {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = self.0.accept().await.and_then(|(socket, address)| {
                tune(&socket)?;
                Ok((socket, address))
            });
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => debug!(%error, "connection lost before it was served"),
                Err(error) => {
                    warn!(%error, "cannot take connections");
                    time::sleep(ACCEPT_BACK_OFF).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Network for Tcp {
    fn arrived_at(socket: &TcpStream) -> Option<SocketAddr> {
        socket.local_addr().ok()
    }
}

/// Small messages leave at once, and a peer that vanished without a word is found.
fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    // HTTP/1.1 has no PING: silent peers are found by probes, those that owe an acknowledgement by its delay.
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    Ok(())
}

fn is_of_one_connection(error: &io::Error) -> bool {
    // The last is what a socket that is gone answers to being tuned.
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected | InvalidInput)
}
