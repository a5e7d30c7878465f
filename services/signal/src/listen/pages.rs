//! What a browser or a load balancer gets with a plain GET: the demo page and `/healthz`.

use std::{path::Path, sync::Arc};

use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use tower::ServiceBuilder;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

use super::{gate, host::Authority};
use crate::{config::Origin, hub::Hub};

/// Served in place of the demo page where it was not built.
const NO_PAGE: &str = "Signalbox is running. The demo page is not built here: run scripts/serve.sh, or point \
    --web-dir at its folder. Native clients and grpcurl can use this address as it is.\n";

/// Served in place of the demo page where there are no members.
const ADMIN_PAGE: &str = "Signalbox, for operators: the gRPC service Rooms, and /healthz.\n";

/// What health says while the server stops.
const DRAINING: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "draining");

/// Everything that is not gRPC: health, and the demo page in that folder, if it is a port that has one. `origins` are those
/// whose pages may call.
pub(super) fn router(web_dir: Option<&Path>, detailed_health: bool, origins: Vec<Origin>, hub: Arc<Hub>) -> Router {
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
    let with_policy = from_fn(move |request: Request, next: Next| {
        let policy = content_security_policy(&origins, request.extensions().get::<Authority>());
        async move {
            let mut response = next.run(request).await;
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
    });
    router
        .layer(with_policy)
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
}

/// The demo page loads nothing from elsewhere, and plays media of peers. It talks to whichever host serves it: at the same
/// port, and at others where pages of every port of that host may call, since its server may move there.
fn content_security_policy(origins: &[Origin], host: Option<&Authority>) -> HeaderValue {
    let is_of_host = |origin: &&str| {
        let authority = origin.split_once("://").and_then(|(_, authority)| authority.parse::<Authority>().ok());
        host.zip(authority).is_some_and(|(host, authority)| host.is_of_host(&authority))
    };
    let listed = origins.iter().filter_map(Origin::every_port);
    let elsewhere: String = listed.filter(is_of_host).map(|origin| format!(" {origin}:*")).collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob: \
         mediastream:; connect-src 'self'{elsewhere}; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'"
    );
    policy.parse().expect("a host is made of visible ASCII")
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
