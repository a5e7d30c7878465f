//! The Signalbox server.
//!
//! ```text
//! main → lib → listen → rpc → hub → room
//!                        rpc → store
//! ```
//!
//! - [`room`]: the core, a room as an ordered log that sessions read. Synchronous; time and random bits are arguments.
//! - [`hub`]: all live rooms, and the clock that they are told.
//! - [`rpc`]: the gRPC services. [`listen`]: the port that serves them, gRPC-Web, the demo page and health.
//! - [`store`]: where room records are kept; never asked on the path of a signal.

pub mod config;
pub mod error;
pub mod hub;
pub mod ice;
pub mod limit;
pub mod listen;
mod mutant;
pub mod random;
pub mod room;
pub mod rpc;
pub mod store;
pub mod token;

use std::{future::Future, io, sync::Arc};

use axum::serve::Listener;
use signalbox_proto::v1::rooms_server::RoomsServer;
use tokio::time::{self, Duration, Instant};
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{
    config::Config,
    hub::Hub,
    listen::{Connections, H2Limits, Tcp},
    random::Random,
    rpc::{RoomsService, SignalService, stub::signal_server::SignalServer},
    store::Store,
};

/// How long connections may take to end after the last session's stream has.
const LINGER: Duration = Duration::from_secs(1);
/// Services, as gRPC health knows them.
const SIGNAL: &str = <SignalServer<SignalService> as NamedService>::NAME;
const ROOMS: &str = <RoomsServer<RoomsService> as NamedService>::NAME;

/// A server that is bound and ready to run.
pub struct Server<L = Tcp> {
    config: Config,
    hub: Arc<Hub>,
    listener: L,
    connections: Connections,
    health: HealthReporter,
}

impl Server {
    /// Opens the store and binds the port. The configuration has been checked.
    pub async fn bind(config: Config) -> Result<Self, String> {
        let store = config.store.open().await?;
        let bind =
            |error: io::Error| format!("cannot listen on {}: {error}; --listen takes another address", config.listen);
        let listener = Tcp::bind(config.listen).await.map_err(bind)?;
        Ok(Self::new(config, store, Random::system(), listener).await)
    }
}

impl<L: Listener> Server<L> {
    /// A server on a listener, with a store and random bits of the caller's. The configuration has been checked.
    pub async fn new(config: Config, store: Arc<dyn Store>, random: Random, listener: L) -> Self {
        let hub = Hub::new(store, random, config.limits(), config.room_defaults());
        let (health, health_service) = tonic_health::server::health_reporter();
        for service in [SIGNAL, ROOMS] {
            health.set_service_status(service, ServingStatus::Serving).await;
        }
        let app = listen::app(&config, &hub, health_service);
        let connections = Connections::new(app, H2Limits { max_streams: config.max_streams });

        Self { hub, listener, connections, health, config }
    }

    /// The address that clients can connect to.
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is done; then sends everybody away and ends, within the drain timeout at the latest.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { config, hub, listener, connections, health } = self;
        let background = [
            tokio::spawn(hub.clone().run_clock()),
            tokio::spawn(hub.clone().run_bookkeeping()),
            tokio::spawn(report_store(hub.clone(), health.clone())),
        ];
        connections.accept(listener, stop).await;

        let sessions = hub.session_count();
        info!(sessions, timeout = ?config.drain_timeout, "stopping: clients are sent away");
        for task in background {
            task.abort();
        }
        for service in ["", SIGNAL, ROOMS] {
            health.set_service_status(service, ServingStatus::NotServing).await;
        }
        hub.drain();
        let deadline = Instant::now() + config.drain_timeout;
        let seats = time::timeout_at(deadline, hub.all_seats_empty()).await;
        // Whoever watches health or reads reflection would stay as long as it likes.
        let linger = deadline.min(Instant::now() + LINGER);
        let rest = time::timeout_at(linger, connections.finish()).await;
        match (seats, rest) {
            (Ok(()), Ok(())) => info!("stopped"),
            (Ok(()), Err(_)) => info!("stopped; some connections were cut that carried no session"),
            (Err(_), _) => {
                warn!(timeout = ?config.drain_timeout, "stopped; some clients did not read to the end in time");
            }
        }
    }
}

/// Shows in gRPC health whether the store can be reached: without it Rooms does not serve, live rooms go on.
async fn report_store(hub: Arc<Hub>, health: HealthReporter) {
    let mut was_well = true;
    let mut tick = time::interval(hub::STORE_CHECK);
    loop {
        tick.tick().await;
        let is_well = hub.check_store().await;
        if is_well != was_well {
            let status = if is_well { ServingStatus::Serving } else { ServingStatus::NotServing };
            health.set_service_status(ROOMS, status).await;
            was_well = is_well;
        }
    }
}
