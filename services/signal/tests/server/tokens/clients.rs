//! The native client with tokens: it shows them, renews its session, and comes back with a new one.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use signalbox_client::{Client, Error, Event, Session};
use signalbox_proto::{reason, v1::Join};

use super::Guarded;
use crate::common::{DEADLINE, jwt, say, within};

fn client(guarded: &Guarded) -> Client {
    Client::new(&format!("http://{}", guarded.server.addr)).expect("an address")
}

/// A client whose tokens are good for so many seconds, and how many it has asked for.
fn renewing(guarded: &Guarded, seconds: u64) -> (Client, Arc<AtomicU64>) {
    let asked = Arc::<AtomicU64>::default();
    let key = jwt::Key::ed25519(1);
    let counted = asked.clone();
    let client = client(guarded).with_token_from(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let now = jwt::now();
        let claims = serde_json::json!({"nbf": now, "exp": now + seconds});
        let token = key.mint(&jwt::claims_with("demo", "ann", &claims));
        async move { Ok::<_, std::io::Error>(token) }
    });
    (client, asked)
}

async fn join(client: &Client) -> Result<Session, Error> {
    within(DEADLINE, client.join(Join { room: "demo".to_owned(), ..Join::default() })).await
}

async fn next(session: &mut Session) -> Event {
    within(2 * DEADLINE, session.next()).await.expect("the session goes on")
}

#[tokio::test]
async fn a_fixed_token_is_shown() {
    let guarded = Guarded::start(&[]).await;
    let session = join(&client(&guarded).with_token(guarded.token("demo", "ann"))).await.expect("she joins");
    assert_eq!(session.welcome().you.as_ref().map(|you| you.identity.as_str()), Some("ann"));
    let refused = join(&client(&guarded)).await.expect_err("refused");
    assert_eq!(refused.reason(), reason::TOKEN_INVALID);
    let refused = join(&client(&guarded).with_token("no\ntoken")).await.expect_err("refused");
    assert!(matches!(refused, Error::NoToken(_)), "{refused:?}");
    let broken = client(&guarded).with_token_from(|| async { Err::<String, _>("the back end is away") });
    let refused = join(&broken).await.expect_err("refused");
    assert!(refused.to_string().contains("the back end is away"), "{refused}");
}

#[tokio::test]
async fn a_session_is_renewed_before_its_token_expires() {
    let guarded = Guarded::start(&["--jwt-grace", "0s"]).await;
    let (client, asked) = renewing(&guarded, 8);
    let mut ann = join(&client).await.expect("she joins");
    // When this one's token runs out, so would ann's first.
    let last = guarded.try_join(&guarded.token_for("demo", "last", 9), say::join("demo")).await.expect("it joins");
    loop {
        match next(&mut ann).await {
            Event::MemberJoined(_) => {}
            Event::MemberLeft(left) => break assert_eq!(left.member_id, last.id),
            event => panic!("ann was to hear of nothing else: {event:?}"),
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_session_that_ended_with_its_token_is_opened_anew_with_another() {
    let guarded = Guarded::start(&["--jwt-grace", "0s"]).await;
    let (client, asked) = renewing(&guarded, 3);
    let mut ann = join(&client).await.expect("she joins");
    let before = ann.member_id();
    assert!(matches!(next(&mut ann).await, Event::Rejoined(_)));
    assert_ne!(ann.member_id(), before);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_session_with_a_fixed_token_ends_with_it() {
    let guarded = Guarded::start(&["--jwt-grace", "0s"]).await;
    let fixed = client(&guarded).with_token(guarded.token_for("demo", "bob", 3));
    let mut bob = join(&fixed).await.expect("he joins");
    // The seconds for which clocks may differ do not let him in again, to be ended at once.
    match next(&mut bob).await {
        Event::Ended(error) => assert_eq!(error.reason(), reason::TOKEN_EXPIRED),
        event => panic!("bob was to hear of nothing else: {event:?}"),
    }
}
