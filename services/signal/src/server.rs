//! Starts, runs and stops a server.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::serve::Listener;
use tokio::{
    task::JoinHandle,
    time::{self, Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    auth::{Authenticator, Passcodes},
    config::Config,
    context::Context,
    health::Health,
    http::{self, Hosts, Serves},
    limits::{Memory, fd_limit::raise_fd_limit, memory},
    metrics::Rejections,
    random::Random,
    rooms::Rooms,
    store::Store,
    transport::{Connections, Network, Tcp, Tls},
};

/// How long connections may take to close after the last session stream has ended.
const LINGER: Duration = Duration::from_secs(1);

/// A server that is bound and ready to run.
pub struct Server<L = Tcp> {
    config: Config,
    context: Arc<Context>,
    health: Health,
    tls: Option<Arc<Tls>>,
    public: BoundListener<L>,
    admin: Option<BoundListener<Tcp>>,
}

/// A bound listener and the connections that it accepts.
struct BoundListener<L> {
    listener: L,
    connections: Connections,
}

impl<L: Network> BoundListener<L> {
    fn new(
        config: &Config,
        context: &Arc<Context>,
        health: &Health,
        listener: L,
        serves: Serves,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let bound = listener.local_addr().expect("a bound listener has an address");
        let hosts = Hosts::new(bound, config.public_name.clone());
        let app = http::app(config, context, health, serves, hosts);
        // The memory limit must not lock operators out.
        let memory = if serves.is_public() { context.memory.clone() } else { Memory::unbounded() };
        Self { listener, connections: Connections::new(app, &config.connections, tls, memory) }
    }

    /// Accepts connections until `stop` completes, then closes the listener.
    async fn accept(self, stop: impl Future<Output = ()>) -> Connections {
        self.connections.accept(self.listener, stop).await;
        self.connections
    }
}

/// The parts that a server gets from its caller. Tests replace some of them.
pub struct Parts<L> {
    /// The store of room records.
    pub store: Arc<dyn Store>,
    /// The authenticator of callers.
    pub auth: Authenticator,
    /// Source of random bits.
    pub random: Random,
    /// The memory limit.
    pub memory: Arc<Memory>,
    /// TLS of the public listener; `None` = plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// The public listener.
    pub listener: L,
}

impl<L> Parts<L> {
    /// Creates parts without a memory limit and without TLS.
    pub fn new(store: Arc<dyn Store>, auth: Authenticator, random: Random, listener: L) -> Self {
        Self { store, auth, random, memory: Memory::unbounded(), tls: None, listener }
    }
}

impl Server {
    /// Opens the store and binds the listeners. The caller must have checked the configuration.
    pub async fn bind(mut config: Config) -> Result<Self, String> {
        let auth = config.auth.authenticator()?;
        let memory = Memory::new(config.connections.max_memory_mib)?;
        let max_connections = raise_fd_limit();
        if max_connections < config.connections.max_connections {
            info!(max_connections, "the limit on open files (ulimit -n) allows less than --max-connections");
            config.connections.max_connections = max_connections;
        }
        let tls = Tls::open(&config)?;
        let store = config.store.open().await?;
        let listener = bind("--listen", config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(bind("--admin-listen", address).await?),
            None => None,
        };
        if !auth.requires_tokens() && !config.is_local() {
            warn!(address = %config.listen, "no authentication: anyone who can reach this address can join any room");
        }
        let parts = Parts { store, auth, random: Random::system(), memory, tls, listener };
        let mut server = Self::from_parts(config, parts).await;
        let Self { config, context, health, .. } = &server;
        server.admin =
            admin.map(|listener| BoundListener::new(config, context, health, listener, Serves::admin(), None));
        Ok(server)
    }

    /// Returns the address of the admin listener, if there is one.
    pub fn admin_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(|admin| admin.listener.local_addr()).transpose()
    }
}

async fn bind(flag: &str, address: SocketAddr) -> Result<Tcp, String> {
    let bound = Tcp::bind(address).await;
    bound.map_err(|error| format!("cannot listen on {address}: {error}; choose another address with {flag}"))
}

impl<L: Network> Server<L> {
    /// Creates a server from its parts, without an admin listener. The caller must have checked the configuration.
    pub async fn from_parts(config: Config, parts: Parts<L>) -> Self {
        let Parts { store, auth, random, memory, tls, listener } = parts;
        let passcodes = Passcodes::new(random.clone());
        let rooms = Rooms::new(store, passcodes, config.limits(), config.room_defaults());
        // The server starts even if its store is unavailable, so that operators can start both in any order.
        let store_is_available = rooms.check_store().await;
        if !store_is_available {
            warn!(store = %config.store, "room store unavailable: rooms cannot be created or opened until it is back");
        }
        let context = Arc::new(Context {
            rooms,
            auth: Arc::new(auth),
            ice: config.ice(),
            memory,
            random,
            rejections: Rejections::default(),
            join_timeout: config.join_timeout,
        });
        let health = Health::new(store_is_available).await;
        let public = BoundListener::new(&config, &context, &health, listener, Serves::public(&config), tls.clone());
        Self { config, context, health, tls, public, admin: None }
    }

    /// Returns the address of the public listener.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.public.listener.local_addr()
    }

    /// Serves until `stop` completes, then drains for at most the drain timeout.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let background = self.start_background_tasks();
        let Self { config, context, health, public, admin, .. } = self;
        let rooms = &context.rooms;
        let write_behind = tokio::spawn(rooms.clone().run_write_behind());
        let stopping = CancellationToken::new();
        let public = async {
            let connections = public.accept(stop).await;
            stopping.cancel();
            connections
        };
        let admin = async {
            match admin {
                Some(admin) => Some(admin.accept(stopping.cancelled()).await),
                None => None,
            }
        };
        let (public, admin) = tokio::join!(public, admin);

        info!(sessions = rooms.session_count(), timeout = ?config.drain_timeout, "draining");
        background.iter().for_each(JoinHandle::abort);
        health.stop().await;
        rooms.drain();
        let deadline = Instant::now() + config.drain_timeout;
        let streams = time::timeout_at(deadline, rooms.all_streams_closed()).await;
        // Health watches and reflection streams never end by themselves.
        let linger = deadline.min(Instant::now() + LINGER);
        let finish = async {
            public.finish().await;
            if let Some(admin) = admin {
                admin.finish().await;
            }
        };
        let (rest, _) = tokio::join!(time::timeout_at(linger, finish), time::timeout_at(linger, write_behind));
        match (streams, rest) {
            (Ok(()), Ok(())) => info!("stopped"),
            (Ok(()), Err(_)) => info!("stopped; closed connections that had no session"),
            (Err(_), _) => {
                warn!(timeout = ?config.drain_timeout, "stopped; some clients did not read everything in time");
            }
        }
    }

    fn start_background_tasks(&self) -> Vec<JoinHandle<()>> {
        let Context { rooms, auth, memory, .. } = &*self.context;
        let (sessions, count) = (rooms.clone(), self.public.connections.counter());
        let held = move || {
            let (connections, streams) = count();
            let without_session = streams.saturating_sub(sessions.stream_count()) as u64;
            sessions.held_bytes() + connections as u64 * memory::CONNECTION + without_session * memory::STREAM
        };
        let mut tasks = vec![
            tokio::spawn(rooms.clone().run_timers()),
            tokio::spawn(auth.clone().watch_keys()),
            tokio::spawn(self.health.clone().report_store(rooms.clone())),
            tokio::spawn(memory.clone().watch(held)),
        ];
        tasks.extend(self.tls.clone().map(|tls| tokio::spawn(tls.watch())));
        tasks
    }
}
