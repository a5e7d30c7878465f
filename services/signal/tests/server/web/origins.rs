//! CORS: pages of the own origin and of listed ones may call.

use http::{Method, StatusCode};
use signalbox_testkit::grpc_web::frame;

use crate::common::{
    TestServer,
    raw::{Version, get_page_for_host, header_of, request},
};

const SEND: &str = "/signalbox.v1.Signal/Send";
const LISTED: &str = "https://app.example.org";
/// The headers that pages of listed origins may send.
const ALLOWED: &str = "content-type,authorization,x-grpc-web,x-user-agent,grpc-timeout,traceparent,tracestate,baggage,\
                       sentry-trace,ngrok-skip-browser-warning";

fn words(list: &str) -> Vec<String> {
    let mut words: Vec<_> = list.split(',').map(|word| word.trim().to_lowercase()).collect();
    words.sort_unstable();
    words
}

#[tokio::test]
async fn a_preflight_of_a_listed_origin_allows_what_grpc_web_needs() {
    let origins = [
        LISTED,
        "http://localhost:5173",
        "capacitor://localhost",
        "tauri://localhost",
        "app://obsidian.md",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    ];
    let server = TestServer::start(&["--cors-origin", &origins.join(",")]).await;
    for origin in origins {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-grpc-web,traceparent"),
        ];
        let response = request(server.addr, Version::Http1, Method::OPTIONS, SEND, &headers, "").await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header_of(&response, "access-control-allow-origin"), origin);
        assert_eq!(header_of(&response, "access-control-allow-methods"), "POST");
        let allowed = words(header_of(&response, "access-control-allow-headers"));
        assert_eq!(allowed, words(ALLOWED));
        assert_eq!(header_of(&response, "access-control-allow-private-network"), "", "it was not asked for");
        assert_eq!(header_of(&response, "access-control-allow-credentials"), "", "no cookies");
        assert!(header_of(&response, "access-control-max-age").parse::<u32>().unwrap() >= 600);
        let headers = [("origin", origin), ("sec-fetch-site", "cross-site"), ("content-type", "application/grpc-web")];
        let response = request(server.addr, Version::Http1, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header_of(&response, "access-control-allow-origin"), origin);
    }
}

