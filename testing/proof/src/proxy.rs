//! A TCP proxy that causes faults on command, and counts what each of them affected.
//!
//! Its memory is bounded: one buffer for each direction of a connection, and nothing is read while that is full.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::{AbortHandle, yield_now},
    time::sleep,
};

use crate::wire::connect;

/// Size of the buffer of one direction.
const BUFFER: usize = 8 * 1024;
/// Size of the send buffer of a socket to a client.
const SEND_BUFFER: usize = 32 * 1024;
/// How long the far end of a black hole takes to notice the end of the near one. Without this limit a run could not tell
/// when all clients must know.
const HOLE_LINGER: Duration = Duration::from_secs(3);

/// A direction, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// From the server.
    Down,
    /// Both.
    Both,
}

/// What a direction of a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes bytes on.
    Pass,
    /// Delays each chunk by this time.
    Delay(Duration),
    /// Holds all bytes; none are lost.
    Hold,
    /// Drops all bytes. The connection stays open, but is unusable.
    Swallow,
    /// Passes bytes on one at a time.
    Slice,
    /// Resets the connection after this many more bytes.
    ResetAfter(u64),
    /// Ends this direction with FIN, and drops later bytes.
    Fin,
}

impl Mode {
    /// Whether the connection is usable after this.
    fn heals(self) -> bool {
        matches!(self, Self::Pass | Self::Delay(_) | Self::Hold | Self::Slice)
    }
}

/// One connection through the proxy.
#[derive(Debug)]
struct Link {
    up: watch::Sender<Mode>,
    down: watch::Sender<Mode>,
    reset: Notify,
    /// Number of bytes that faults delayed, held, dropped or sliced, and of connections that they ended.
    hit: AtomicU64,
}

impl Link {
    fn set(&self, way: Way, mode: Mode) {
        // A connection with missing bytes cannot be healed.
        let set = |direction: &watch::Sender<Mode>| {
            direction.send_if_modified(|now| {
                let change = now.heals() && *now != mode;
                if change {
                    *now = mode;
                }
                change
            });
        };
        if way != Way::Down {
            set(&self.up);
        }
        if way != Way::Up {
            set(&self.down);
        }
    }

    fn is_broken(&self) -> bool {
        !(self.up.borrow().heals() && self.down.borrow().heals())
    }

