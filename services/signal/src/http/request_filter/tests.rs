use super::*;

fn request(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("a valid request")
}

#[test]
fn grpc_is_detected_by_path_or_content_type() {
    let grpc = ("content-type", "application/grpc-web+proto");
    assert!(is_grpc(&request("/signalbox.v1.Signal/Send", &[])));
    assert!(is_grpc(&request("/no.such.Service/Method", &[])));
    assert!(is_grpc(&request("/anything", &[grpc])));
    for page in ["/", "/index.html", "/assets/app.js", "/healthz", "/a.b/", "/a.b/c/d", "/.well-known/x"] {
        assert!(!is_grpc(&request(page, &[])), "{page}");
    }
    assert!(!is_grpc(&request("/x", &[("content-type", "application/grpcfoo")])));
}

/// Returns whether the filter accepts the origin of a request for `host`.
fn passes(host: &str, headers: &[(&str, &str)]) -> bool {
    let listed = ["https://app.example", "http://localhost:5173", "https://share.example:*"];
    let listed = listed.map(|origin| origin.parse().expect("an origin"));
    let names = ["box.example:8080", "signal.example.org", "localhost:*"].map(|name| name.parse().expect("a name"));
    let hosts = Hosts::new("127.0.0.1:50051".parse().expect("an address"), names.into());
    let filter = RequestFilter { hosts, origins: listed.into() };
    filter.admits_origin(request("/a.B/C", headers).headers(), &host.parse().expect("an authority"))
}

#[test]
fn own_and_listed_origins_pass() {
    let passes = |origin: &str| passes("box.example:8080", &[("origin", origin)]);
    for own in ["http://box.example:8080", "https://box.example:8080", "https://BOX.example:8080"] {
        assert!(passes(own), "{own}");
    }
    // A proxy may replace `Host`, so the origin may be another public name.
    for own in ["https://signal.example.org", "http://signal.example.org", "https://signal.example.org:443"] {
        assert!(passes(own), "{own}");
    }
    assert!(passes("https://app.example") && passes("http://localhost:5173"));
    for foreign in [
        "http://app.example",
        "https://app.example:443",
        "https://app.example.",
        "https://APP.example",
        "https://app.example/",
        "https://app.example.evil.test",
        "https://evil-app.example",
        "https://app.example:444",
        "https://evil.test/https://app.example",
        "https://app.example@evil.test",
        "https://app.example%2eevil.test",
        "https://app.example, https://evil.test",
        "https://app.example https://evil.test",
        "app.example",
        "//app.example",
        "ftp://app.example",
        "chrome-extension://app.example",
        "file://",
        "null",
        "",
        "*",
        "http://box.example",
        "https://box.example",
        "http://box.example:80",
        "http://box.example:8081",
        "http://box.example:8080.evil.test",
        "http://box.example:8080@evil.test",
        "http://sub.box.example:8080",
        "http://xbox.example:8080",
        "http://box.example.:8080",
        "http://box.example:08080x",
        "http://user@box.example:8080",
        "box.example:8080",
        "http://localhost:3000",
        "http://localhost:5174",
        "http://127.0.0.1:50051",
        "https://signal.example.org:8443",
        "https://signal.example.org.evil.test",
        "https://signal-example.org",
    ] {
        assert!(!passes(foreign), "{foreign:?}");
    }
}

#[test]
fn origins_with_a_port_wildcard_pass_at_every_port_of_that_host_only() {
    let passes = |origin: &str| passes("box.example:8080", &[("origin", origin)]);
    for port in ["", ":1", ":80", ":443", ":20101", ":65535"] {
        assert!(passes(&format!("https://share.example{port}")), "{port}");
    }
    for foreign in [
        "http://share.example:20101",
        "http://share.example",
        "https://share.example:",
        "https://share.example:0",
        "https://share.example:65536",
        "https://share.example:020101",
        "https://share.example:+1",
        "https://share.example:-1",
        "https://share.example: 1",
        "https://share.example:1x",
        "https://share.example:*",
        "https://share.example:1:2",
        "https://share.example:1/",
        "https://share.example:1/x",
        "https://share.example:1@evil.test",
        "https://share.example:1.evil.test",
        "https://share.example:1, https://evil.test",
        "https://share.example:1 https://evil.test",
        "https://share.example.evil.test:1",
        "https://share.example@evil.test:1",
        "https://share.example.:1",
        "https://SHARE.example:1",
        "https://xshare.example:1",
        "https://sub.share.example:1",
        "https://share.exampl:1",
        "https://share.examplex:1",
        "share.example:1",
        "wss://share.example:1",
        "https://evil.test/https://share.example:1",
        "https://app.example:1",
    ] {
        assert!(!passes(foreign), "{foreign:?}");
    }
}

#[test]
fn pages_at_other_ports_are_rejected_even_if_the_public_name_covers_every_port() {
    assert!(passes("localhost:8080", &[("origin", "http://localhost:8080")]));
    assert!(passes("localhost", &[("origin", "http://localhost:80")]));
    assert!(!passes("localhost:8080", &[("origin", "http://localhost:3000")]));
    assert!(!passes("localhost:8080", &[("origin", "http://localhost")]));
}

#[test]
fn requests_without_origin_pass_and_with_two_are_rejected() {
    assert!(passes("localhost:1", &[]));
    let own = ("origin", "http://localhost:1");
    assert!(!passes("localhost:1", &[own, own]));
}

#[test]
fn cross_site_requests_pass_only_from_listed_origins() {
    let site = |site| ("sec-fetch-site", site);
    let (own, listed) = (("origin", "http://localhost:1"), ("origin", "https://app.example"));
    for (headers, pass) in [
        (&[own, site("same-origin")][..], true),
        (&[listed, site("cross-site")], true),
        (&[listed, site("same-site")], true),
        (&[("origin", "https://share.example:20101"), site("same-site")], true),
        (&[("origin", "https://share.example:20101"), site("cross-site")], true),
        (&[("origin", "https://share.example.evil.test:1"), site("same-site")], false),
        (&[own, site("cross-site")], false),
        (&[("origin", "https://signal.example.org"), site("cross-site")], false),
        (&[("origin", "http://localhost:3000"), site("same-site")], false),
        (&[site("cross-site")], false),
        (&[site("none")], true),
    ] {
        assert_eq!(passes("localhost:1", headers), pass, "{headers:?}");
    }
}
