//! Native client of Signalbox, a WebRTC signaling server.
//!
//! ```no_run
//! use signalbox_client::{Client, Event, Signal, v1::Join};
//!
//! # async fn run() -> Result<(), signalbox_client::Error> {
//! let client = Client::new("http://127.0.0.1:50051")?;
//! let mut session = client.join(Join { room: "demo".into(), ..Join::default() }).await?;
//! while let Some(event) = session.next().await {
//!     match event {
//!         // The member that joined earlier sends the offer.
//!         Event::MemberJoined(member) => {
//!             let offer = Signal::offer(member.member_id, "v=0...");
//!             println!("{:?}", session.send(offer).await.outcome().await);
//!         }
//!         Event::Signal(signal) => println!("{signal:?}"),
//!         event => println!("{event:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A session survives a lost connection. The client resumes it, resends unacknowledged messages and drops duplicates.
//! Three events report the connection:
//!
//! - [`Event::Suspended`]: the connection is lost, and the client is reconnecting.
//! - [`Event::Resumed`]: the same session continues.
//! - [`Event::Rejoined`]: the session could not be resumed, so the client joined again. Renegotiate.

mod backoff;
mod connection;
mod driver;
mod error;
mod outbox;
mod policy;
mod session;
mod stream;
mod token;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tls")]
use rustls_pki_types::{CertificateDer, pem::PemObject};
pub use signalbox_proto::v1;
#[cfg(feature = "tls")]
use tonic::transport::{Certificate, ClientTlsConfig};
use tonic::transport::{Channel, Endpoint};

use self::connection::Connection;
use self::token::{TokenFuture, TokenSource};
pub use self::{
    error::Error,
    session::{Event, Outcome, Receipt, Received, Sender, Session, Signal},
};

/// Opens sessions on a server.
#[derive(Clone)]
pub struct Client {
    dial: Dial,
    random: Jitter,
    token: TokenSource,
}

/// A function that opens a connection.
type Dial = Arc<dyn Fn() -> Connection + Send + Sync>;
/// A function that returns random numbers between 0 and 1.
type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

impl Client {
    /// Creates a client for the server at `url`, such as `http://127.0.0.1:50051`.
    ///
    /// With the feature `tls` it accepts `https://` URLs and trusts the certificate authorities that browsers trust.
    /// Each session opens its own connection when it joins, and a new one for each resume.
    pub fn new(url: &str) -> Result<Self, Error> {
        let endpoint = endpoint(url)?;
        #[cfg(feature = "tls")]
        let endpoint = with_tls(endpoint, ClientTlsConfig::new().with_webpki_roots())?;
        Ok(Self::with_endpoint(endpoint))
    }

    /// Creates a client that trusts only the root certificates in `pem`. To trust a self-signed server certificate,
    /// pass that certificate.
    #[cfg(feature = "tls")]
    pub fn with_roots(url: &str, pem: &str) -> Result<Self, Error> {
        let endpoint = endpoint(url)?;
        if endpoint.uri().scheme_str() != Some("https") {
            return Err(invalid_url(url, "use https://HOST:PORT with root certificates"));
        }
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        if roots.map_or(true, |roots| roots.is_empty()) {
            return Err(Error::Certificate);
        }
        let endpoint = with_tls(endpoint, ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))?;
        Ok(Self::with_endpoint(endpoint))
    }

    /// Creates a client that connects with the settings of `endpoint`. The client replaces the endpoint's executor.
    pub fn with_endpoint(endpoint: Endpoint) -> Self {
        Self::with_connections(move || Connection::open(&endpoint))
    }

    /// Creates a client that opens its connections with `dial`, once per stream.
    ///
    /// A channel closes its connection only after it has sent everything. If the server is unreachable, the connection
    /// stays open until keep-alive times out, long after the session is dropped. [`Client::with_endpoint`] closes it
    /// promptly.
    pub fn with_dial(dial: impl Fn() -> Channel + Send + Sync + 'static) -> Self {
        Self::with_connections(move || Connection::foreign(dial()))
    }

    fn with_connections(dial: impl Fn() -> Connection + Send + Sync + 'static) -> Self {
        Self { dial: Arc::new(dial), random: Arc::new(backoff::system_random), token: TokenSource::None }
    }

    /// Uses the same token for every session: a JSON Web Token from the application (see "Tokens" in signal.proto). A
    /// session ends when its token expires.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        let token: String = token.into();
        Self { token: TokenSource::Fixed(token.into()), ..self }
    }

    /// Calls `get` for the token of each session, and again before the token expires, so that the session continues.
    #[must_use]
    pub fn with_token_from<F, E>(self, get: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let get = move || {
            let token = get();
            let token: TokenFuture = Box::pin(async move { token.await.map_err(Into::into) });
            token
        };
        Self { token: TokenSource::Function(Arc::new(get)), ..self }
    }

    /// Takes the jitter of reconnect delays from `random` (0 to 1), for reproducible simulations.
    #[must_use]
    pub fn with_random(self, random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self { random: Arc::new(random), ..self }
    }

    /// Opens a session. Fails if the first attempt fails; an open session reconnects automatically.
    pub async fn join(&self, join: v1::Join) -> Result<Session, Error> {
        driver::open(self.clone(), join).await
    }
}

fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| invalid_url(url, &format!("use http://HOST:PORT ({error})")))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        // Keep-alive detects a dead connection within 15 s.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true))
}

#[cfg(feature = "tls")]
fn with_tls(endpoint: Endpoint, tls: ClientTlsConfig) -> Result<Endpoint, Error> {
    let url = endpoint.uri().to_string();
    endpoint.tls_config(tls).map_err(|error| invalid_url(&url, &error.to_string()))
}

fn invalid_url(url: &str, problem: &str) -> Error {
    Error::Address(format!("{url:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_url_error_says_what_to_use() {
        let error = Client::new("http://a b").err().expect("invalid").to_string();
        assert!(error.starts_with("invalid server URL \"http://a b\": use http://HOST:PORT"), "{error}");
    }
}
