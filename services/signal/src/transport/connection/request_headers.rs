//! Limits the headers of a request, and drops its cookies.

use http::{HeaderMap, HeaderValue, Request, header};

use crate::transport::HeadersTooLarge;

/// Maximum size of a request's headers, in bytes. High, because browsers also send the cookies of other applications on
/// the same host.
pub(super) const MAX_HEADERS: usize = 64 * 1024;
/// Maximum size of the headers without cookies, in bytes. Low, because a request holds them while it is open.
const MAX_KEPT: usize = 8 * 1024;
/// Size of the received headers above which the kept ones are copied. Otherwise they would hold the whole received
/// block, cookies included, in memory.
const COPY_FROM: usize = 2 * 1024;
/// Overhead of a header (RFC 9113, section 6.5.2).
const OVERHEAD: usize = 32;

/// Removes the cookies, which the server does not use, and marks requests whose headers are too large.
pub(super) fn limit<B>(request: &mut Request<B>) {
    let all = size(request.headers());
    request.headers_mut().remove(header::COOKIE);
    let kept = size(request.headers());
    let problem = if all > MAX_HEADERS {
        Some(HeadersTooLarge { bytes: all, limit: MAX_HEADERS })
    } else if kept > MAX_KEPT {
        Some(HeadersTooLarge { bytes: kept, limit: MAX_KEPT })
    } else {
        None
    };
    if let Some(problem) = problem {
        request.extensions_mut().insert(problem);
    }
    if all > COPY_FROM {
        copy(request);
    }
}

/// Returns the size of headers as HTTP/2 counts it.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + OVERHEAD).sum()
}

/// Copies the URI and the headers out of the received block.
fn copy<B>(request: &mut Request<B>) {
    if let Ok(uri) = request.uri().to_string().parse() {
        *request.uri_mut() = uri;
    }
    let mut copies = HeaderMap::with_capacity(request.headers().len());
    for (name, value) in request.headers() {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            copies.append(name, copy);
        }
    }
    *request.headers_mut() = copies;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(headers: &[(&str, usize)]) -> Request<()> {
        let mut request = Request::builder().uri("https://signal.example.org/page?a=1");
        for (name, bytes) in headers {
            request = request.header(*name, "x".repeat(*bytes));
        }
        let mut request = request.body(()).expect("a request");
        limit(&mut request);
        request
    }

    fn problem(request: &Request<()>) -> Option<(usize, usize)> {
        request.extensions().get::<HeadersTooLarge>().map(|problem| (problem.bytes, problem.limit))
    }

    #[test]
    fn cookies_are_dropped_and_the_rest_stays() {
        let request = limited(&[("cookie", 4000), ("cookie", 50_000), ("x-grpc-web", 1), ("authorization", 5000)]);
        assert_eq!(problem(&request), None);
        assert_eq!(request.uri(), "https://signal.example.org/page?a=1");
        assert_eq!(request.headers().len(), 2);
        assert_eq!(request.headers()["authorization"].len(), 5000);
    }

    #[test]
    fn both_limits_are_checked() {
        let overhead = OVERHEAD + "cookie".len();
        assert_eq!(problem(&limited(&[("cookie", MAX_HEADERS - overhead)])), None);
        let more = limited(&[("cookie", MAX_HEADERS - overhead + 1)]);
        assert_eq!(problem(&more), Some((MAX_HEADERS + 1, MAX_HEADERS)));
        let overhead = OVERHEAD + "x-more".len();
        assert_eq!(problem(&limited(&[("x-more", MAX_KEPT - overhead)])), None);
        assert_eq!(problem(&limited(&[("x-more", MAX_KEPT - overhead + 1)])), Some((MAX_KEPT + 1, MAX_KEPT)));
    }
}
