//! The HTTP service of a listener. It routes native gRPC, gRPC-Web, the demo page and health; the public and the admin
//! listener serve different parts.

mod host;
mod pages;
mod request_filter;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    middleware::{Next, from_fn},
    response::Response,
    routing::any,
};
use http::{HeaderName, HeaderValue, Method, Request, request::Parts};
use signalbox_proto::FILE_DESCRIPTOR_SET;
use tonic::{Status, server::NamedService, service::Routes};
use tonic_web::GrpcWebLayer;
use tower::{ServiceExt, service_fn};
use tower_http::{
    cors::{AllowOrigin, AllowPrivateNetwork, CorsLayer},
    timeout::TimeoutBody,
};

pub use self::host::Hosts;
use self::request_filter::RequestFilter;
use crate::{
    config::{Config, Origin},
    context::Context,
    error::Error,
    health::Health,
    metrics,
    rpc::{
        EXCHANGE, RoomsService, SignalService,
        stub::{rooms_server::RoomsServer, signal_server::SignalServer},
    },
    transport::{App, HeadersTooLarge, LimitExceeded},
};

/// How long a browser may cache a preflight response.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7200);
/// Request headers of pages on listed origins: those of gRPC-Web, and those that tracing libraries and tunnels add.
const ALLOWED_HEADERS: [&str; 10] = [
    "content-type",
    "authorization",
    "x-grpc-web",
    "x-user-agent",
    "grpc-timeout",
    "traceparent",
    "tracestate",
    "baggage",
    "sentry-trace",
    "ngrok-skip-browser-warning",
];
/// Number of maximum-size messages that fit into one `Send`, which limits the size of a request.
const FRAME_PER_MESSAGE: usize = 4;
/// Timeout for the next part of a request body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a request to `Rooms`, in bytes.
const MAX_ROOMS_REQUEST: usize = 64 * 1024;

/// Service name of reflection v1.
const V1: &str = "grpc.reflection.v1.ServerReflection";
/// Service name of reflection v1alpha.
const V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// What a listener serves in addition to health.
#[derive(Debug, Clone, Copy)]
pub struct Serves {
    /// The Signal service and the demo page. Only the public listener serves them.
    signal: bool,
    rooms: bool,
    metrics: bool,
    reflection: bool,
    /// Health with services, version and store instead of only "ok".
    detailed_health: bool,
}

impl Serves {
    /// Returns what the public listener serves.
    pub fn public(config: &Config) -> Self {
        let is_open = config.serves_rooms();
        Self {
            signal: true,
            rooms: config.rooms.unwrap_or(is_open || config.requires_tokens()),
            metrics: is_open,
            reflection: config.reflection.unwrap_or(is_open),
            detailed_health: config.detailed_health.unwrap_or(is_open),
        }
    }

    /// Returns whether this is the public listener.
    pub fn is_public(self) -> bool {
        self.signal
    }

    /// Returns what the admin listener serves.
    pub fn admin() -> Self {
        Self { signal: false, rooms: true, metrics: true, reflection: true, detailed_health: true }
    }
}

/// Builds the service of a listener with these host names.
pub fn app(config: &Config, context: &Arc<Context>, health: &Health, serves: Serves, hosts: Hosts) -> App {
    // Pages of other origins may only call the public listener.
    let origins = if serves.signal { config.cors_origin.clone() } else { Vec::new() };
    let cors = cors(origins.clone(), &config.cors_header);
    let filter = Arc::new(RequestFilter { hosts, origins: origins.clone() });
    let services = services(config, context, health, serves).layer(from_fn(reject_beyond_limits));
    let grpc: Router = services.layer(GrpcWebLayer::new());
    let grpc = request_filter::layer(grpc, filter.clone()).layer(cors);
    let web_dir = serves.signal.then_some(config.web_dir.as_path());
    let rooms = &context.rooms;
    let mut pages = pages::router(web_dir, serves.detailed_health, origins, rooms.clone());
    if serves.metrics {
        pages = pages.merge(metrics::router(rooms.clone(), context.memory.clone(), &context.rejections));
    }
    let unknown = pages::for_unknown_hosts(rooms.clone());
    let too_large = pages::for_large_headers();
    App::new(service_fn(move |mut request: Request<Body>| {
        let router = match filter.host_of(&request) {
            _ if request.extensions().get::<HeadersTooLarge>().is_some() => too_large.clone(),
            Some(host) => {
                request.extensions_mut().insert(host);
                if request_filter::is_grpc(&request) { grpc.clone() } else { pages.clone() }
            }
            None => unknown.clone(),
        };
        // Only the request body of `Exchange` may pause.
        let has_end = request.uri().path() != EXCHANGE;
        let request = if has_end { request.map(|b| Body::new(TimeoutBody::new(BODY_TIMEOUT, b))) } else { request };
        router.oneshot(request)
    }))
}

/// Builds the gRPC services of a listener.
fn services(config: &Config, context: &Arc<Context>, health: &Health, serves: Serves) -> Router {
    let health = health.service(serves.detailed_health);
    let mut names = vec![name_of(&health)];
    let mut services = Routes::builder();
    services.add_service(health);
    if serves.signal {
        let signal = SignalServer::new(SignalService::new(context.clone()))
            .max_decoding_message_size(FRAME_PER_MESSAGE * config.max_message_bytes);
        names.push(name_of(&signal));
        services.add_service(signal);
    }
    let rooms = RoomsService::new(context.clone(), serves.is_public());
    let rooms = RoomsServer::new(rooms).max_decoding_message_size(MAX_ROOMS_REQUEST);
    let rooms_name = name_of(&rooms);
    if serves.rooms {
        names.push(rooms_name);
        services.add_service(rooms);
    }
    if serves.reflection {
        // Serve both versions: they are separate services, and older versions of grpcurl only know v1alpha.
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

/// Rejects calls that exceed a limit of the transport. The layer is inside gRPC-Web and CORS, so that pages can read
/// the error.
async fn reject_beyond_limits(request: Request<Body>, next: Next) -> Response {
    match request.extensions().get::<LimitExceeded>() {
        Some(LimitExceeded(error)) => Status::from(error.clone()).into_http(),
        None => next.run(request).await,
    }
}

fn name_of<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}

/// Builds reflection for the named services and for itself.
fn reflection(names: &[&str], itself: &str) -> tonic_reflection::server::Builder<'static> {
    let described = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Register google.rpc.ErrorInfo and related types, so that grpcurl can print error details.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
    names.iter().fold(described.with_service_name(itself), |described, name| described.with_service_name(*name))
}

/// Allows calls from pages of listed origins, with `headers` and those of [`ALLOWED_HEADERS`], and without cookies. The
/// pages may be on the internet and the server in a private network.
fn cors(origins: Vec<Origin>, headers: &[HeaderName]) -> CorsLayer {
    let is_listed = move |origin: &HeaderValue, _: &Parts| {
        origin.to_str().is_ok_and(|origin| origins.iter().any(|listed| listed.admits(origin)))
    };
    let name = HeaderName::from_static;
    let allowed = ALLOWED_HEADERS.into_iter().map(name).chain(headers.iter().cloned());
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_listed.clone()))
        .allow_private_network(AllowPrivateNetwork::predicate(is_listed))
        .allow_methods([Method::POST])
        .allow_headers(allowed.collect::<Vec<_>>())
        .expose_headers([name("grpc-status"), name("grpc-message"), name("grpc-status-details-bin")])
        .max_age(PREFLIGHT_MAX_AGE)
}
