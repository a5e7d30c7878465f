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

use crate::hub::Hub;

/// The demo page loads nothing from elsewhere; it talks to whichever host serves it, and plays media of peers.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    media-src 'self' blob: mediastream:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// Served in place of the demo page where it was not built.
const NO_PAGE: &str = "Signalbox is running. The demo page is not built here: run scripts/serve.sh, or point \
    --web-dir at its folder. Native clients and grpcurl can use this address as it is.\n";

/// Everything that is not gRPC.
pub(super) fn router(web_dir: &Path, hub: Arc<Hub>) -> Router {
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    let router = Router::new().route("/healthz", get(health)).with_state(hub);
    let router = if web_dir.join("index.html").is_file() {
        // Names do not change with content, so browsers ask each time whether it changed.
        let files =
            ServiceBuilder::new().layer(header(header::CACHE_CONTROL, "no-cache")).service(ServeDir::new(web_dir));
        router.fallback_service(files)
    } else {
        router.route("/", get(|| async { NO_PAGE }))
    };
    router
        .layer(header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
}

/// 200 as long as the server serves; a store that fails makes it degraded, since live rooms go on without it.
async fn health(State(hub): State<Arc<Hub>>) -> Response {
    let store = if hub.store_is_well() { "ok" } else { "unavailable" };
    let status = if hub.is_draining() {
        "draining"
    } else if store == "ok" {
        "ok"
    } else {
        "degraded"
    };
    let code = if status == "draining" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "store": { "kind": hub.store().kind(), "status": store },
    });
    (code, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