    fn hits(&self) -> u64 {
        self.hit.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct Shared {
    links: Mutex<Vec<Weak<Link>>>,
    refusing: AtomicBool,
    refused: AtomicU64,
    /// Delay of bytes from the server on new connections, in milliseconds.
    late: AtomicU64,
}

/// A proxy in front of one server, for one client.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Listens on a free port and forwards to `server`.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, server, shared.clone())).abort_handle();
        Ok(Self { addr, shared, accepting })
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn links(&self) -> Vec<Arc<Link>> {
        let mut links = self.shared.links.lock();
        links.retain(|link| link.strong_count() > 0);
        links.iter().filter_map(Weak::upgrade).collect()
    }

    /// Puts the existing connections into a mode for some time; returns the number of bytes, or ended connections, that
    /// it affected. Some modes break a connection for good.
    pub async fn apply(&self, way: Way, mode: Mode, time: Duration) -> u64 {
        let links = self.links();
        let before: u64 = links.iter().map(|link| link.hits()).sum();
        links.iter().for_each(|link| link.set(way, mode));
        sleep(time).await;
        links.iter().for_each(|link| link.set(way, Mode::Pass));
        links.iter().map(|link| link.hits()).sum::<u64>() - before
    }

    /// Resets all connections; returns their number.
    pub fn reset(&self) -> u64 {
        let links = self.links();
        links.iter().for_each(|link| link.reset.notify_one());
        links.len() as u64
    }

    /// Refuses new connections for some time; returns their number.
    pub async fn refuse(&self, time: Duration) -> u64 {
        let before = self.shared.refused.load(Ordering::Relaxed);
        self.shared.refusing.store(true, Ordering::Relaxed);
        sleep(time).await;
        self.shared.refusing.store(false, Ordering::Relaxed);
        self.shared.refused.load(Ordering::Relaxed) - before
    }

    /// Delays each chunk from the server on new connections, until `apply` or `heal` ends that. Zero: no delay.
    pub fn delay_new_connections(&self, late: Duration) {
        self.shared.late.store(u64::try_from(late.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Ends all faults. Connections that cannot be healed are reset.
    pub fn heal(&self) {
        self.shared.refusing.store(false, Ordering::Relaxed);
        self.shared.late.store(0, Ordering::Relaxed);
        for link in self.links() {
            if link.is_broken() {
                link.reset.notify_one();
            } else {
                link.set(Way::Both, Mode::Pass);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Probably out of file descriptors; the next one may succeed.
            yield_now().await;
            continue;
        };
        if shared.refusing.load(Ordering::Relaxed) {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            continue;
        }
        let down = match shared.late.load(Ordering::Relaxed) {
            0 => Mode::Pass,
            late => Mode::Delay(Duration::from_millis(late)),
        };
        let link = Arc::new(Link {
            up: watch::Sender::new(Mode::Pass),
            down: watch::Sender::new(down),
            reset: Notify::new(),
            hit: AtomicU64::new(0),
        });
        shared.links.lock().push(Arc::downgrade(&link));
        tokio::spawn(forward_connection(link, client, server));
    }
}

/// Forwards one connection to its end.
async fn forward_connection(link: Arc<Link>, mut client: TcpStream, server: SocketAddr) {
    let ended = match connect(server).await {
        Ok(mut server) => {
            let _ = client.set_nodelay(true).and_then(|()| SockRef::from(&client).set_send_buffer_size(SEND_BUFFER));
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let both = async {
                let up = pump(from_client, to_server, link.up.subscribe(), &link.hit);
                let down = pump(from_server, to_client, link.down.subscribe(), &link.hit);
                futures_util::future::try_join(up, down).await.map(drop)
            };
            let ended = tokio::select! {
                ended = both => ended,
                () = link.reset.notified() => Err(Broken),
            };
            if ended.is_err() {
                let _ = SockRef::from(&server).set_linger(Some(Duration::ZERO));
            }
            ended
        }
        Err(_) => Err(Broken),
    };
    if ended.is_err() {
        let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
}

/// The connection is broken, and both of its ends are reset.
struct Broken;

/// Forwards one direction until its FIN.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut modes: watch::Receiver<Mode>,
    hit: &AtomicU64,
) -> Result<(), Broken> {
    let mut buffer = [0; BUFFER];
    // Bytes passed on since the mode was set.
    let mut passed = 0;
    loop {
        let mode = *modes.borrow_and_update();
        match mode {
            Mode::ResetAfter(limit) if passed >= limit => {
                hit.fetch_add(1, Ordering::Relaxed);
                return Err(Broken);
            }
            Mode::Fin => {
                hit.fetch_add(1, Ordering::Relaxed);
                to.shutdown().await.map_err(|_| Broken)?;
                while from.read(&mut buffer).await.map_err(|_| Broken)? > 0 {}
                return Ok(());
            }
            _ => {}
        }
        let length = tokio::select! {
            changed = modes.changed() => {
                passed = 0;
                changed.map_err(|_| Broken)?;
                continue;
            }
            length = from.read(&mut buffer) => length,
        };
        let length = match length {
            Ok(length) if length > 0 => length,
            _ if *modes.borrow() == Mode::Swallow => {
                sleep(HOLE_LINGER).await;
                return Err(Broken);
            }
            Ok(_) => return to.shutdown().await.map_err(|_| Broken),
            Err(_) => return Err(Broken),
        };
        passed += forward(&buffer[..length], &mut to, &mut modes, passed, hit).await.map_err(|_| Broken)?;
    }
}

/// Applies the mode to a chunk; returns the number of bytes that passed.
async fn forward(
    chunk: &[u8],
    to: &mut (impl AsyncWrite + Unpin),
    modes: &mut watch::Receiver<Mode>,
    passed: u64,
    hit: &AtomicU64,
) -> io::Result<u64> {
    let size = chunk.len() as u64;
    if *modes.borrow() == Mode::Hold {
        hit.fetch_add(size, Ordering::Relaxed);
        // An error means that the link has ended, which the next use of the socket shows.
        let _ = modes.wait_for(|mode| *mode != Mode::Hold).await;
    }
    let mode = *modes.borrow();
    match mode {
        Mode::Pass | Mode::Hold => to.write_all(chunk).await?,
        Mode::Delay(time) => {
            hit.fetch_add(size, Ordering::Relaxed);
            sleep(time).await;
            to.write_all(chunk).await?;
        }
        Mode::Swallow | Mode::Fin => {
            hit.fetch_add(size, Ordering::Relaxed);
            return Ok(0);
        }
        Mode::Slice => {
            for byte in chunk.chunks(1) {
                to.write_all(byte).await?;
                hit.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        }
        Mode::ResetAfter(limit) => {
            let rest = usize::try_from(limit.saturating_sub(passed)).unwrap_or(usize::MAX);
            to.write_all(&chunk[..rest.min(chunk.len())]).await?;
        }
    }
    Ok(size)
}
