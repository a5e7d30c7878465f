//! Plain HTTP: the demo page and `/healthz`.

use std::{path::Path, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use tower::ServiceBuilder;
use tower_http::{services::ServeDir, set_header::SetResponseHeaderLayer};

use super::request_filter::misdirected;
use crate::{config::Origin, net::HostPort, rooms::Rooms, transport::HeadersTooLarge};

/// Response at `/` if the demo page is not built.
const NO_PAGE: &str = "Signalbox is running. The demo page is not built here: run scripts/serve.sh, or point \
    --web-dir at its folder. Native clients and grpcurl can use this address as it is.\n";

/// Response at `/` on the admin listener.
const ADMIN_PAGE: &str = "Signalbox admin listener: the gRPC service Rooms, /metrics and /healthz.\n";

/// Health response of a draining server.
const DRAINING: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "draining");

/// Builds the router for plain HTTP: health, and the demo page if `web_dir` is set. `origins` are the origins whose
/// pages may call the server.
pub(super) fn router(web_dir: Option<&Path>, detailed_health: bool, origins: Vec<Origin>, rooms: Arc<Rooms>) -> Router {
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    let health = if detailed_health { get(health) } else { get(plain_health) };
    let router = Router::new().route("/healthz", health).with_state(rooms);
    let router = match web_dir {
        Some(folder) if folder.join("index.html").is_file() => {
            // File names contain no content hash, so browsers must revalidate.
            let files =
                ServiceBuilder::new().layer(header(header::CACHE_CONTROL, "no-cache")).service(ServeDir::new(folder));
            router.fallback_service(files)
        }
        Some(_) => router.route("/", get(|| async { NO_PAGE })),
        None => router.route("/", get(|| async { ADMIN_PAGE })),
    };
    let with_policy = from_fn(move |request: Request, next: Next| {
        let policy = content_security_policy(&origins, request.extensions().get::<HostPort>());
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

/// Restricts the demo page to its own host, plus media of peers. If pages on every port of its host may call the
/// server, the page may call every port, because the server may move to another port.
fn content_security_policy(origins: &[Origin], host: Option<&HostPort>) -> HeaderValue {
    let is_of_host = |origin: &&str| {
        let authority = origin.split_once("://").and_then(|(_, authority)| authority.parse::<HostPort>().ok());
        host.zip(authority).is_some_and(|(host, authority)| host.host == authority.host)
    };
    let listed = origins.iter().filter_map(Origin::every_port);
    let other_ports: String = listed.filter(is_of_host).map(|origin| format!(" {origin}:*")).collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob: \
         mediastream:; connect-src 'self'{other_ports}; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'"
    );
    policy.parse().expect("a host is made of visible ASCII")
}

/// Serves only health to unknown hosts, because load balancers check it under any name.
pub(super) fn for_unknown_hosts(rooms: Arc<Rooms>) -> Router {
    Router::new().route("/healthz", get(plain_health)).fallback(async || misdirected()).with_state(rooms)
}

/// Answers requests whose headers are too large. Browsers show the text instead of the page.
pub(super) fn for_large_headers() -> Router {
    Router::new().fallback(async |Extension(headers): Extension<HeadersTooLarge>| {
        let HeadersTooLarge { bytes, limit } = headers;
        let text = format!(
            "request headers too large: {bytes} bytes, at most {limit} are allowed. If this is a browser, delete the \
             cookies of this host.\n"
        );
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text).into_response()
    })
}

/// Responds 200 while the server is serving. The response reveals neither version nor store.
async fn plain_health(State(rooms): State<Arc<Rooms>>) -> Response {
    let (code, status) = if rooms.is_draining() { DRAINING } else { (StatusCode::OK, "ok") };
    (code, [(header::CACHE_CONTROL, "no-store")], format!("{status}\n")).into_response()
}

/// Responds with health as JSON. Without its store the server is only degraded, because live rooms continue.
async fn health(State(rooms): State<Arc<Rooms>>) -> Response {
    let store = if rooms.store_is_available() { "ok" } else { "unavailable" };
    let (code, status) = if rooms.is_draining() {
        DRAINING
    } else if store == "ok" {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::OK, "degraded")
    };
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "store": { "kind": rooms.store().kind(), "status": store },
    });
    (code, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
