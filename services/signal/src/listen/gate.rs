//! The request gate in front of the gRPC services: tonic itself checks neither method nor content type, and a
//! `text/plain` POST is one that any web page may send without asking.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, Method, Request, StatusCode, Version, header};

use crate::config::Origin;

/// The call that streams both ways.
pub(super) const EXCHANGE: &str = "/signalbox.v1.Signal/Exchange";

/// Puts the gate in front of `router`: refuses what is not a gRPC call, or comes from a page of an origin that is not
/// listed.
pub(super) fn guard(router: Router, origins: &[Origin]) -> Router {
    let origins: Arc<[Origin]> = origins.into();
    router.layer(from_fn(move |request: Request<Body>, next: Next| {
        let refusal = refuse(&request, &origins);
        async move {
            match refusal {
                Some(refusal) => refusal,
                None => next.run(request).await,
            }
        }
    }))
}

/// Whether a request is meant for the gRPC services: by its content type, or by a path of the form
/// `/package.Service/Method`.
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

/// Such as `application/grpc`, `application/grpc+proto` and those of gRPC-Web.
fn has_grpc_content(headers: &HeaderMap) -> bool {
    let native = content_after(headers, "application/grpc");
    native.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';'])) || has_web_content(headers)
}

/// One of those that tonic-web takes; it knows no others.
fn has_web_content(headers: &HeaderMap) -> bool {
    let web = content_after(headers, "application/grpc-web");
    web.is_some_and(|rest| matches!(rest, "" | "+proto" | "-text" | "-text+proto"))
}

fn content_after<'a>(headers: &'a HeaderMap, prefix: &str) -> Option<&'a str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()?.strip_prefix(prefix)
}

fn refuse(request: &Request<Body>, origins: &[Origin]) -> Option<Response> {
    if request.method() != Method::POST {
        let text = "gRPC calls are POST requests\n";
        return Some((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], text).into_response());
    }
    if !has_grpc_content(request.headers()) {
        let text = "gRPC calls have a content type of application/grpc or application/grpc-web\n";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
    }
    // A bidirectional stream over HTTP/1.1 has no PING that would find its peer dead.
    let needs_h2 = !has_web_content(request.headers()) || request.uri().path() == EXCHANGE;
    if request.version() < Version::HTTP_2 && needs_h2 {
        let text = "this call needs HTTP/2; over HTTP/1.1 use gRPC-Web with Subscribe and Send\n";
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, text).into_response());
    }
    if !comes_from_allowed_origin(request, origins) {
        let text = "pages of this origin may not call; the server's --cors-origin lists those that may\n";
        return Some((StatusCode::FORBIDDEN, text).into_response());
    }
    None
}

/// Native clients send no `Origin`; the server's own pages have its own host in it.
fn comes_from_allowed_origin(request: &Request<Body>, origins: &[Origin]) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if origins.iter().any(|listed| listed.as_str() == origin) {
        return true;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let origin_host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    matches!((origin_host, host), (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host))
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
    fn grpc_is_known_by_path_or_content_type() {
        let grpc = ("content-type", "application/grpc-web+proto");
        assert!(is_grpc(&request("/signalbox.v1.Signal/Send", &[])));
        assert!(is_grpc(&request("/no.such.Service/Method", &[])));
        assert!(is_grpc(&request("/anything", &[grpc])));
        for page in ["/", "/index.html", "/assets/app.js", "/healthz", "/a.b/", "/a.b/c/d", "/.well-known/x"] {
            assert!(!is_grpc(&request(page, &[])), "{page}");
        }
        assert!(!is_grpc(&request("/x", &[("content-type", "application/grpcfoo")])));
    }

    #[test]
    fn only_the_own_and_listed_origins_pass() {
        let listed: [Origin; 1] = ["https://app.example".parse().expect("an origin")];
        let passes = |origin: &str| {
            let request = request("/a.B/C", &[("host", "box.example:8080"), ("origin", origin)]);
            comes_from_allowed_origin(&request, &listed)
        };
        assert!(passes("http://box.example:8080"));
        assert!(passes("https://box.example:8080"));
        assert!(passes("https://app.example"));
        for foreign in [
            "http://app.example",
            "https://app.example.evil.test",
            "https://evil-app.example",
            "https://app.example:444",
            "http://box.example",
            "http://box.example:8080.evil.test",
            "null",
            "",
        ] {
            assert!(!passes(foreign), "{foreign:?}");
        }
        assert!(comes_from_allowed_origin(&request("/a.B/C", &[("host", "x")]), &listed));
    }
}
