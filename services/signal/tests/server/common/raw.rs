//! Plain HTTP requests, over either version.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Status;

use super::{DEADLINE, within};

/// The version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    /// By prior knowledge.
    Http2,
}

/// Sends one request on a connection of its own. The connection ends with the response's body.
pub(crate) async fn request(
    addr: SocketAddr,
    version: Version,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response<Incoming>, hyper::Error> {
    let uri = match version {
        Version::Http1 => path.to_owned(),
        Version::Http2 => format!("http://{addr}{path}"),
    };
    let mut request = Request::builder().method(method).uri(uri);
    if version == Version::Http1 {
        request = request.header(header::HOST, addr.to_string());
    }
    for (name, value) in headers {
        request = request.header(name.parse::<HeaderName>().expect("a header name"), *value);
    }
    let request = request.body(Full::new(body.into())).expect("a valid request");
    let io = TokioIo::new(within(DEADLINE, TcpStream::connect(addr)).await.expect("the server takes connections"));
    match version {
        Version::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            within(DEADLINE, sender.send_request(request)).await
        }
        Version::Http2 => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            within(DEADLINE, sender.send_request(request)).await
        }
    }
}

/// Requests the page with that `Host`; returns the whole response as text.
pub(crate) async fn get_page_for_host(addr: SocketAddr, host: &str) -> String {
    let mut stream = within(DEADLINE, TcpStream::connect(addr)).await.expect("the server takes connections");
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    within(DEADLINE, stream.write_all(request.as_bytes())).await.expect("a connection");
    let mut response = String::new();
    within(DEADLINE, stream.read_to_string(&mut response)).await.expect("a response in text");
    response
}

/// A header of a response, or an empty text.
pub(crate) fn header_of<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("visible ASCII"))
}

/// The whole body as text.
pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = within(DEADLINE, response.into_body().collect()).await.expect("a whole body").to_bytes();
    String::from_utf8(body.into()).expect("text")
}

/// The gRPC status of a response, from its headers or trailers.
pub(crate) async fn grpc_status(response: Response<Incoming>) -> Status {
    assert_eq!(response.status(), StatusCode::OK, "gRPC errors have HTTP status 200");
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let collected = within(DEADLINE, response.into_body().collect()).await.expect("a whole response");
    let trailers = collected.trailers().expect("a gRPC response ends with trailers");
    Status::from_header_map(trailers).expect("trailers have a grpc-status")
}
