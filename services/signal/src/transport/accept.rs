//! The accept loop: accepts sockets and serves connections until the server stops.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::serve::Listener;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{self, Instant},
};
use tracing::{debug, warn};

use super::{
    App,
    connection::{Arrival, Http},
    connection_limiter::{ConnectionLimiter, ConnectionPermit, LimitReached},
    tls::Tls,
};
use crate::{config::ConnectionConfig, limits::Memory};

/// Initial backoff of a failing `accept`, which returns immediately while the process is out of file descriptors or
/// memory.
const BACK_OFF: Duration = Duration::from_millis(10);
/// Maximum backoff of a failing `accept`. The backoff doubles up to this limit.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// Minimum interval between warnings about the same problem.
const WARN_EVERY: Duration = Duration::from_secs(3);

/// A network to listen on.
pub trait Network: Listener<Addr = SocketAddr> {
    /// Returns the local address of a connection, if known.
    fn local_addr_of(_: &Self::Io) -> Option<SocketAddr> {
        None
    }

    /// Waits for the first byte of a connection without consuming it. Returns `None` if the network does not support
    /// peeking.
    fn first_byte(_: &Self::Io) -> impl Future<Output = io::Result<Option<u8>>> + Send {
        std::future::ready(Ok(None))
    }
}

/// Accepts and serves the connections of a listener, within its limits.
pub struct Connections {
    app: App,
    http: Arc<Http>,
    tls: Option<Arc<Tls>>,
    limiter: Arc<ConnectionLimiter>,
    memory: Arc<Memory>,
    /// Every connection holds a receiver, so the sender knows when all connections are closed.
    stop: watch::Sender<()>,
}

impl Connections {
    /// Creates the accept loop of a listener that serves `app`, over TLS if `tls` is set.
    pub fn new(app: App, config: &ConnectionConfig, tls: Option<Arc<Tls>>, memory: Arc<Memory>) -> Self {
        let http = Arc::new(Http::new(config.clone()));
        let limiter = ConnectionLimiter::new(config.max_connections, config.max_connections_per_address);
        Self { app, http, tls, limiter, memory, stop: watch::Sender::new(()) }
    }

    /// Returns a function that counts the connections and their open streams.
    pub fn counter(&self) -> impl Fn() -> (usize, usize) + use<> {
        let (limiter, streams) = (self.limiter.clone(), self.http.open_streams.clone());
        move || (limiter.total(), streams.load(Ordering::Relaxed))
    }

    /// Accepts connections until `stop` completes.
    pub async fn accept<L: Network>(&self, mut listener: L, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut warned = Rarely::default();
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                (socket, address) = listener.accept() => match self.admit(address.ip()) {
                    Ok(permit) => drop(tokio::spawn(self.serve::<L>(socket, address.ip(), permit))),
                    Err(limit) => if warned.is_time() {
                        warn!("rejecting connections: {limit}");
                    }
                },
            }
        }
    }

    fn admit(&self, from: IpAddr) -> Result<ConnectionPermit, LimitReached> {
        if self.memory.accepts_connections() { self.limiter.acquire(from) } else { Err(LimitReached::Memory) }
    }

    /// Serves one connection until it closes.
    fn serve<L: Network>(
        &self,
        socket: L::Io,
        from: IpAddr,
        permit: ConnectionPermit,
    ) -> impl Future<Output = ()> + Send + use<L> {
        let at = Instant::now();
        let deadline = at + self.http.first_request();
        let (app, http, tls, stop) = (self.app.clone(), self.http.clone(), self.tls.clone(), self.stop.subscribe());
        // Box large futures, so that a silent connection costs only its socket and a small task.
        async move {
            let _permit = permit;
            let Some(Ok(first)) = until(deadline, stop.clone(), L::first_byte(&socket)).await else { return };
            let local = L::local_addr_of(&socket);
            let Some(tls) = tls else {
                let arrival = Arrival { at, from, local, is_trusted: false };
                return Box::pin(http.serve(app, socket, arrival, stop)).await;
            };
            match until(deadline, stop.clone(), Box::pin(tls.accept(socket, first))).await {
                Some(Ok(Some((socket, is_trusted)))) => {
                    let arrival = Arrival { at, from, local, is_trusted };
                    Box::pin(http.serve(app, socket, arrival, stop)).await;
                }
                Some(Err(error)) => debug!(%error, "TLS handshake failed"),
                Some(Ok(None)) | None => {}
            }
        }
    }

    /// Shuts down all connections gracefully, and waits until they are closed.
    pub async fn finish(self) {
        // `send` fails only if there are no connections.
        let _ = self.stop.send(());
        self.stop.closed().await;
    }
}

/// Runs the first steps of a connection. Returns `None` if the deadline passes or the server stops first.
async fn until<T>(deadline: Instant, mut stop: watch::Receiver<()>, first_steps: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = first_steps => Some(done),
        _ = stop.changed() => None,
        () = time::sleep_until(deadline) => {
            debug!("connection closed: first request timed out");
            None
        }
    }
}

/// Limits how often the server logs a warning.
#[derive(Default)]
struct Rarely(Option<Instant>);

impl Rarely {
    fn is_time(&mut self) -> bool {
        let now = Instant::now();
        let is_time = self.0.is_none_or(|last| now - last >= WARN_EVERY);
        if is_time {
            self.0 = Some(now);
        }
        is_time
    }
}

/// A TCP listener.
pub struct Tcp {
    listener: TcpListener,
    back_off: Duration,
    warned: Rarely,
}

impl Tcp {
    /// Binds an address.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, back_off: BACK_OFF, warned: Rarely::default() })
    }
}

impl Listener for Tcp {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let accepted = self.listener.accept().await.and_then(|(socket, address)| {
                tune(&socket)?;
                Ok((socket, address))
            });
            match accepted {
                Ok(accepted) => {
                    self.back_off = BACK_OFF;
                    return accepted;
                }
                Err(error) if concerns_one_connection(&error) => {
                    debug!(%error, "connection lost before it was accepted");
                }
                Err(error) => {
                    if self.warned.is_time() {
                        warn!(%error, "cannot accept connections");
                    }
                    time::sleep(self.back_off).await;
                    self.back_off = (2 * self.back_off).min(MAX_BACK_OFF);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Network for Tcp {
    fn local_addr_of(socket: &TcpStream) -> Option<SocketAddr> {
        socket.local_addr().ok()
    }

    async fn first_byte(socket: &TcpStream) -> io::Result<Option<u8>> {
        let mut first = [0];
        match socket.peek(&mut first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(Some(first[0])),
        }
    }
}

/// Disables Nagle's algorithm and lets the kernel detect dead clients.
fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = SockRef::from(socket);
    // HTTP/1.1 has no PING. Keepalive probes detect dead idle clients, and the user timeout detects clients that do not
    // acknowledge data.
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(20)))?;
    Ok(())
}

fn concerns_one_connection(error: &io::Error) -> bool {
    // Setting an option on a closed socket returns `InvalidInput`.
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected | InvalidInput)
}
