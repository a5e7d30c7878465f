//! TLS at the public listener.

mod certificates;
mod client;
mod native;
mod protocols;
mod trusted;

use tempfile::TempDir;

use self::client::{Authority, Client};
use crate::common::TestServer;

/// A server with a certificate, and a client that trusts it.
struct Served {
    server: TestServer,
    client: Client,
    authority: Authority,
    folder: TempDir,
}

/// Starts a server with TLS and these flags.
async fn serve(flags: &[&str]) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the first");
    authority.issue("localhost").write(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let server = TestServer::start(&[&["--tls-cert", &cert, "--tls-key", &key], flags].concat()).await;
    Served { server, client: Client::trusting(&authority.pem()), authority, folder }
}
