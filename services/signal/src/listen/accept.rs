//! The accept loop: sockets in, connections served, until told to stop.

mod census;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
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

use self::census::{Census, Full, Place};
use super::{
    App,
    connection::{Arrival, Http},
    tls::Tls,
};
use crate::{config::ConnectionConfig, memory::Memory};

/// Where the system has no more of what a connection needs, such as file descriptors, `accept` fails at once and over
/// and over: wait before trying again, at first this long...
const BACK_OFF: Duration = Duration::from_millis(10);
/// ... then twice as long each time, up to this.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// How often one warns of the same thing.
const WARN_EVERY: Duration = Duration::from_secs(3);

/// A network to listen on.
pub trait Network: Listener<Addr = SocketAddr> {
    /// The address of this machine at which a connection arrived, where that is known.
    fn arrived_at(_: &Self::Io) -> Option<SocketAddr> {
        None
    }

    /// Waits until the peer has said something: its first byte, which is left to be read, where that can be told.
    fn first_byte(_: &Self::Io) -> impl Future<Output = io::Result<Option<u8>>> + Send {
        std::future::ready(Ok(None))
    }
}

/// The connections of a listener.
pub struct Connections {
    app: App,
    http: Arc<Http>,
    tls: Option<Arc<Tls>>,
    census: Arc<Census>,
    memory: Arc<Memory>,
    /// Every connection holds a receiver.
    stop: watch::Sender<()>,
}

impl Connections {
    /// Serves `app`, over TLS if that is given.
    pub fn new(app: App, config: &ConnectionConfig, tls: Option<Arc<Tls>>, memory: Arc<Memory>) -> Self {
        let http = Arc::new(Http::new(config.clone()));
        let census = Census::new(config.max_connections, config.max_connections_per_address);
        Self { app, http, tls, census, memory, stop: watch::Sender::new(()) }
    }

    /// Says how many there are, whenever it is called.
    pub fn counter(&self) -> impl Fn() -> usize + use<> {
        let census = self.census.clone();
        move || census.total()
    }

    /// Takes connections until `stop` is done.
    pub async fn accept<L: Network>(&self, mut listener: L, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut warned = Rarely::default();
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                (socket, address) = listener.accept() => match self.admit(address.ip()) {
                    Ok(place) => drop(tokio::spawn(self.serve::<L>(socket, address.ip(), place))),
                    Err(full) => if warned.is_time() {
                        warn!("connections are turned away: {full}");
                    }
                },
            }
        }
    }

    /// Takes a place for a connection from that address.
    fn admit(&self, from: IpAddr) -> Result<Place, Full> {
        if self.memory.has_room_for_connections() { self.census.admit(from) } else { Err(Full::Memory) }
    }

    /// Serves a connection to its end.
    fn serve<L: Network>(&self, socket: L::Io, from: IpAddr, place: Place) -> impl Future<Output = ()> + Send + use<L> {
        let at = Instant::now();
        let deadline = at + self.http.first_request();
        let (app, http, tls, stop) = (self.app.clone(), self.http.clone(), self.tls.clone(), self.stop.subscribe());
        // Until it says something a connection costs no more than its socket and this task: what is large is boxed.
        async move {
            let _place = place;
            let Some(Ok(first)) = until(deadline, stop.clone(), L::first_byte(&socket)).await else { return };
            let arrived_at = L::arrived_at(&socket);
            let Some(tls) = tls else {
                let arrival = Arrival { at, from, arrived_at, is_trusted: false };
                return Box::pin(http.serve(app, socket, arrival, stop)).await;
            };
            match until(deadline, stop.clone(), Box::pin(tls.accept(socket, first))).await {
                Some(Ok(Some((socket, is_trusted)))) => {
                    let arrival = Arrival { at, from, arrived_at, is_trusted };
                    Box::pin(http.serve(app, socket, arrival, stop)).await;
                }
                Some(Err(error)) => debug!(%error, "no TLS came about"),
                Some(Ok(None)) | None => {}
            }
        }
    }

    /// Tells every connection to end after what is under way, and waits for that.
    pub async fn finish(self) {
        // Nobody is left to tell if there is no receiver.
        let _ = self.stop.send(());
        self.stop.closed().await;
    }
}

/// What comes of the beginning of a connection; nothing if the deadline or the order to stop comes first.
async fn until<T>(deadline: Instant, mut stop: watch::Receiver<()>, beginning: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = beginning => Some(done),
        _ = stop.changed() => None,
        () = time::sleep_until(deadline) => {
            debug!("connection ended: it has not begun in time");
            None
        }
    }
}

/// Says when it is time to warn of something again.
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

/// TCP sockets, as the connections need them.
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
                Err(error) if is_of_one_connection(&error) => debug!(%error, "connection lost before it was served"),
                Err(error) => {
                    if self.warned.is_time() {
                        warn!(%error, "cannot take connections");
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
    fn arrived_at(socket: &TcpStream) -> Option<SocketAddr> {
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
