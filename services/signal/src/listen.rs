//! The one port: native gRPC, gRPC-Web, the demo page and health, told apart request by request.

mod accept;
mod gate;
mod pages;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use signalbox_proto::{FILE_DESCRIPTOR_SET, v1::rooms_server::RoomsServer};
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::{ServiceExt, service_fn};
use tower_http::{
    cors::{AllowOrigin, CorsLayer},
    timeout::TimeoutBody,
};

pub use self::accept::{Connections, H2Limits, Tcp};
use crate::{
    config::Config,
    hub::Hub,
    rpc::{RoomsService, SignalService, stub::signal_server::SignalServer},
};

/// How long a browser may remember the answer to a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(7200);
/// Messages that one `Send` may hold by size, and so the largest frame that is read.
const FRAME_PER_MESSAGE: usize = 4;
/// How long the next piece of a request may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest request to `Rooms`: settings are small.
const MAX_ROOMS_REQUEST: usize = 64 * 1024;

/// Everything that the port answers.
pub type App = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Puts the services together. `health` is the service that answers grpc.health.v1.
pub fn app<H>(config: &Config, hub: &Arc<Hub>, health: tonic_health::pb::health_server::HealthServer<H>) -> App
where
    H: tonic_health::pb::health_server::Health,
{
    let signal = SignalService::new(hub.clone(), config.ice(), config.join_timeout);
    let signal = SignalServer::new(signal).max_decoding_message_size(FRAME_PER_MESSAGE * config.max_message_bytes);
    let rooms = RoomsServer::new(RoomsService::new(hub.clone())).max_decoding_message_size(MAX_ROOMS_REQUEST);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // google.rpc.ErrorInfo and its like, so that grpcurl can show the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    // Both versions: they are different services, and older grpcurl knows only the alpha.
    let v1 = reflection().build_v1().expect("the descriptor sets are those of this build");
    let v1alpha = reflection().build_v1alpha().expect("the descriptor sets are those of this build");
    let routes = Routes::new(signal).add_service(rooms).add_service(health).add_service(v1).add_service(v1alpha);

    let grpc: Router = routes.into_axum_router().layer(GrpcWebLayer::new());
    let grpc = gate::guard(grpc, &config.cors_origin).layer(cors(config));
    let pages = pages::router(&config.web_dir, hub.clone());
    App::new(service_fn(move |request: Request<Body>| {
        let router = if gate::is_grpc(&request) { grpc.clone() } else { pages.clone() };
        // Only Exchange has a request body that may pause.
        let whole = request.uri().path() != gate::EXCHANGE;
        let request = if whole { request.map(|b| Body::new(TimeoutBody::new(BODY_TIMEOUT, b))) } else { request };
        router.oneshot(request)
    }))
}

/// Lets the pages of listed origins call, with the headers that gRPC-Web needs. Never with cookies.
fn cors(config: &Config) -> CorsLayer {
    let origins = config.cors_origin.iter();
    let origins = origins.map(|o| HeaderValue::from_str(o.as_str()).expect("an origin is made of visible ASCII"));
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
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
