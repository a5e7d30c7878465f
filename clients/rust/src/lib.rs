//! Native client of Signalbox.
//!
//! ```no_run
//! use signalbox_client::{Client, Event, Signal, v1::Join};
//!
//! # async fn run() -> Result<(), signalbox_client::Error> {
//! let client = Client::new("http://127.0.0.1:50051")?;
//! let mut session = client.join(Join { room: "demo".into(), ..Join::default() }).await?;
//! while let Some(event) = session.next().await {
//!     match event {
//!         // Who was there first offers.
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
//! A session goes on when its connection is lost: the client resumes it by itself, sends again what was not
//! acknowledged, and drops what it has already seen. The application is told three things about the connection:
//! [`Event::Suspended`], [`Event::Resumed`], and [`Event::Rejoined`] when the session could not be continued and the client
//! joined again as a new one, after which the application renegotiates.

mod backoff;
mod driver;
mod error;
mod outbox;
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

use self::token::Source;
pub use self::{
    error::Error,
    session::{Event, Outcome, Receipt, Received, Sender, Session, Signal},
};

/// Opens sessions at a server.
#[derive(Clone)]
pub struct Client {
    dial: Dial,
    random: Jitter,
    token: Source,
}

/// Makes a connection.
type Dial = Arc<dyn Fn() -> Channel + Send + Sync>;
/// Numbers from 0 to 1.
type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

impl Client {
    /// A client of the server at `url`, such as `http://127.0.0.1:50051`, or with the feature `tls`
    /// `https://signal.example.org`, whose certificate must come of an authority that browsers trust. Connects when a
    /// session is opened; each session has a connection of its own, and a new one each time it resumes.
    pub fn new(url: &str) -> Result<Self, Error> {
        let endpoint = endpoint(url)?;
        #[cfg(feature = "tls")]
        let endpoint = with_tls(endpoint, ClientTlsConfig::new().with_webpki_roots())?;
        Ok(Self::with_dial(move || endpoint.connect_lazy()))
    }

    /// The same for a server whose certificate comes of one of these authorities, in PEM, and of no other. A server
    /// with a certificate of its own making is its own authority: give that certificate.
    #[cfg(feature = "tls")]
    pub fn with_roots(url: &str, pem: &str) -> Result<Self, Error> {
        let endpoint = endpoint(url)?;
        if endpoint.uri().scheme_str() != Some("https") {
            return Err(Error::Address("with certificates it must begin with https://".to_owned()));
        }
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        if roots.map_or(true, |roots| roots.is_empty()) {
            return Err(Error::Certificate);
        }
        let endpoint = with_tls(endpoint, ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))?;
        Ok(Self::with_dial(move || endpoint.connect_lazy()))
    }

    /// A client that makes its connections with `dial`, called for each stream.
    pub fn with_dial(dial: impl Fn() -> Channel + Send + Sync + 'static) -> Self {
        Self { dial: Arc::new(dial), random: Arc::new(backoff::system_random), token: Source::None }
    }

    /// Shows a token in every session: a JSON Web Token that the application has made (signal.proto, "Tokens"). A
    /// session ends with it.
    #[must_use]
    pub fn with_token(self, token: impl Into<String>) -> Self {
        let token: String = token.into();
        Self { token: Source::Fixed(token.into()), ..self }
    }

    /// Gets a token from `get` for every session, and another in time before it expires, so that the session goes on.
    #[must_use]
    pub fn with_token_from<F, E>(self, get: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let get = move || {
            let token = get();
            let token: token::Pending = Box::pin(async move { token.await.map_err(Into::into) });
            token
        };
        Self { token: Source::Function(Arc::new(get)), ..self }
    }

    /// Takes the random part of waits, numbers from 0 to 1, from `random`: for simulations that must be repeatable.
    #[must_use]
    pub fn with_random(self, random: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        Self { random: Arc::new(random), ..self }
    }

    /// Opens a session. Errors are those of the first attempt; once it is open, the session looks after itself.
    pub async fn join(&self, join: v1::Join) -> Result<Session, Error> {
        driver::open(self.clone(), join).await
    }
}

fn endpoint(url: &str) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| Error::Address(error.to_string()))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        // A connection that died without a word is found within 15 s.
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true))
}

#[cfg(feature = "tls")]
fn with_tls(endpoint: Endpoint, tls: ClientTlsConfig) -> Result<Endpoint, Error> {
    endpoint.tls_config(tls).map_err(|error| Error::Address(error.to_string()))
}
