//! gRPC health (grpc.health.v1), in two versions: operators see every service, clients only what they use.

use std::sync::Arc;

use tokio::time;
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{
    hub::{self, Hub},
    rpc::{
        RoomsService, SignalService,
        stub::{rooms_server::RoomsServer, signal_server::SignalServer},
    },
};

const SIGNAL: &str = <SignalServer<SignalService> as NamedService>::NAME;
const ROOMS: &str = <RoomsServer<RoomsService> as NamedService>::NAME;

/// The state of the services.
#[derive(Clone)]
pub struct Health {
    detailed: HealthReporter,
    plain: HealthReporter,
}

impl Health {
    /// All of them serve, but Rooms only where the store can be reached.
    pub async fn new(store_is_well: bool) -> Self {
        let health = Self { detailed: HealthReporter::new(), plain: HealthReporter::new() };
        for reporter in [&health.detailed, &health.plain] {
            reporter.set_service_status(SIGNAL, ServingStatus::Serving).await;
        }
        health.detailed.set_service_status(ROOMS, serving(store_is_well)).await;
        health
    }

    /// The service that tells the state; without details only that of the server and of Signal, which are the same.
    pub fn service(&self, detailed: bool) -> HealthServer<HealthService> {
        let reporter = if detailed { &self.detailed } else { &self.plain };
        HealthServer::new(HealthService::from_health_reporter(reporter.clone()))
    }

    /// Tells whether the store can be reached, for as long as the server runs: without it Rooms does not serve, live
    /// rooms go on.
    pub async fn report_store(self, hub: Arc<Hub>) {
        let mut was_well = hub.store_is_well();
        let mut tick = time::interval(hub::STORE_CHECK);
        loop {
            tick.tick().await;
            let is_well = hub.check_store().await;
            if is_well != was_well {
                self.detailed.set_service_status(ROOMS, serving(is_well)).await;
                was_well = is_well;
            }
        }
    }

    /// Nothing serves any more.
    pub async fn stop(&self) {
        for service in ["", SIGNAL] {
            self.plain.set_service_status(service, ServingStatus::NotServing).await;
        }
        for service in ["", SIGNAL, ROOMS] {
            self.detailed.set_service_status(service, ServingStatus::NotServing).await;
        }
    }
}

fn serving(is_well: bool) -> ServingStatus {
    if is_well { ServingStatus::Serving } else { ServingStatus::NotServing }
}
