//! The native client over TLS.

use signalbox_client::{Client, Error, Event, Outcome, Signal, v1::Join};

use super::{client::Authority, serve};
use crate::common::{DEADLINE, program::Program, within};

fn demo() -> Join {
    Join { room: "demo".to_owned(), ..Join::default() }
}

/// Two clients join, and one sends an offer.
async fn check_offer(url: &str, pem: &str) {
    let client = Client::with_roots(url, pem).unwrap();
    let mut ann = within(DEADLINE, client.join(demo())).await.unwrap();
    let mut ben = within(DEADLINE, client.join(demo())).await.unwrap();
    let Some(Event::MemberJoined(member)) = within(DEADLINE, ann.next()).await else { panic!("no join") };
    assert_eq!(member.member_id, ben.member_id());
    let receipt = ann.send(Signal::offer(member.member_id, "over TLS")).await;
    let Some(Event::Signal(received)) = within(DEADLINE, ben.next()).await else { panic!("no offer") };
    assert_eq!(received.from, ann.member_id());
    assert_eq!(within(DEADLINE, receipt.outcome()).await, Outcome::Accepted);
}

#[tokio::test]
async fn only_the_given_authorities_are_trusted() {
    let served = serve(&[]).await;
    let url = format!("https://localhost:{}", served.server.addr.port());
    check_offer(&url, &served.authority.pem()).await;

    let others = Client::with_roots(&url, &Authority::new("another").pem()).unwrap();
    for stranger in [others, Client::new(&url).unwrap()] {
        let error = within(DEADLINE, stranger.join(demo())).await.expect_err("the server is not trusted");
        assert!(matches!(&error, Error::Refused { reason, .. } if reason.is_empty()), "{error}");
    }
}

#[tokio::test]
async fn a_self_signed_server_is_trusted_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("redb:{}", folder.path().display());
    let program = Program::start(&["--tls-self-signed", "--store", &store]).await;
    let pem = std::fs::read_to_string(folder.path().join("tls-self-signed.pem")).unwrap();
    check_offer(&format!("https://{}", program.addr), &pem).await;
}

#[test]
fn roots_without_a_certificate_are_refused() {
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(Client::with_roots("https://localhost", pem), Err(Error::Certificate)), "{pem}");
    }
    let pem = Authority::new("the authority").pem();
    assert!(matches!(Client::with_roots("http://localhost", &pem), Err(Error::Address(_))));
}
