//! The request filter in front of all services. It rejects requests for other hosts and from pages of other sites. tonic
//! checks neither method nor content type, and any web page may send a `text/plain` POST without a preflight.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use tracing::debug;

use super::host::Hosts;
use crate::{
    config::Origin,
    net::{HostPort, LocalAddr},
    rpc::EXCHANGE,
};

/// Which requests a listener accepts.
pub(super) struct RequestFilter {
    /// The host names of the listener.
    pub(super) hosts: Hosts,
    /// Origins whose pages may call, in addition to the server's own.
    pub(super) origins: Vec<Origin>,
}

impl RequestFilter {
    /// The host that a request is for, if it is a name of this server.
    pub(super) fn host_of(&self, request: &Request<Body>) -> Option<HostPort> {
        let local = request.extensions().get::<LocalAddr>().map(|local| local.0);
        let host = self.hosts.accept(request, local);
        if host.is_none() {
            debug!(host = ?request.headers().get(header::HOST), uri = ?request.uri(), "request for another host");
        }
        host
    }

    /// The response to a request that is not a gRPC call, or comes from a page that may not call.
    pub(super) fn reject(&self, request: &Request<Body>, host: &HostPort) -> Option<Response> {
        if request.method() != Method::POST {
            let text = "invalid method: gRPC calls are POST requests\n";
            return Some((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], text).into_response());
        }
        if !has_grpc_content(request.headers()) {
            let text = "invalid content type: use application/grpc or application/grpc-web\n";
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
        }
        // Over HTTP/1.1 no PING detects a dead client of a bidirectional stream.
        let needs_h2 = !has_web_content(request.headers()) || request.uri().path() == EXCHANGE;
        if request.version() < Version::HTTP_2 && needs_h2 {
            let text = "this call needs HTTP/2: over HTTP/1.1 use gRPC-Web with Subscribe and Send\n";
            return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
        }
        if !self.admits_origin(request.headers(), host) {
            let text = "origin not allowed: add it to the server's --cors-origin\n";
            return Some((StatusCode::FORBIDDEN, text).into_response());
        }
        None
    }

    /// Native clients send no `Origin`. The server's own pages send its own host.
    fn admits_origin(&self, headers: &HeaderMap, host: &HostPort) -> bool {
        // Only browsers send this header, and for the server's own pages its value is another one.
        let is_cross_site = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else { return !is_cross_site };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
        if self.origins.iter().any(|listed| listed.admits(origin)) {
            return true;
        }
        let (origin, port) = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
            (Some(rest), _) => (rest, 443),
            (_, Some(rest)) => (rest, 80),
            _ => return false,
        };
        let Ok(origin) = origin.parse::<HostPort>() else { return false };
        // A proxy may have replaced the host of the request. Then the public names decide.
        !is_cross_site && (origin.is(host, port) || self.hosts.is_named(&origin))
    }
}

/// Wraps gRPC services in the filter.
pub(super) fn layer(router: Router, filter: Arc<RequestFilter>) -> Router {
    router.layer(from_fn(move |request: Request<Body>, next: Next| {
        let host = request.extensions().get::<HostPort>();
        let rejection = host.map_or_else(|| Some(misdirected()), |host| filter.reject(&request, host));
        async move {
            match rejection {
                Some(rejection) => rejection,
                None => next.run(request).await,
            }
        }
    }))
}

/// The response to requests for another host.
pub(super) fn misdirected() -> Response {
    let text = "unknown host: add it to the server's --public-name\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// Whether a request is for a gRPC service: by its content type, or a path of the form `/package.Service/Method`.
pub(super) fn is_grpc<B>(request: &Request<B>) -> bool {
    if has_grpc_content(request.headers()) {
        return true;
    }
    let mut segments = request.uri().path().split('/').skip(1);
    let (service, method, rest) = (segments.next(), segments.next(), segments.next());
    service.is_some_and(|service| service.contains('.') && !service.starts_with('.'))
        && method.is_some_and(|m| !m.is_empty())
        && rest.is_none()
}

/// Matches `application/grpc`, `application/grpc+proto` and the like, and the content types of gRPC-Web.
fn has_grpc_content(headers: &HeaderMap) -> bool {
    let native = content_after(headers, "application/grpc");
    native.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';'])) || has_web_content(headers)
}

/// Matches the content types that tonic-web accepts.
fn has_web_content(headers: &HeaderMap) -> bool {
    let web = content_after(headers, "application/grpc-web");
    web.is_some_and(|rest| matches!(rest, "" | "+proto" | "-text" | "-text+proto"))
}

fn content_after<'a>(headers: &'a HeaderMap, prefix: &str) -> Option<&'a str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()?.strip_prefix(prefix)
}

#[cfg(test)]
mod tests {
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

    /// Whether a request for `host` with these headers passes.
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
        // Another public name, as behind a proxy that replaces the host.
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
}
