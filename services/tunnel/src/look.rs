//! Looks whether the server is seen where it should be: a gRPC health call over a new connection, here and then from
//! outside in. What answers there must show the certificate that the server shows here.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use tokio::{net::TcpStream, time};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring as provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tonic::{
    Code, Status,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tower::service_fn;

/// How long a look may take: a tunnel around the world needs some ten ways there and back.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The service that must be there.
const SIGNAL: &str = "signalbox.v1.Signal";

/// The certificate that a server shows; `None` without TLS.
pub type Certificate = Option<CertificateDer<'static>>;

/// What is wrong.
#[derive(Debug)]
pub enum Fault {
    /// The server on this machine does not answer.
    Server(String),
    /// It does, but not at its public address.
    Outside(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(reason) => write!(f, "the server on this machine does not answer: {reason}"),
            Self::Outside(reason) => write!(f, "not seen from outside: {reason}"),
        }
    }
}

/// Where the server is.
#[derive(Debug, Clone)]
pub struct Places {
    /// The port of members on this machine.
    pub local: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The tunnel server.
    pub to: String,
    /// The name that visitors use for it.
    pub host: String,
}

impl Places {
    /// Looks at both, for a server that has that public port.
    pub async fn look(&self, port: u16) -> Result<(), Fault> {
        let certificate = self.look_here().await.map_err(Fault::Server)?;
        let there = async {
            let url = format!("{}://{}:{port}", self.scheme(), self.host);
            let channel = connect(&url, (self.to.clone(), port), Expected::Same(certificate)).await?;
            check(channel).await
        };
        within(there).await.map_err(Fault::Outside)
    }

    /// Looks on this machine. Returns the certificate.
    pub async fn look_here(&self) -> Result<Certificate, String> {
        let seen = Arc::default();
        within(async {
            let channel = self.connect_here(Expected::Any(Arc::clone(&seen))).await?;
            check(channel).await
        })
        .await?;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(seen.take())
    }

    async fn connect_here(&self, expected: Expected) -> Result<Channel, String> {
        let url = format!("{}://{}", self.scheme(), self.local);
        connect(&url, (self.local.ip().to_string(), self.local.port()), expected).await
    }

    /// A connection to the port of members on this machine, where nobody else can be.
    pub async fn channel_here(&self) -> Result<Channel, String> {
        within(self.connect_here(Expected::Any(Arc::default()))).await
    }

    /// A connection as a visitor makes it, by a name that the server has, without a way around.
    pub async fn channel_as_visitor(&self, host: &str) -> Result<Channel, String> {
        let url = format!("{}://{host}", self.scheme());
        let to = (self.local.ip().to_string(), self.local.port());
        within(connect(&url, to, Expected::Any(Arc::default()))).await
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// A connection to a port of operators on this machine, which speaks plain HTTP.
pub async fn channel_of_operators(admin: SocketAddr) -> Result<Channel, String> {
    let to = (admin.ip().to_string(), admin.port());
    within(connect(&format!("http://{admin}"), to, Expected::Same(None))).await
}

/// SHA-256 of a certificate, as browsers show it.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes: Vec<String> = digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

async fn within<T>(look: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    time::timeout(TIMEOUT, look).await.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
}

/// A connection to `to` for the server known as `url`.
async fn connect(url: &str, to: (String, u16), expected: Expected) -> Result<Channel, String> {
    let fail = |error: &dyn std::error::Error| {
        // The last of the causes is the one that says something.
        let mut cause = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        cause.to_string()
    };
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| fail(&error))?;
    let tls = ClientTlsConfig::new();
    let endpoint = match url.starts_with("https:") {
        true => endpoint.tls_config_with_verifier(tls, Arc::new(expected)).map_err(|error| fail(&error))?,
        false => endpoint,
    };
    let dial = service_fn(move |_| {
        let to = to.clone();
        async move { TcpStream::connect(to).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(dial).await.map_err(|error| fail(&error))
}

async fn check(channel: Channel) -> Result<(), String> {
    let request = HealthCheckRequest { service: SIGNAL.to_owned() };
    let status = HealthClient::new(channel).check(request).await.map_err(|status| in_words(&status))?.into_inner();
    match status.status() {
        ServingStatus::Serving => Ok(()),
        _ => Err("it is not serving".to_owned()),
    }
}

fn in_words(status: &Status) -> String {
    match status.code() {
        Code::Unavailable | Code::Unknown => "the connection was closed".to_owned(),
        code => format!("health answers {code:?}"),
    }
}

/// Which certificate a server may show.
#[derive(Debug)]
enum Expected {
    /// Whichever; it is put there.
    Any(Arc<Mutex<Certificate>>),
    /// This one. Who has it has its key, which the handshake shows, and so is the server.
    Same(Certificate),
}

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self {
            Self::Any(seen) => {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.clone().into_owned());
            }
            Self::Same(expected) if expected.as_ref() == Some(end_entity) => {}
            Self::Same(_) => return Err(CertificateError::ApplicationVerificationFailure.into()),
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &algorithms().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().signature_verification_algorithms.supported_schemes()
    }
}

fn algorithms() -> CryptoProvider {
    provider::default_provider()
}
