//! Probes the server with a gRPC health call over a new connection, on this machine and then at its public address.
//! Both must present the same certificate.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
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

/// Deadline of a probe: about ten round trips through a tunnel around the world.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The service whose health a probe checks.
const SIGNAL_SERVICE: &str = "signalbox.v1.Signal";

/// A server's certificate; `None` without TLS.
pub type Certificate = Option<CertificateDer<'static>>;

/// Why a probe failed.
#[derive(Debug)]
pub enum ProbeError {
    /// The server on this machine does not respond.
    Local(String),
    /// The server responds on this machine, but not at its public address.
    Public(String),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(reason) => write!(f, "the server on this machine does not respond: {reason}"),
            Self::Public(reason) => write!(f, "not reachable from outside: {reason}"),
        }
    }
}

/// The server to probe.
#[derive(Debug, Clone)]
pub struct ProbeTarget {
    /// Loopback address of the public listener.
    pub local: SocketAddr,
    /// Whether the public listener uses TLS.
    pub tls: bool,
    /// Host of the tunnel server, which accepts the connections to the public address.
    pub tunnel_server: String,
    /// The host name in the public address.
    pub public_host: String,
}

impl ProbeTarget {
    /// Probes the server on this machine, then at its public address.
    pub async fn probe(&self, public_port: u16) -> Result<(), ProbeError> {
        let certificate = self.probe_local().await.map_err(ProbeError::Local)?;
        let probe = async {
            let url = format!("{}://{}:{public_port}", self.scheme(), self.public_host);
            let address = (self.tunnel_server.clone(), public_port);
            let channel = connect(&url, address, ExpectedCertificate::Exactly(certificate)).await?;
            check_health(channel).await
        };
        with_timeout(probe).await.map_err(ProbeError::Public)
    }

    /// Probes the server on this machine and returns its certificate.
    pub async fn probe_local(&self) -> Result<Certificate, String> {
        let presented = Arc::default();
        with_timeout(async {
            let channel = self.connect_local(ExpectedCertificate::Any(Arc::clone(&presented))).await?;
            check_health(channel).await
        })
        .await?;
        let mut presented = presented.lock();
        Ok(presented.take())
    }

    async fn connect_local(&self, expected: ExpectedCertificate) -> Result<Channel, String> {
        let url = format!("{}://{}", self.scheme(), self.local);
        connect(&url, (self.local.ip().to_string(), self.local.port()), expected).await
    }

    /// Connects to the public listener on this machine. Accepts any certificate, since the address is loopback.
    pub async fn local_channel(&self) -> Result<Channel, String> {
        with_timeout(self.connect_local(ExpectedCertificate::Any(Arc::default()))).await
    }

    /// Connects to the public listener without the tunnel, but requests `public_host` like a visitor.
    pub async fn visitor_channel(&self, public_host: &str) -> Result<Channel, String> {
        let url = format!("{}://{public_host}", self.scheme());
        let address = (self.local.ip().to_string(), self.local.port());
        with_timeout(connect(&url, address, ExpectedCertificate::Any(Arc::default()))).await
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Connects to an admin listener on this machine, which uses plain HTTP.
pub async fn admin_channel(admin: SocketAddr) -> Result<Channel, String> {
    let address = (admin.ip().to_string(), admin.port());
    with_timeout(connect(&format!("http://{admin}"), address, ExpectedCertificate::Exactly(None))).await
}

/// Returns the SHA-256 fingerprint of a certificate, in the form that browsers show.
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes: Vec<String> = digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

async fn with_timeout<T>(probe: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    time::timeout(TIMEOUT, probe).await.unwrap_or_else(|_| Err(format!("no response within {} s", TIMEOUT.as_secs())))
}

/// Connects to `address` instead of resolving the host in `url`.
async fn connect(url: &str, address: (String, u16), expected: ExpectedCertificate) -> Result<Channel, String> {
    let fail = |error: &dyn std::error::Error| {
        // Only the innermost error is specific.
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
        let address = address.clone();
        async move { TcpStream::connect(address).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(dial).await.map_err(|error| fail(&error))
}

async fn check_health(channel: Channel) -> Result<(), String> {
    let request = HealthCheckRequest { service: SIGNAL_SERVICE.to_owned() };
    let response = HealthClient::new(channel).check(request).await.map_err(|status| describe(&status))?.into_inner();
    match response.status() {
        ServingStatus::Serving => Ok(()),
        _ => Err("the health check reports that it is not serving".to_owned()),
    }
}

fn describe(status: &Status) -> String {
    match status.code() {
        Code::Unavailable | Code::Unknown => "the connection was closed".to_owned(),
        code => format!("the health check failed with {code:?}"),
    }
}

/// The server certificates that the client accepts.
#[derive(Debug)]
enum ExpectedCertificate {
    /// Accepts any certificate, and stores the one that the server presents.
    Any(Arc<Mutex<Certificate>>),
    /// Accepts only this certificate. The handshake proves that the server holds its private key.
    Exactly(Certificate),
}

impl ServerCertVerifier for ExpectedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self {
            Self::Any(presented) => {
                *presented.lock() = Some(end_entity.clone().into_owned());
            }
            Self::Exactly(expected) if expected.as_ref() == Some(end_entity) => {}
            Self::Exactly(_) => return Err(CertificateError::ApplicationVerificationFailure.into()),
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &crypto_provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &crypto_provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn crypto_provider() -> CryptoProvider {
    provider::default_provider()
}
