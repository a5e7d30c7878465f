//! The transport: sockets, connection limits, TLS, HTTP/1.1 and HTTP/2.

mod accept;
mod connection;
mod connection_limiter;
mod rarely;
mod tls;

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response};

use crate::error::Error;

pub use self::{
    accept::{Connections, Network, Tcp},
    tls::Tls,
};

/// A request extension: the call exceeds a limit of the transport, and the app answers it with this error.
#[derive(Debug, Clone)]
pub struct LimitExceeded(pub Error);

/// A request extension: the headers exceed a limit, and the app answers with 431.
#[derive(Debug, Clone, Copy)]
pub struct HeadersTooLarge {
    /// Size of the headers.
    pub bytes: usize,
    /// The limit that they exceed.
    pub limit: usize,
}

/// The service that handles the requests of a listener.
pub type App = tower::util::BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;
