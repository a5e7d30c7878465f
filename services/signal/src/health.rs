//! gRPC health (grpc.health.v1) in two views: operators see every service, clients see only the server and Signal.

use std::sync::Arc;

use tokio::time;
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{
    rooms::{self, Rooms},
    rpc::{
        RoomsService, SignalService,
        stub::{rooms_server::RoomsServer, signal_server::SignalServer},
    },
};

const SIGNAL: &str = <SignalServer<SignalService> as NamedService>::NAME;
const ROOMS: &str = <RoomsServer<RoomsService> as NamedService>::NAME;

/// The health of the services, in both views.
#[derive(Clone)]
pub struct Health {
    detailed: HealthReporter,
    plain: HealthReporter,
}

impl Health {
    /// Creates the health state. Signal is serving, and Rooms is serving if the store is available.
    pub async fn new(store_is_available: bool) -> Self {
        let health = Self { detailed: HealthReporter::new(), plain: HealthReporter::new() };
        for reporter in [&health.detailed, &health.plain] {
            reporter.set_service_status(SIGNAL, ServingStatus::Serving).await;
        }
        health.detailed.set_service_status(ROOMS, serving(store_is_available)).await;
        health
    }

    /// Returns the health service. The plain view reports only the server and Signal, which always have the same
    /// status.
    pub fn service(&self, detailed: bool) -> HealthServer<HealthService> {
        let reporter = if detailed { &self.detailed } else { &self.plain };
        HealthServer::new(HealthService::from_health_reporter(reporter.clone()))
    }

    /// Reports the store's availability for as long as the server runs. Without the store, Rooms is not serving, but
    /// live rooms continue.
    pub async fn report_store(self, rooms: Arc<Rooms>) {
        let mut was_available = rooms.store_is_available();
        let mut tick = time::interval(rooms::STORE_CHECK);
        loop {
            tick.tick().await;
            let is_available = rooms.check_store().await;
            if is_available != was_available {
                self.detailed.set_service_status(ROOMS, serving(is_available)).await;
                was_available = is_available;
            }
        }
    }

    /// Reports every service as not serving.
    pub async fn stop(&self) {
        for service in ["", SIGNAL] {
            self.plain.set_service_status(service, ServingStatus::NotServing).await;
        }
        for service in ["", SIGNAL, ROOMS] {
            self.detailed.set_service_status(service, ServingStatus::NotServing).await;
        }
    }
}

fn serving(is_available: bool) -> ServingStatus {
    if is_available { ServingStatus::Serving } else { ServingStatus::NotServing }
}
