//! The ports: native gRPC, gRPC-Web, the demo page and health on each, told apart request by request. What one serves
//! depends on who can reach it.

mod accept;
mod connection;
mod files;
mod gate;
pub mod host;
mod pages;
mod tls;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::any};
use http::{HeaderName, HeaderValue, Method, Request, Response, header, request::Parts};
use signalbox_proto::FILE_DESCRIPTOR_SET;
use tonic::{Status, server::NamedService, service::Routes};
use tonic_web::GrpcWebLayer;
use tower::{ServiceExt, service_fn};
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    timeout::TimeoutBody,
};

use self::gate::Gate;
pub use self::{
    accept::{Connections, Network, Tcp},
    files::room_for_connections,
    host::Hosts,
    tls::Tls,
};
use crate::{
    config::{Config, Origin},
    error::Error,
    health::Health,
    hub::Hub,
    metrics,
    rpc::{
        GuardedRooms, RoomsService, SignalService,
        stub::{rooms_server::RoomsServer, signal_server::SignalServer},
    },
};

/// How long a browser may remember the answer to a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7200);
/// Messages that one `Send` may hold by size, and so the largest frame that is read.
const FRAME_PER_MESSAGE: usize = 4;
/// How long the next piece of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request to `Rooms`: settings are small.
const MAX_ROOMS_REQUEST: usize = 64 * 1024;

/// Names under which the two versions of reflection describe themselves.
const V1: &str = "grpc.reflection.v1.ServerReflection";
const V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Everything that a port answers.
pub type App = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What a port serves beside what all of them do.
#[derive(Debug, Clone, Copy)]
pub struct Serves {
    /// The Signal service and the demo page: it is the port of members.
    signal: bool,
    /// The Rooms service.
    rooms: bool,
    /// Metrics.
    metrics: bool,
    /// The description of the services.
    reflection: bool,
    /// Health by service, with version and store, instead of a mere "ok".
    detailed_health: bool,
}

impl Serves {
    /// The port of members.
    pub fn public(config: &Config) -> Self {
        let is_open = config.serves_rooms();
        Self {
            signal: true,
            rooms: config.rooms.unwrap_or(is_open || config.asks_for_tokens()),
            metrics: is_open,
            reflection: config.reflection.unwrap_or(is_open),
            detailed_health: config.detailed_health.unwrap_or(is_open),
        }
    }

    /// Whether it is the port of members.
    pub fn members(self) -> bool {
        self.signal
    }

    /// The port of the application's back end and of operators.
    pub fn admin() -> Self {
        Self { signal: false, rooms: true, metrics: true, reflection: true, detailed_health: true }
    }
}

/// Puts together what a port serves to those who call it by one of its names.
pub fn app(config: &Config, hub: &Arc<Hub>, health: &Health, serves: Serves, hosts: Hosts) -> App {
    // Pages of other origins are those of members.
    let origins = if serves.signal { config.cors_origin.clone() } else { Vec::new() };
    let cors = cors(origins.clone());
    let gate = Arc::new(Gate { hosts, origins: origins.clone() });
    let grpc: Router = services(config, hub, health, serves).layer(GrpcWebLayer::new());
    let grpc = gate::guard(grpc, gate.clone()).layer(cors);
    let web_dir = serves.signal.then_some(config.web_dir.as_path());
    let mut pages = pages::router(web_dir, serves.detailed_health, origins, hub.clone());
    if serves.metrics {
        pages = pages.merge(metrics::router(hub.clone()));
    }
    let stranger = pages::for_strangers(hub.clone());
    App::new(service_fn(move |mut request: Request<Body>| {
        let router = match gate.host_of(&request) {
            Some(host) => {
                request.extensions_mut().insert(host);
                if gate::is_grpc(&request) { grpc.clone() } else { pages.clone() }
            }
            None => stranger.clone(),
        };
        // Only Exchange has a request body that may pause.
        let whole = request.uri().path() != gate::EXCHANGE;
        let request = if whole { request.map(|b| Body::new(TimeoutBody::new(BODY_TIMEOUT, b))) } else { request };
        router.oneshot(request)
    }))
}

/// The gRPC services of a port.
fn services(config: &Config, hub: &Arc<Hub>, health: &Health, serves: Serves) -> Router {
    let health = health.service(serves.detailed_health);
    let mut names = vec![name_of(&health)];
    let mut services = Routes::builder();
    services.add_service(health);
    if serves.signal {
        let signal = SignalService::new(hub.clone(), config.ice(), config.join_timeout);
        let signal = SignalServer::new(signal).max_decoding_message_size(FRAME_PER_MESSAGE * config.max_message_bytes);
        names.push(name_of(&signal));
        services.add_service(signal);
    }
    // Who reaches a port that members do not reach may do everything.
    let authority = serves.signal.then(|| hub.authority().clone());
    let rooms = GuardedRooms::new(RoomsService::new(hub.clone()), authority);
    let rooms = RoomsServer::new(rooms).max_decoding_message_size(MAX_ROOMS_REQUEST);
    let rooms_name = name_of(&rooms);
    if serves.rooms {
        names.push(rooms_name);
        services.add_service(rooms);
    }
    if serves.reflection {
        // Both versions: they are different services, and older grpcurl knows only the alpha.
        let valid = "the descriptor sets are those of this build";
        services.add_service(reflection(&names, V1).build_v1().expect(valid));
        services.add_service(reflection(&names, V1ALPHA).build_v1alpha().expect(valid));
    }
    let router = services.routes().into_axum_router();
    if serves.rooms {
        return router;
    }
    router.route(
        &format!("/{rooms_name}/{{method}}"),
        any(move || async move { Status::from(Error::NotServedHere { service: rooms_name }).into_http::<Body>() }),
    )
}

fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

/// Describes the services of these names, and itself.
fn reflection(names: &[&str], itself: &str) -> tonic_reflection::server::Builder<'static> {
    let described = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // google.rpc.ErrorInfo and its like, so that grpcurl can show the details of an error.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
    names.iter().fold(described.with_service_name(itself), |described, name| described.with_service_name(*name))
}

/// Lets the pages of listed origins call, with the headers that gRPC-Web needs. Never with cookies.
fn cors(origins: Vec<Origin>) -> CorsLayer {
    let is_listed = move |origin: &HeaderValue, _: &Parts| {
        origin.to_str().is_ok_and(|origin| origins.iter().any(|listed| listed.admits(origin)))
    };
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_listed))
        .allow_methods([Method::POST])
        .allow_headers([
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            name("x-grpc-web"),
            name("x-user-agent"),
            name("grpc-timeout"),
        ])
        .expose_headers([name("grpc-status"), name("grpc-message"), name("grpc-status-details-bin")])
        .max_age(PREFLIGHT_MAX_AGE)
}
