//! The native client over TLS.

use signalbox_client::{Client, Error, Event, Outcome, Signal, v1::Join};

use super::{client::Authority, serve};
use crate::common::{DEADLINE, program::Program, within};

fn demo() -> Join {
    Join { room: "demo".to_owned(), ..Join::default() }
}

/// Two clients of that server meet, and one offers.
async fn meet(url: &str, pem: &str) {
    let client = Client::with_roots(url, pem).unwrap();
    let mut ann = within(DEADLINE, client.join(demo())).await.unwrap();
    let mut ben = within(DEADLINE, client.join(demo())).await.unwrap();
    let Some(Event::MemberJoined(member)) = within(DEADLINE, ann.next()).await else { panic!("ben joins") };
    assert_eq!(member.member_id, ben.member_id());
    let receipt = ann.send(Signal::offer(member.member_id, "over TLS")).await;
    let Some(Event::Signal(heard)) = within(DEADLINE, ben.next()).await else { panic!("ann offers") };
    assert_eq!(heard.from, ann.member_id());
    assert_eq!(within(DEADLINE, receipt.outcome()).await, Outcome::Accepted);
}

#[tokio::test]
async fn it_trusts_the_authorities_that_it_is_given_and_no_other() {
    let served = serve(&[]).await;
    let url = format!("https://localhost:{}", served.server.addr.port());
    meet(&url, &served.authority.pem()).await;

    let others = Client::with_roots(&url, &Authority::new("another").pem()).unwrap();
    for stranger in [others, Client::new(&url).unwrap()] {
        let error = within(DEADLINE, stranger.join(demo())).await.expect_err("the server is not trusted");
        assert!(matches!(&error, Error::Refused { reason, .. } if reason.is_empty()), "{error}");
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_of_its_own_making_is_trusted_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("redb:{}", folder.path().display());
    let program = Program::start(&["--tls-self-signed", "--store", &store]).await;
    let pem = std::fs::read_to_string(folder.path().join("tls-self-signed.pem")).unwrap();
    meet(&format!("https://{}", program.addr), &pem).await;
}

#[test]
fn what_holds_no_certificate_is_refused() {
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        assert!(matches!(Client::with_roots("https://localhost", pem), Err(Error::Certificate)), "{pem}");
    }
    let pem = Authority::new("somebody").pem();
    assert!(matches!(Client::with_roots("http://localhost", &pem), Err(Error::Address(_))));
}