#[tokio::test]
async fn further_headers_can_be_listed() {
    let server = TestServer::start(&["--cors-origin", LISTED, "--cors-header", "X-Request-Id,x-tenant"]).await;
    let headers = [("origin", LISTED), ("access-control-request-method", "POST")];
    let response = request(server.addr, Version::Http2, Method::OPTIONS, SEND, &headers, "").await.unwrap();
    let allowed = words(header_of(&response, "access-control-allow-headers"));
    assert_eq!(allowed, words(&format!("{ALLOWED},x-request-id,x-tenant")));
    // The actual request, with a header of --cors-header.
    let headers = [("origin", LISTED), ("x-tenant", "a"), ("content-type", "application/grpc-web+proto")];
    let response = request(server.addr, Version::Http2, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_a_private_network() {
    let server = TestServer::start(&["--cors-origin", LISTED]).await;
    for (origin, allowed) in [(LISTED, "true"), ("https://evil.example", "")] {
        for version in [Version::Http1, Version::Http2] {
            let headers = [
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-private-network", "true"),
            ];
            let response = request(server.addr, version, Method::OPTIONS, SEND, &headers, "").await.unwrap();
            assert_eq!(header_of(&response, "access-control-allow-private-network"), allowed, "{origin} {version:?}");
        }
    }
}

#[tokio::test]
async fn a_response_to_a_listed_origin_exposes_the_status() {
    let server = TestServer::start(&["--cors-origin", LISTED]).await;
    let headers = [("origin", LISTED), ("content-type", "application/grpc-web+proto")];
    let response = request(server.addr, Version::Http1, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, "access-control-allow-origin"), LISTED);
    let exposed = words(header_of(&response, "access-control-expose-headers"));
    assert_eq!(exposed, ["grpc-message", "grpc-status", "grpc-status-details-bin"]);
    assert!(words(header_of(&response, "vary")).contains(&"origin".to_owned()), "caches must distinguish origins");
}

#[tokio::test]
async fn other_origins_are_refused() {
    let server = TestServer::start(&["--cors-origin", LISTED]).await;
    for origin in [
        "https://evil.example",
        "http://app.example.org",
        "https://app.example.org:444",
        "https://app.example.org.evil.example",
        "https://evil-app.example.org",
        "https://evil.example/https://app.example.org",
        "null",
        "",
    ] {
        for version in [Version::Http1, Version::Http2] {
            let headers = [("origin", origin), ("content-type", "application/grpc-web+proto")];
            let response = request(server.addr, version, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin} {version:?}");
            assert_eq!(header_of(&response, "access-control-allow-origin"), "", "{origin}");
        }
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let response = request(server.addr, Version::Http1, Method::OPTIONS, SEND, &headers, "").await.unwrap();
        assert_eq!(header_of(&response, "access-control-allow-origin"), "", "{origin}");
    }
}

#[tokio::test]
async fn the_servers_own_pages_may_call() {
    let server = TestServer::start(&[]).await;
    for version in [Version::Http1, Version::Http2] {
        for origin in [format!("http://{}", server.addr), format!("https://{}", server.addr)] {
            let headers = [("origin", origin.as_str()), ("content-type", "application/grpc-web+proto")];
            let response = request(server.addr, version, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{origin} {version:?}");
        }
        let other = format!("http://{}:1", server.addr.ip());
        let headers = [("origin", other.as_str()), ("content-type", "application/grpc-web+proto")];
        let response = request(server.addr, version, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "another port is another origin");
    }
}

#[tokio::test]
async fn sec_fetch_site_is_checked() {
    let server = TestServer::start(&["--cors-origin", LISTED]).await;
    let own = format!("http://{}", server.addr);
    for (origin, site, expected) in [
        (own.as_str(), "same-origin", StatusCode::OK),
        (own.as_str(), "cross-site", StatusCode::FORBIDDEN),
        (LISTED, "cross-site", StatusCode::OK),
    ] {
        let headers = [("origin", origin), ("sec-fetch-site", site), ("content-type", "application/grpc-web+proto")];
        let response = request(server.addr, Version::Http1, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
        assert_eq!(response.status(), expected, "{origin} {site}");
    }
}

#[tokio::test]
async fn listed_origins_do_not_apply_to_the_admin_listener() {
    let server = TestServer::start(&["--cors-origin", LISTED, "--admin-listen", "127.0.0.1:0"]).await;
    let admin = server.admin_addr.unwrap();
    let own = format!("http://{admin}");
    let list = "/signalbox.v1.Rooms/ListRooms";
    for (origin, expected) in [(LISTED, StatusCode::FORBIDDEN), (&own, StatusCode::OK)] {
        let headers = [("origin", origin), ("content-type", "application/grpc-web+proto")];
        let response = request(admin, Version::Http1, Method::POST, list, &headers, frame(&[])).await.unwrap();
        assert_eq!(response.status(), expected, "{origin}");
        assert_eq!(header_of(&response, "access-control-allow-origin"), "", "{origin}");
    }
}

#[tokio::test]
async fn all_ports_of_a_host_can_be_listed() {
    let server = TestServer::start(&["--cors-origin", "https://share.example:*"]).await;
    for (origin, granted) in [
        ("https://share.example:20101", true),
        ("https://share.example", true),
        ("http://share.example:20101", false),
        ("https://share.example.evil.test:20101", false),
        ("https://share.example:20101.evil.test", false),
        ("https://share.example:*", false),
    ] {
        let allowed = if granted { origin } else { "" };
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let response = request(server.addr, Version::Http1, Method::OPTIONS, SEND, &headers, "").await.unwrap();
        assert_eq!(header_of(&response, "access-control-allow-origin"), allowed, "{origin}");
        assert_eq!(header_of(&response, "access-control-allow-credentials"), "", "no cookies");
        // As browsers send it for another port of the same host.
        let site = ("sec-fetch-site", "same-site");
        let headers = [("origin", origin), site, ("content-type", "application/grpc-web+proto")];
        let response = request(server.addr, Version::Http1, Method::POST, SEND, &headers, frame(&[])).await.unwrap();
        let expected = if granted { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(response.status(), expected, "{origin}");
        assert_eq!(header_of(&response, "access-control-allow-origin"), allowed, "{origin}");
    }
}

/// The Content-Security-Policy of the page for a host.
async fn policy(server: &TestServer, host: &str) -> String {
    let answer = get_page_for_host(server.addr, &format!("{host}:{}", server.addr.port())).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut policies = answer.lines().filter_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policies.next().unwrap().to_owned();
    assert_eq!(policies.next(), None);
    policy
}

#[tokio::test]
async fn the_page_may_connect_to_listed_ports_of_its_host_only() {
    let closed = policy(&TestServer::start(&[]).await, "127.0.0.1").await;
    assert!(closed.contains("; connect-src 'self'; ") && closed.contains("default-src 'none'; script-src 'self'; "));
    let listed = "http://127.0.0.1:*,https://app.example:*,https://127.0.0.1:1,http://localhost:5173";
    let server = TestServer::start(&["--cors-origin", listed]).await;
    let open = policy(&server, "127.0.0.1").await;
    assert_eq!(open, closed.replace("connect-src 'self'", "connect-src 'self' http://127.0.0.1:*"));
    assert_eq!(policy(&server, "localhost").await, closed, "it is another host");
    let server = TestServer::start(&["--cors-origin", "https://app.example:*,http://127.0.0.1:5173"]).await;
    assert_eq!(policy(&server, "127.0.0.1").await, closed);
}
