//! Certificates: files, reload, self-signed.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use ring::digest::{SHA256, digest};
use signalbox_proto::v1::{
    ClientMessage, ServerMessage, client_message::Body as ClientBody, server_message::Body as ServerBody,
    signal_client::SignalClient,
};
use signalbox_testkit::eventually;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    client::{Authority, Client, certificate_of},
    serve,
};
use crate::common::{
    DEADLINE, body, messages,
    program::{Program, run},
    within,
};

/// A session over TLS.
struct Session {
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: Streaming<ServerMessage>,
}

impl Session {
    async fn join(client: &Client, addr: std::net::SocketAddr, room: &str) -> Self {
        let (outgoing, messages) = mpsc::channel(16);
        outgoing.send(messages::unnumbered("", ClientBody::Join(messages::join(room)))).await.unwrap();
        let mut signal = SignalClient::new(client.channel(addr).await);
        let incoming = signal.exchange(ReceiverStream::new(messages)).await.unwrap().into_inner();
        let mut session = Self { outgoing, incoming };
        body!(session.next().await, Welcome);
        session
    }

    async fn next(&mut self) -> ServerMessage {
        loop {
            let message = within(DEADLINE, self.incoming.message()).await.unwrap().expect("the stream continues");
            if !matches!(message.body, None | Some(ServerBody::Heartbeat(_))) {
                return message;
            }
        }
    }

    async fn send(&self, body: ClientBody) {
        self.outgoing.send(messages::unnumbered("", body)).await.unwrap();
    }
}

/// Waits until the server has a certificate that the client trusts.
async fn until_trusted(client: &Client, addr: std::net::SocketAddr) {
    eventually(DEADLINE, "the new certificate is used", async || client.connect(addr).await.ok().map(drop)).await;
}

#[tokio::test]
async fn a_new_certificate_is_reloaded_and_sessions_continue() {
    let served = serve(&[]).await;
    let addr = served.server.addr;
    let mut ann = Session::join(&served.client, addr, "demo").await;
    let mut ben = Session::join(&served.client, addr, "demo").await;
    body!(ann.next().await, MemberJoined);

    let second = Authority::new("the second");
    let new_client = Client::trusting(&second.pem());
    assert!(new_client.connect(addr).await.is_err(), "it is not used yet");
    second.issue("localhost").write(served.folder.path());
    until_trusted(&new_client, addr).await;
    assert!(served.client.connect(addr).await.is_err(), "the old one is no longer used");

    ann.send(messages::offer("after")).await;
    assert_eq!(body!(ben.next().await, Offer).sdp, "after");
    let mut cem = Session::join(&new_client, addr, "demo").await;
    body!(ann.next().await, MemberJoined);
    body!(ben.next().await, MemberJoined);
    ben.send(ClientBody::Data(signalbox_proto::v1::Data { text: "to all".to_owned(), ..Default::default() })).await;
    assert_eq!(body!(cem.next().await, Data).text, "to all");
    assert_eq!(body!(ann.next().await, Data).text, "to all");
}

#[tokio::test]
async fn an_invalid_certificate_is_warned_of_and_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new("the first"), Authority::new("the second"));
    first.issue("localhost").write(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let program = Program::start(&["--tls-cert", &cert, "--tls-key", &key]).await;
    let old = Client::trusting(&first.pem());
    old.connect(program.addr).await.expect("it serves");

    let new = second.issue("localhost");
    let warning = "keeping the current TLS certificate";
    for (times, broken) in ["no certificate", "", &new.certificate].into_iter().enumerate() {
        fs::write(&cert, broken).unwrap();
        program.wait_for_log(warning, times + 1).await;
        old.connect(program.addr).await.expect("the old one is still used");
    }
    fs::remove_file(&key).unwrap();
    program.wait_for_log(warning, 4).await;
    old.connect(program.addr).await.expect("the old one is still used");
    new.write(folder.path());
    until_trusted(&Client::trusting(&second.pem()), program.addr).await;

    let log = program.stop().await;
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(warning)).collect();
    assert_eq!(warnings.len(), 4, "{log}");
    for (warning, cause) in warnings.iter().zip(["--tls-cert", "--tls-cert", "do not match", "cannot read"]) {
        assert!(warning.contains("WARN") && warning.contains(cause), "{cause} is not in {warning}");
    }
}

#[tokio::test]
async fn the_server_does_not_start_with_invalid_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("the authority");
    authority.issue("localhost").write(folder.path());
    fs::write(folder.path().join("other.pem"), authority.issue("localhost").key).unwrap();
    fs::write(folder.path().join("empty.pem"), "").unwrap();
    let good = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    for (flags, cause) in [
        (&["--tls-cert", "missing.pem", "--tls-key", "key.pem"][..], "missing.pem"),
        (&["--tls-cert", "cert.pem", "--tls-key", "missing.pem"], "missing.pem"),
        (&["--tls-cert", "empty.pem", "--tls-key", "key.pem"], "--tls-cert"),
        (&["--tls-cert", "key.pem", "--tls-key", "key.pem"], "--tls-cert"),
        (&["--tls-cert", "cert.pem", "--tls-key", "cert.pem"], "--tls-key"),
        (&["--tls-cert", "cert.pem", "--tls-key", "other.pem"], "do not match"),
        (&[&good[..], &["--tls-client-ca", "empty.pem"]].concat(), "--tls-client-ca"),
    ] {
        let output = run(folder.path(), &[&["--listen", "127.0.0.1:0"], flags].concat()).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {errors}");
        assert!(errors.lines().last().unwrap().contains(cause), "{flags:?}: {errors}");
        assert!(!errors.contains("listening"), "{flags:?}: {errors}");
    }
}

/// The fingerprint of the self-signed certificate of a server with that store, and the PEM file.
async fn fingerprint(store: &Path, flags: &[&str]) -> (String, String) {
    let url = format!("redb:{}", store.display());
    let program = Program::start(&[&["--store", &url, "--tls-self-signed"], flags].concat()).await;
    let path = store.join("tls-self-signed.pem");
    let pem = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let stream = Client::trusting(&pem).connect(program.addr).await.expect("it is its own authority");
    let bytes = digest(&SHA256, &certificate_of(&stream));
    let hex: Vec<_> = bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    drop(stream);
    let log = program.stop().await;
    let digest = hex.join(":");
    assert!(log.contains(&digest), "{digest} is not in {log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
    (digest, pem)
}

#[tokio::test]
async fn a_self_signed_certificate_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("data");
    let (first, pem) = fingerprint(&store, &[]).await;
    fs::set_permissions(store.join("tls-self-signed.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let (again, _) = fingerprint(&store, &[]).await;
    assert_eq!(first, again);
    // For another name there is a new certificate with the same key.
    let (other, other_pem) = fingerprint(&store, &["--allow-anonymous", "--public-name", "signal.example.org"]).await;
    assert_ne!(first, other);
    let key = |pem: &str| pem.split("-----").nth(2).unwrap().to_owned();
    assert_eq!(key(&pem), key(&other_pem));
    assert!(other_pem.contains("signal.example.org"));
}
