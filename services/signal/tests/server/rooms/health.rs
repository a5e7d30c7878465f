//! Health, for load balancers and operators.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::common::{
    TestServer, connect,
    raw::{Version, header_of, request, text},
};

#[tokio::test]
async fn healthz_is_json_over_both_versions_of_http() {
    let server = TestServer::start(&[]).await;
    for version in [Version::Http1, Version::Http2] {
        let response = request(server.addr, version, Method::GET, "/healthz", &[], "").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header_of(&response, "content-type"), "application/json");
        assert_eq!(header_of(&response, "cache-control"), "no-store");
        let health: Value = serde_json::from_str(&text(response).await).expect("JSON");
        let expected = json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "store": { "kind": "redb", "status": "ok" },
        });
        assert_eq!(health, expected);
    }
}

#[tokio::test]
async fn grpc_health_covers_the_server_and_its_services() {
    let server = TestServer::start(&[]).await;
    let mut health = HealthClient::new(connect(server.addr).await);
    for service in ["", "signalbox.v1.Signal", "signalbox.v1.Rooms"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap_or_else(|error| panic!("{service:?}: {error}")).into_inner();
        assert_eq!(status.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthCheckRequest { service: "signalbox.v1.Nothing".to_owned() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
}
