//! The native client with tokens: join, renewal, rejoin.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use signalbox_client::{Client, Error, Event, Session};
use signalbox_proto::{reason, v1::Join};

use super::TokenServer;
use crate::common::{DEADLINE, jwt, messages, within};

fn client(server: &TokenServer) -> Client {
    Client::new(&format!("http://{}", server.addr)).expect("an address")
}

/// A client whose tokens are valid for `seconds`, and the number of tokens that it has requested.
fn renewing(server: &TokenServer, seconds: u64) -> (Client, Arc<AtomicU64>) {
    let requested = Arc::<AtomicU64>::default();
    let key = jwt::Key::ed25519(1);
    let counted = requested.clone();
    let client = client(server).with_token_from(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let now = jwt::now();
        let claims = serde_json::json!({"nbf": now, "exp": now + seconds});
        let token = key.mint(&jwt::claims_with("demo", "ann", &claims));
        async move { Ok::<_, std::io::Error>(token) }
    });
    (client, requested)
}

async fn join(client: &Client) -> Result<Session, Error> {
    within(DEADLINE, client.join(Join { room: "demo".to_owned(), ..Join::default() })).await
}

async fn next(session: &mut Session) -> Event {
    within(2 * DEADLINE, session.next()).await.expect("the session continues")
}

#[tokio::test]
async fn a_fixed_token_is_sent() {
    let server = TokenServer::start(&[]).await;
    let session = join(&client(&server).with_token(server.token("demo", "ann"))).await.expect("she joins");
    assert_eq!(session.welcome().you.as_ref().map(|you| you.identity.as_str()), Some("ann"));
    let refused = join(&client(&server)).await.expect_err("refused");
    assert_eq!(refused.reason(), reason::TOKEN_INVALID);
    let refused = join(&client(&server).with_token("no\ntoken")).await.expect_err("refused");
    assert!(matches!(refused, Error::NoToken(_)), "{refused:?}");
    let broken = client(&server).with_token_from(|| async { Err::<String, _>("the application server is down") });
    let refused = join(&broken).await.expect_err("refused");
    assert!(refused.to_string().contains("the application server is down"), "{refused}");
}

#[tokio::test]
async fn a_session_is_renewed_before_its_token_expires() {
    let server = TokenServer::start(&["--jwt-grace", "0s"]).await;
    let (client, requested) = renewing(&server, 8);
    let mut ann = join(&client).await.expect("she joins");
    // It expires after ann's first token.
    let last = server.try_join(&server.token_for("demo", "last", 9), messages::join("demo")).await.expect("it joins");
    loop {
        match next(&mut ann).await {
            Event::MemberJoined(_) => {}
            Event::MemberLeft(left) => break assert_eq!(left.member_id, last.id),
            event => panic!("unexpected event {event:?}"),
        }
    }
    assert_eq!(requested.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_session_that_ended_with_its_token_is_rejoined_with_a_new_one() {
    let server = TokenServer::start(&["--jwt-grace", "0s"]).await;
    let (client, requested) = renewing(&server, 3);
    let mut ann = join(&client).await.expect("she joins");
    let before = ann.member_id();
    assert!(matches!(next(&mut ann).await, Event::Rejoined(_)));
    assert_ne!(ann.member_id(), before);
    assert_eq!(requested.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_session_with_a_fixed_token_ends_with_the_token() {
    let server = TokenServer::start(&["--jwt-grace", "0s"]).await;
    let fixed = client(&server).with_token(server.token_for("demo", "bob", 3));
    let mut bob = join(&fixed).await.expect("he joins");
    // The leeway for clocks does not let him rejoin with the expired token.
    match next(&mut bob).await {
        Event::Ended(error) => assert_eq!(error.reason(), reason::TOKEN_EXPIRED),
        event => panic!("unexpected event {event:?}"),
    }
}
