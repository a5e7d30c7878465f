//! Rejects requests for other hosts and from pages of other sites before any service sees them. tonic checks neither
//! method nor content type, and any web page may send a `text/plain` POST without a preflight.

#[cfg(test)]
mod tests;

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

/// Decides which requests a listener accepts.
pub(super) struct RequestFilter {
    /// The host names of the listener.
    pub(super) hosts: Hosts,
    /// Origins whose pages may call the server, in addition to its own pages.
    pub(super) origins: Vec<Origin>,
}

impl RequestFilter {
    /// Returns the host of a request if it is a name of this server.
    pub(super) fn host_of(&self, request: &Request<Body>) -> Option<HostPort> {
        let local = request.extensions().get::<LocalAddr>().map(|local| local.0);
        let host = self.hosts.accept(request, local);
        if host.is_none() {
            debug!(host = ?request.headers().get(header::HOST), uri = ?request.uri(), "request for another host");
        }
        host
    }

    /// Returns the response to a request that is not a gRPC call or comes from a page that may not call the server.
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

    /// Returns whether a request's origin may call the server. Native clients send no `Origin`; the server's own pages
    /// send its host.
    fn admits_origin(&self, headers: &HeaderMap, host: &HostPort) -> bool {
        // Only browsers send this header, and never with this value from the server's own pages.
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
        // A proxy may have replaced `Host`, so the origin may also match a public name.
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

/// Returns the response to a request for an unknown host.
pub(super) fn misdirected() -> Response {
    let text = "unknown host: add it to the server's --public-name\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// Returns whether a request is for a gRPC service: by its content type, or by a path of the form
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
