//! The Signalbox server.
//!
//! ```text
//! main → lib → listen → rpc → hub → room
//!                        rpc → store
//! ```
//!
//! - [`room`]: the core, a room as an ordered log that sessions read. Synchronous; time and random bits are arguments.
//! - [`hub`]: all live rooms, and the clock that they are told.
//! - [`auth`]: who may do what: tokens, what they grant, and who has to wait.
//! - [`rpc`]: the gRPC services. [`listen`]: the port that serves them, gRPC-Web, the demo page and health.
//! - [`memory`]: how much of it the process has, and whether that leaves room for newcomers.
//! - [`metrics`]: what operators see of it in figures.
//! - [`store`]: where room records are kept; never asked on the path of a signal.

pub mod auth;
pub mod config;
pub mod error;
pub mod health;
pub mod hub;
pub mod ice;
pub mod limit;
pub mod listen;
pub mod memory;
pub mod metrics;
mod mutant;
pub mod passcode;
pub mod random;
pub mod room;
pub mod rpc;
pub mod store;
pub mod token;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::serve::Listener;
use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    auth::Authority,
    config::Config,
    health::Health,
    hub::Hub,
    listen::{Connections, Hosts, Network, Serves, Tcp, Tls},
    memory::Memory,
    random::Random,
    store::Store,
};

/// How long connections may take to end after the last session's stream has.
const LINGER: Duration = Duration::from_secs(1);

/// A server that is bound and ready to run.
pub struct Server<L = Tcp> {
    config: Config,
    hub: Arc<Hub>,
    health: Health,
    tls: Option<Arc<Tls>>,
    public: Port<L>,
    admin: Option<Port<Tcp>>,
}

/// A listener, and what becomes of its connections.
struct Port<L> {
    listener: L,
    connections: Connections,
}

impl<L: Network> Port<L> {
    fn new(
        config: &Config,
        hub: &Arc<Hub>,
        health: &Health,
        listener: L,
        serves: Serves,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let bound = listener.local_addr().expect("a bound listener has an address");
        let hosts = Hosts::new(bound, config.public_name.clone());
        let app = listen::app(config, hub, health, serves, hosts);
        // Operators get in all the same.
        let memory = if serves.members() { hub.memory().clone() } else { Memory::unbounded() };
        Self { listener, connections: Connections::new(app, &config.connections, tls, memory) }
    }

    /// Takes connections until `stop` is done, and gives up the listener then.
    async fn accept(self, stop: impl Future<Output = ()>) -> Connections {
        self.connections.accept(self.listener, stop).await;
        self.connections
    }
}

impl Server {
    /// Opens the store and binds the ports. The configuration has been checked.
    pub async fn bind(mut config: Config) -> Result<Self, String> {
        let authority = config.auth.authority()?;
        let memory = Memory::new(config.connections.max_memory_mib)?;
        let room = listen::room_for_connections();
        if room < config.connections.max_connections {
            info!(room, "the system's limit on open files (ulimit -n) allows less than --max-connections");
            config.connections.max_connections = room;
        }
        let tls = Tls::open(&config)?;
        let store = config.store.open().await?;
        let listener = bind("--listen", config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(bind("--admin-listen", address).await?),
            None => None,
        };
        if !authority.asks_for_tokens() && !config.is_for_this_machine() {
            warn!(address = %config.listen, "there is no authentication: whoever reaches this port can join any room");
        }
        let mut server = Self::start(config, store, authority, Random::system(), memory, listener, tls).await;
        let Self { config, hub, health, .. } = &server;
        server.admin = admin.map(|listener| Port::new(config, hub, health, listener, Serves::admin(), None));
        Ok(server)
    }

    /// The address that the application's back end and operators can connect to, if it is another.
    pub fn admin_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(|port| port.listener.local_addr()).transpose()
    }
}

async fn bind(flag: &str, address: SocketAddr) -> Result<Tcp, String> {
    let bound = Tcp::bind(address).await;
    bound.map_err(|error| format!("cannot listen on {address}: {error}; {flag} takes another address"))
}

impl<L: Network> Server<L> {
    /// A server on a listener, with a store and random bits of the caller's, and without another port or TLS. The
    /// configuration has been checked.
    pub async fn new(config: Config, store: Arc<dyn Store>, authority: Authority, random: Random, listener: L) -> Self {
        Self::start(config, store, authority, random, Memory::unbounded(), listener, None).await
    }

    async fn start(
        config: Config,
        store: Arc<dyn Store>,
        authority: Authority,
        random: Random,
        memory: Arc<Memory>,
        listener: L,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let hub = Hub::new(store, authority, random, memory, config.limits(), config.room_defaults());
        // A store that is away does not keep the server from starting: things may be started in any order.
        let is_well = hub.check_store().await;
        if !is_well {
            warn!(store = %config.store, "the room store cannot be reached: rooms cannot be made or opened until it can");
        }
        let health = Health::new(is_well).await;
        let public = Port::new(&config, &hub, &health, listener, Serves::public(&config), tls.clone());
        Self { config, hub, health, tls, public, admin: None }
    }

    /// The address that clients can connect to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.public.listener.local_addr()
    }

    /// Serves until `stop` is done; then sends everybody away and ends, within the drain timeout at the latest.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { config, hub, health, tls, public, admin } = self;
        let mut background = vec![
            tokio::spawn(hub.clone().run_clock()),
            tokio::spawn(hub.authority().clone().watch_keys()),
            tokio::spawn(health.clone().report_store(hub.clone())),
        ];
        let (memory, holder, connections) = (hub.memory().clone(), hub.clone(), public.connections.counter());
        let held = move || holder.held_bytes() + connections() as u64 * memory::CONNECTION;
        background.push(tokio::spawn(memory.watch(held)));
        background.extend(tls.map(|tls| tokio::spawn(tls.watch())));
        let bookkeeping = tokio::spawn(hub.clone().run_bookkeeping());
        let stopping = CancellationToken::new();
        let public = async {
            let connections = public.accept(stop).await;
            stopping.cancel();
            connections
        };
        let admin = async {
            match admin {
                Some(port) => Some(port.accept(stopping.cancelled()).await),
                None => None,
            }
        };
        let (public, admin) = tokio::join!(public, admin);

        let sessions = hub.session_count();
        info!(sessions, timeout = ?config.drain_timeout, "stopping: clients are sent away");
        for task in background {
            task.abort();
        }
        health.stop().await;
        hub.drain();
        let deadline = Instant::now() + config.drain_timeout;
        let seats = time::timeout_at(deadline, hub.all_seats_empty()).await;
        // Whoever watches health or reads reflection would stay as long as it likes.
        let linger = deadline.min(Instant::now() + LINGER);
        let finish = async {
            public.finish().await;
            if let Some(admin) = admin {
                admin.finish().await;
            }
        };
        let (rest, _) = tokio::join!(time::timeout_at(linger, finish), time::timeout_at(linger, bookkeeping));
        match (seats, rest) {
            (Ok(()), Ok(())) => info!("stopped"),
            (Ok(()), Err(_)) => info!("stopped; some connections were cut that carried no session"),
            (Err(_), _) => {
                warn!(timeout = ?config.drain_timeout, "stopped; some clients did not read to the end in time");
            }
        }
    }
}
