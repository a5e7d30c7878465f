//! What a browser or a load balancer gets with a plain GET: the demo page and `/healthz`.

use std::{path::Path, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use tower::ServiceBuilder;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

use super::gate;
use crate::hub::Hub;

/// The demo page loads nothing from elsewhere; it talks to whichever host serves it, and plays media of peers.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    media-src 'self' blob: mediastream:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// Served in place of the demo page where it was not built.
const NO_PAGE: &str = "Signalbox is running. The demo page is not built here: run scripts/serve.sh, or point \
    --web-dir at its folder. Native clients and grpcurl can use this address as it is.\n";

/// Served in place of the demo page where there are no members.
const ADMIN_PAGE: &str = "Signalbox, for operators: the gRPC service Rooms, and /healthz.\n";

/// What health says while the server stops.
const DRAINING: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "draining");

/// Everything that is not gRPC: health, and the demo page in that folder, if it is a port that has one.
pub(super) fn router(web_dir: Option<&Path>, detailed_health: bool, hub: Arc<Hub>) -> Router {
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    let health = if detailed_health { get(health) } else { get(plain_health) };
    let router = Router::new().route("/healthz", health).with_state(hub);
    let router = match web_dir {
        Some(folder) if folder.join("index.html").is_file() => {
            // Names do not change with content, so browsers ask each time whether it changed.
            let files =
                ServiceBuilder::new().layer(header(header::CACHE_CONTROL, "no-cache")).service(ServeDir::new(folder));
            router.fallback_service(files)
        }
        Some(_) => router.route("/", get(|| async { NO_PAGE })),
        None => router.route("/", get(|| async { ADMIN_PAGE })),
    };
    router
        .layer(header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
}

/// What is left for requests that are for another host: load balancers check health by whatever name they have.
pub(super) fn for_strangers(hub: Arc<Hub>) -> Router {
    Router::new().route("/healthz", get(plain_health)).fallback(async || gate::misdirected()).with_state(hub)
}

/// 200 as long as the server serves, with a word for what it is doing; nothing that would be of use to a stranger.
async fn plain_health(State(hub): State<Arc<Hub>>) -> Response {
    let (code, status) = if hub.is_draining() { DRAINING } else { (StatusCode::OK, "ok") };
    (code, [(header::CACHE_CONTROL, "no-store")], format!("{status}\n")).into_response()
}

/// The same in JSON; a store that fails makes it degraded, since live rooms go on without it.
async fn health(State(hub): State<Arc<Hub>>) -> Response {
    let store = if hub.store_is_well() { "ok" } else { "unavailable" };
    let (code, status) = if hub.is_draining() {
        DRAINING
    } else if store == "ok" {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::OK, "degraded")
    };
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "store": { "kind": hub.store().kind(), "status": store },
    });
    (code, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
