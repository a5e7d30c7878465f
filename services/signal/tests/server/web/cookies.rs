//! Cookies of other applications on the same host, which browsers send too.

use http::{Method, StatusCode};
use signalbox_testkit::grpc_web::frame;

use crate::common::{
    TestServer,
    raw::{Version, request, text},
};

const SEND: &str = "/signalbox.v1.Signal/Send";
const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

#[tokio::test]
async fn pages_and_calls_go_on_with_large_cookies() {
    let server = TestServer::start(&[]).await;
    for (count, bytes) in [(2, 3500), (3, 3000), (40, 150), (15, 4000)] {
        // Browsers join cookies into one header over HTTP/1.1, but may split them over HTTP/2.
        let cookie = format!("name={}", "x".repeat(bytes));
        let joined = vec![cookie.as_str(); count].join("; ");
        for version in VERSIONS {
            let cookies = match version {
                Version::Http1 => vec![("cookie", joined.as_str())],
                Version::Http2 => vec![("cookie", cookie.as_str()); count],
            };
            let page = request(server.addr, version, Method::GET, "/", &cookies, "").await.unwrap();
            assert_eq!(page.status(), StatusCode::OK, "{count} cookies of {bytes} bytes, {version:?}");
            let headers = [&cookies[..], &[("content-type", "application/grpc-web+proto")]].concat();
            let call = request(server.addr, version, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
            assert_eq!(call.status(), StatusCode::OK, "{count} cookies of {bytes} bytes, {version:?}");
        }
    }
}

#[tokio::test]
async fn headers_beyond_the_limit_get_a_text_that_says_why() {
    let server = TestServer::start(&[]).await;
    let (cookie, other) = ("x".repeat(70_000), "x".repeat(9000));
    for version in VERSIONS {
        for (name, value, limit) in [("cookie", &cookie, "65536"), ("x-other", &other, "8192")] {
            for (method, path) in [(Method::GET, "/"), (Method::GET, "/healthz"), (Method::POST, SEND)] {
                let headers = [(name, value.as_str()), ("content-type", "application/grpc-web+proto")];
                let response = request(server.addr, version, method, path, &headers, frame(&[])).await.unwrap();
                assert_eq!(response.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{version:?} {path}");
                let text = text(response).await;
                assert!(text.contains("cookies") && text.contains(limit), "{version:?} {path}: {text}");
            }
        }
    }
}
