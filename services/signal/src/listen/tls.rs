//! TLS of the port of members, with certificates that can be replaced while it runs: connections that are there keep
//! what they began with.

mod self_signed;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
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
use tracing::{info, warn};

use crate::config::Config;

/// Handshakes at the same time; more wait. An established connection needs far less memory.
const MAX_HANDSHAKES: usize = 256;
/// How long a handshake may take where others wait for its turn: several round trips.
const TURN: Duration = Duration::from_secs(1);
/// How often it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(1);

/// What is said to somebody who speaks HTTP.
const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n\
    content-length: 36\r\n\r\nThis port speaks TLS: use https://.\n";
/// Bytes that are read of what somebody says who speaks HTTP.
const MAX_REQUEST: u64 = 64 * 1024;

/// TLS, as it is at the moment.
pub struct Tls {
    files: Files,
    read: Contents,
    current: RwLock<Arc<ServerConfig>>,
    turns: Turns,
}

/// Where certificates come from. Certificate and key may be one file.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Loads what the settings name, making a certificate where they say so; `None` where they want no TLS.
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
        let read = files.read()?;
        let current = RwLock::new(read.config()?);
        let turns = Turns { free: Semaphore::new(MAX_HANDSHAKES), waiting: watch::Sender::new(0) };
        Ok(Some(Arc::new(Self { files, read, current, turns })))
    }

    /// Takes up new certificates when the files change, for as long as the server runs. What cannot be used is warned
    /// of and changes nothing.
    pub async fn watch(self: Arc<Self>) {
        let mut tick = time::interval(LOOK);
        // What was seen last, and what was last taken up or found wanting.
        let (mut seen, mut judged): (Option<Result<Contents, String>>, _) = (None, None);
        loop {
            tick.tick().await;
            let files = self.files.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || files.read()).await else { continue };
            // Two files are not replaced at once: they are looked at when they have come to rest.
            let is_at_rest = seen.as_ref() == Some(&found);
            let is_known = match &judged {
                Some(judged) => *judged == found,
                None => found.as_ref() == Ok(&self.read),
            };
            if is_at_rest && !is_known {
                match found.as_ref().map_err(Clone::clone).and_then(Contents::config) {
                    Ok(config) => {
                        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                    }
                    Err(error) => warn!(error, "the changed TLS files are no use: the certificates before stay"),
                }
                judged = seen.take();
            }
            seen = Some(found);
        }
    }

    /// Speaks TLS on a connection that begins with that byte. Says whether its peer has shown a certificate of a trusted
    /// client; `None` if it spoke HTTP and was told so.
    pub(super) async fn accept<S>(&self, mut socket: S, first: Option<u8>) -> io::Result<Option<(TlsStream<S>, bool)>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // A method, or the preface of HTTP/2; TLS begins with 22.
        if first.is_some_and(|first| first.is_ascii_uppercase()) {
            socket.write_all(SPEAK_TLS).await?;
            socket.shutdown().await?;
            // What it says must be read, or the answer is lost with the connection.
            tokio::io::copy(&mut socket.take(MAX_REQUEST), &mut tokio::io::sink()).await?;
            return Ok(None);
        }
        // Who has not said its hello to the end takes nobody's turn.
        let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let _turn = self.turns.take().await;
        let config = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = tokio::select! {
            stream = hello.into_stream(config) => stream?,
            () = self.turns.end() => return Err(io::Error::new(io::ErrorKind::TimedOut, "others wait for its turn")),
        };
        let is_trusted = stream.get_ref().1.peer_certificates().is_some();
        Ok(Some((stream, is_trusted)))
    }
}

/// The turns in which handshakes are made.
struct Turns {
    free: Semaphore,
    /// How many wait for one.
    waiting: watch::Sender<usize>,
}

impl Turns {
    /// Takes a turn, which ends when what is returned is dropped.
    async fn take(&self) -> SemaphorePermit<'_> {
        if let Ok(turn) = self.free.try_acquire() {
            return turn;
        }
        let _waiting = Waiting::among(&self.waiting);
        self.free.acquire().await.expect("turns are never closed")
    }

    /// Waits until a turn that begins now has to make way: those who stall keep nobody out.
    async fn end(&self) {
        time::sleep(TURN).await;
        // There is a sender for as long as there is this.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

/// Somebody who waits, until it is dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl<'a> Waiting<'a> {
    fn among(all: &'a watch::Sender<usize>) -> Self {
        // Whose turn is over looks out for the first, and need not hear of others.
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

impl Files {
    fn read(&self) -> Result<Contents, String> {
        let read = |path: &Path| fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: self.client_ca.as_deref().map(read).transpose()?,
        })
    }
}

impl Contents {
    fn config(&self) -> Result<Arc<ServerConfig>, String> {
        let certificates = certificates("--tls-cert", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| format!("--tls-key: there is no private key in PEM: {error}"))?;
        let fingerprint = fingerprint(&certificates[0]);

        let provider = Arc::new(provider::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has the default versions");
        let builder = match &self.client_ca {
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
            .map_err(|error| format!("--tls-cert and --tls-key do not go together: {error}"))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        info!(sha256 = fingerprint, "TLS certificate");
        Ok(Arc::new(config))
    }
}

fn certificates(flag: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{flag}: there is no certificate in PEM")),
        Err(error) => Err(format!("{flag}: {error}")),
    }
}

/// As browsers and openssl show it.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes: Vec<String> = digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// For whom a certificate of the server's own is.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let ip: IpAddr = config.listen.ip().to_canonical();
    names.extend((!ip.is_unspecified()).then(|| ip.to_string()));
    names.extend(config.public_name.iter().map(|name| name.host()));
    names.sort_unstable();
    names.dedup();
    names
}
