//! Where certificates come from, and how they are replaced.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use ring::digest::{SHA256, digest};
use rustix::process::Signal;
use signalbox_proto::v1::{
    ClientMessage, ServerMessage, client_message::Body as Said, server_message::Body, signal_client::SignalClient,
};
use tokio::{sync::mpsc, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    client::{Authority, Client, certificate_of},
    serve,
};
use crate::common::{
    DEADLINE, body,
    program::{Program, run},
    say, within,
};

/// A session over TLS.
struct Session {
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: Streaming<ServerMessage>,
}

impl Session {
    async fn join(client: &Client, addr: std::net::SocketAddr, room: &str) -> Self {
        let (outgoing, messages) = mpsc::channel(16);
        outgoing.send(say::unnumbered("", Said::Join(say::join(room)))).await.unwrap();
        let mut signal = SignalClient::new(client.channel(addr).await);
        let incoming = signal.exchange(ReceiverStream::new(messages)).await.unwrap().into_inner();
        let mut session = Self { outgoing, incoming };
        body!(session.next().await, Welcome);
        session
    }

    async fn next(&mut self) -> ServerMessage {
        loop {
            let message = within(DEADLINE, self.incoming.message()).await.unwrap().expect("the stream goes on");
            if !matches!(message.body, None | Some(Body::Heartbeat(_))) {
                return message;
            }
        }
    }

    async fn say(&self, body: Said) {
        self.outgoing.send(say::unnumbered("", body)).await.unwrap();
    }
}

/// Connects until the server shows the certificate of that client's authority.
async fn until_trusted(client: &Client, addr: std::net::SocketAddr) {
    let replaced = async {
        while client.connect(addr).await.is_err() {
            time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(DEADLINE, replaced).await;
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_sessions_go_on() {
    let served = serve(&[]).await;
    let addr = served.server.addr;
    let mut ann = Session::join(&served.client, addr, "demo").await;
    let mut ben = Session::join(&served.client, addr, "demo").await;
    body!(ann.next().await, MemberJoined);

    let second = Authority::new("the second");
    let new_client = Client::trusting(&second.pem());
    assert!(new_client.connect(addr).await.is_err(), "it is not there yet");
    second.issue("localhost").write(served.folder.path());
    until_trusted(&new_client, addr).await;
    assert!(served.client.connect(addr).await.is_err(), "the old one is gone");

    ann.say(say::offer("after")).await;
    assert_eq!(body!(ben.next().await, Offer).sdp, "after");
    let mut cem = Session::join(&new_client, addr, "demo").await;
    body!(ann.next().await, MemberJoined);
    body!(ben.next().await, MemberJoined);
    ben.say(Said::Data(signalbox_proto::v1::Data { text: "to all".to_owned(), ..Default::default() })).await;
    assert_eq!(body!(cem.next().await, Data).text, "to all");
    assert_eq!(body!(ann.next().await, Data).text, "to all");
}

#[tokio::test]
async fn a_broken_one_is_warned_of_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Authority::new("the first"), Authority::new("the second"));
    first.issue("localhost").write(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let program = Program::start(&["--tls-cert", &cert, "--tls-key", &key]).await;
    let old = Client::trusting(&first.pem());
    old.connect(program.addr).await.expect("it serves");

    let new = second.issue("localhost");
    let warning = "the certificates before stay";
    for (times, broken) in ["no certificate", "", &new.certificate].into_iter().enumerate() {
        fs::write(&cert, broken).unwrap();
        program.logs(warning, times + 1).await;
        old.connect(program.addr).await.expect("the old one is still there");
    }
    fs::remove_file(&key).unwrap();
    program.logs(warning, 4).await;
    old.connect(program.addr).await.expect("the old one is still there");
    new.write(folder.path());
    until_trusted(&Client::trusting(&second.pem()), program.addr).await;

    program.signal(Signal::TERM);
    let (status, log) = program.end().await;
    assert!(status.success(), "{log}");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(warning)).collect();
    assert_eq!(warnings.len(), 4, "{log}");
    for (warning, told) in warnings.iter().zip(["--tls-cert", "--tls-cert", "do not go together", "cannot read"]) {
        assert!(warning.contains("WARN") && warning.contains(told), "{told} is not in {warning}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_keeps_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("somebody");
    authority.issue("localhost").write(folder.path());
    fs::write(folder.path().join("other.pem"), authority.issue("localhost").key).unwrap();
    fs::write(folder.path().join("empty.pem"), "").unwrap();
    let good = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    for (flags, told) in [
        (&["--tls-cert", "missing.pem", "--tls-key", "key.pem"][..], "missing.pem"),
        (&["--tls-cert", "cert.pem", "--tls-key", "missing.pem"], "missing.pem"),
        (&["--tls-cert", "empty.pem", "--tls-key", "key.pem"], "--tls-cert"),
        (&["--tls-cert", "key.pem", "--tls-key", "key.pem"], "--tls-cert"),
        (&["--tls-cert", "cert.pem", "--tls-key", "cert.pem"], "--tls-key"),
        (&["--tls-cert", "cert.pem", "--tls-key", "other.pem"], "do not go together"),
        (&[&good[..], &["--tls-client-ca", "empty.pem"]].concat(), "--tls-client-ca"),
    ] {
        let output = run(folder.path(), &[&["--listen", "127.0.0.1:0"], flags].concat()).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{flags:?}: {errors}");
        assert!(errors.lines().last().unwrap().contains(told), "{flags:?}: {errors}");
        assert!(!errors.contains("listening"), "{flags:?}: {errors}");
    }
}

/// The fingerprint that a server of that folder shows and logs, and the file that it has it from.
async fn fingerprint(store: &Path, flags: &[&str]) -> (String, String) {
    let url = format!("redb:{}", store.display());
    let program = Program::start(&[&["--store", &url, "--tls-self-signed"], flags].concat()).await;
    let path = store.join("tls-self-signed.pem");
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let stream = Client::trusting(&kept).connect(program.addr).await.expect("it is its own authority");
    let bytes = digest(&SHA256, &certificate_of(&stream));
    let hex: Vec<_> = bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    drop(stream);
    program.signal(Signal::TERM);
    let (_, log) = program.end().await;
    let digest = hex.join(":");
    assert!(log.contains(&digest), "{digest} is not in {log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
    (digest, kept)
}

#[tokio::test]
async fn a_certificate_of_its_own_making_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("data");
    let (first, kept) = fingerprint(&store, &[]).await;
    fs::set_permissions(store.join("tls-self-signed.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let (again, _) = fingerprint(&store, &[]).await;
    assert_eq!(first, again);
    // For another name it is another certificate, of the same key.
    let (other, kept_then) = fingerprint(&store, &["--allow-anonymous", "--public-name", "signal.example.org"]).await;
    assert_ne!(first, other);
    let key = |pem: &str| pem.split("-----").nth(2).unwrap().to_owned();
    assert_eq!(key(&kept), key(&kept_then));
    assert!(kept_then.contains("signal.example.org"));
}
