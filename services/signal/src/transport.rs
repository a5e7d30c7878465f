//! The transport: sockets, connection limits, TLS, HTTP/1.1 and HTTP/2.

mod accept;
mod connection;
mod connection_limiter;
mod tls;

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};

pub use self::{
    accept::{Connections, Network, Tcp},
    tls::Tls,
};

/// The service that handles the requests of a listener.
pub type App = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
