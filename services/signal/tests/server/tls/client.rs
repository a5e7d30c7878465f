//! Certificates of test authorities, and clients that verify the server.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};

use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::common::{DEADLINE, within};

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for a server or client of that name.
    pub(crate) fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Identity {
    /// Writes `cert.pem` and `key.pem`.
    pub(crate) fn write(&self, folder: &Path) {
        fs::write(folder.join("cert.pem"), &self.certificate).unwrap();
        fs::write(folder.join("key.pem"), &self.key).unwrap();
    }
}

/// A client that trusts the servers of some authorities.
#[derive(Clone)]
pub(crate) struct Client {
    roots: Arc<RootCertStore>,
    identity: Option<Arc<Identity>>,
    alpn: Vec<Vec<u8>>,
}

impl Client {
    /// Trusts the certificates in `pem`.
    pub(crate) fn trusting(pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        Self { roots: Arc::new(roots), identity: None, alpn: vec![b"h2".to_vec()] }
    }

    /// Offers these protocols.
    pub(crate) fn offering(self, alpn: &[&str]) -> Self {
        Self { alpn: alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(), ..self }
    }

    /// Uses a client certificate.
    pub(crate) fn with_identity(self, identity: Identity) -> Self {
        Self { identity: Some(Arc::new(identity)), ..self }
    }

    /// A connection after its handshake.
    pub(crate) async fn connect(&self, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.clone();
        let socket = within(DEADLINE, TcpStream::connect(addr)).await?;
        let name = ServerName::try_from("localhost").unwrap();
        within(DEADLINE, TlsConnector::from(Arc::new(config)).connect(name, socket)).await
    }

    /// An HTTP/2 connection for gRPC.
    pub(crate) async fn channel(&self, addr: SocketAddr) -> Channel {
        let client = self.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let client = client.clone();
            async move { client.connect(addr).await.map(TokioIo::new) }
        });
        // The connector speaks TLS; tonic must not add its own.
        let endpoint = Endpoint::from_shared(format!("http://localhost:{}", addr.port())).unwrap();
        endpoint.connect_with_connector(connector).await.expect("TLS and HTTP/2")
    }
}

/// The certificate of the server.
pub(crate) fn certificate_of(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone().into_owned()
}
