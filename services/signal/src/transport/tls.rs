//! TLS of the public listener. The server reloads changed certificates; established connections keep theirs.

mod self_signed;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ring::digest::{SHA256, digest};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, SemaphorePermit, watch},
    time,
};
use tokio_rustls::{
    LazyConfigAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring as provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{Acceptor, WebPkiClientVerifier},
    },
    server::TlsStream,
};
use tracing::info;

use crate::{
    config::Config,
    reload::{Reloaded, Source},
};

/// Maximum concurrent handshakes, because a handshake needs far more memory than an established connection.
const MAX_HANDSHAKES: usize = 256;
/// How long a handshake may take while others wait: enough for several round trips.
const HANDSHAKE_TIME: Duration = Duration::from_secs(1);

/// The response to plain HTTP requests.
const USE_HTTPS: &str = "This port speaks TLS: use https://.\n";
/// Maximum bytes of a plain HTTP request that the server discards after its response.
const MAX_REQUEST: u64 = 64 * 1024;

/// Accepts TLS connections with the current certificate.
pub struct Tls {
    certificate: Arc<Reloaded<Files>>,
    handshakes: HandshakeLimiter,
}

/// The configured PEM files. Certificate and key may be in the same file.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Loads the configured certificate, or generates a self-signed one. Returns `None` if TLS is not configured.
    pub fn open(config: &Config) -> Result<Option<Arc<Self>>, String> {
        let (certificate, key) = match (&config.tls_cert, &config.tls_key) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            _ if config.tls_self_signed => {
                let file = self_signed::file(config.data_folder(), &names(config))?;
                (file.clone(), file)
            }
            _ => return Ok(None),
        };
        let files = Files { certificate, key, client_ca: config.tls_client_ca.clone() };
        let handshakes = HandshakeLimiter { free: Semaphore::new(MAX_HANDSHAKES), waiting: watch::Sender::new(0) };
        Ok(Some(Arc::new(Self { certificate: Arc::new(Reloaded::load(files)?), handshakes })))
    }

    /// Reloads the certificate files when they change, while the server runs.
    pub async fn watch(self: Arc<Self>) {
        self.certificate.clone().watch().await;
    }

    /// Performs the TLS handshake. Returns the stream and whether the client has a trusted certificate, or `None` for
    /// plain HTTP.
    pub(super) async fn accept<S>(&self, mut socket: S, first: Option<u8>) -> io::Result<Option<(TlsStream<S>, bool)>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // HTTP/1.1 methods and the HTTP/2 preface start with an upper-case letter. TLS starts with byte 22.
        if first.is_some_and(|first| first.is_ascii_uppercase()) {
            let response = format!(
                "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{USE_HTTPS}",
                USE_HTTPS.len(),
            );
            socket.write_all(response.as_bytes()).await?;
            socket.shutdown().await?;
            // Closing a socket with unread bytes resets the connection, and the client would lose the response.
            tokio::io::copy(&mut socket.take(MAX_REQUEST), &mut tokio::io::sink()).await?;
            return Ok(None);
        }
        // Acquire the permit only after the complete ClientHello, so that silent clients hold no permits.
        let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let _permit = self.handshakes.acquire().await;
        let config = self.certificate.current();
        let stream = tokio::select! {
            stream = hello.into_stream(config) => stream?,
            () = self.handshakes.must_yield() => return Err(io::Error::new(io::ErrorKind::TimedOut, "handshake timed out")),
        };
        let is_trusted = stream.get_ref().1.peer_certificates().is_some();
        Ok(Some((stream, is_trusted)))
    }
}

/// Limits concurrent handshakes. A slow handshake fails once others wait, so that stalled clients cannot block them.
struct HandshakeLimiter {
    free: Semaphore,
    waiting: watch::Sender<usize>,
}

impl HandshakeLimiter {
    async fn acquire(&self) -> SemaphorePermit<'_> {
        if let Ok(permit) = self.free.try_acquire() {
            return permit;
        }
        let _waiting = Waiting::new(&self.waiting);
        self.free.acquire().await.expect("the semaphore is never closed")
    }

    /// Completes when a handshake that starts now must yield to others.
    async fn must_yield(&self) {
        time::sleep(HANDSHAKE_TIME).await;
        // `wait_for` fails only if the sender is dropped, but `self` owns it.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// Counts a waiting handshake until it is dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn new(all: &'a watch::Sender<usize>) -> Self {
        // Notify only when the first handshake starts to wait: `must_yield` needs no exact count.
        all.send_if_modified(|waiting| {
            *waiting += 1;
            *waiting == 1
        });
        Self(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|waiting| {
            *waiting -= 1;
            false
        });
    }
}

impl Source for Files {
    type Contents = Contents;
    type Value = ServerConfig;
    const NAME: &'static str = "TLS certificate";

    fn read(&self) -> Result<Contents, String> {
        let read = |path: &Path| fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn parse(&self, contents: &Contents) -> Result<ServerConfig, String> {
        let certificates = certificates("--tls-cert", &contents.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| format!("--tls-key: no private key in PEM: {error}"))?;
        let fingerprint = fingerprint(&certificates[0]);

        let provider = Arc::new(provider::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions");
        let builder = match &contents.client_ca {
            None => builder.with_no_client_auth(),
            Some(client_ca) => {
                let mut roots = RootCertStore::empty();
                for root in self::certificates("--tls-client-ca", client_ca)? {
                    roots.add(root).map_err(|error| format!("--tls-client-ca: {error}"))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| format!("--tls-client-ca: {error}"))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| format!("--tls-cert and --tls-key do not match: {error}"))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        info!(sha256 = fingerprint, "TLS certificate");
        Ok(config)
    }
}

fn certificates(flag: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{flag}: no certificate in PEM")),
        Err(error) => Err(format!("{flag}: {error}")),
    }
}

/// Formats the SHA-256 fingerprint like browsers and openssl.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes: Vec<String> = digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Returns the names for a self-signed certificate.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let ip: IpAddr = config.listen.ip().to_canonical();
    names.extend((!ip.is_unspecified()).then(|| ip.to_string()));
    names.extend(config.public_name.iter().map(|name| name.host()));
    names.sort_unstable();
    names.dedup();
    names
}
