//! Keys: sources, errors, rotation.

use std::{collections::VecDeque, net::SocketAddr, path::Path, time::Duration};

use serde_json::{Value, json};
use signalbox_proto::{reason, v1::server_message::Body as ServerBody};
use signalbox_testkit::eventually;
use tokio::time::timeout;
use tonic::{Code, Status};

use crate::common::{
    DEADLINE, TestServer, assert_error,
    internals::{KeySources, authenticator},
    jwt::{Key, claims, write},
    messages,
    native::Member,
    web::WebClient,
    within,
};

fn load(sources: KeySources) -> Result<(), String> {
    authenticator(sources, None).map(drop)
}

fn pem(label: &str, der: &str) -> String {
    format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n")
}

#[test]
fn errors_of_keys_name_the_file_and_the_fix() {
    let folder = tempfile::tempdir().expect("a folder");
    let number = std::cell::Cell::new(0);
    let named = |ending: &str| {
        number.set(number.get() + 1);
        format!("{}.{ending}", number.get())
    };
    let file = |content: &str| KeySources {
        files: vec![write(folder.path(), &named("pem"), content).display().to_string().parse().expect("a path")],
        ..KeySources::default()
    };
    let jwks = |keys: Value| KeySources {
        jwks: Some(write(folder.path(), &named("json"), &json!({"keys": keys}).to_string())),
        ..KeySources::default()
    };
    let ed = Key::ed25519(1);
    // A private key of Ed25519, a public key of 512-bit RSA, a point that is not on P-256.
    let private = pem("PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB");
    let rsa = pem(
        "PUBLIC KEY",
        "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK5bB1gvQzSvWkz4x2uEfwgY8hpkCjVZHGQ4kDkSrgDxZ6aF4Yf8eTjBJ5ZtJ0yqWQ0oYB9m6Qe0x0k2S1cCAwEAAQ==",
    );
    let mut off_curve = Key::p256().jwk("k");
    off_curve["x"] = Value::from("A".repeat(43));
    let mut private_jwk = ed.jwk("k");
    private_jwk["d"] = Value::from("A".repeat(43));
    let mut wrong_alg = ed.jwk("k");
    wrong_alg["alg"] = Value::from("HS256");
    let mut short = ed.jwk("k");
    short["x"] = Value::from("AAAA");
    let mut small_order = ed.jwk("k");
    small_order["x"] = Value::from(format!("AQ{}", "A".repeat(41)));
    let encrypts = json!({"kty": "OKP", "crv": "Ed25519", "kid": "e", "use": "enc", "x": ed.jwk("e")["x"]});
    let rsa_jwk = json!({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"});
    for (sources, cause) in [
        (KeySources::default(), "--jwt-key"),
        (file("hello"), "PEM"),
        (file(&private), "private"),
        (file(&rsa), "Ed25519"),
        (file(""), "empty"),
        (KeySources { jwks: Some("/nowhere/jwks.json".into()), ..KeySources::default() }, "/nowhere/jwks.json"),
        (KeySources { jwks: Some("/".into()), ..KeySources::default() }, "cannot read /"),
        (KeySources { secret: "short".parse().ok(), ..KeySources::default() }, "32 bytes"),
        (jwks(json!([])), "needs a key"),
        (jwks(json!([encrypts, rsa_jwk])), "needs a key"),
        (jwks(json!({"a": 1})), "no JWK Set"),
        (jwks(json!([off_curve])), "P-256"),
        (jwks(json!([private_jwk])), "private"),
        (jwks(json!([wrong_alg])), "alg"),
        (jwks(json!([short])), "32 bytes"),
        (jwks(json!([small_order])), "small"),
        (jwks(json!([Key::secret("too short").jwk("k")])), "32 bytes"),
        (jwks(json!([ed.jwk("k"), Key::p256().jwk("k")])), "two keys"),
        (KeySources { secret: "s".repeat(32).parse().ok(), ..file(&ed.pem()) }, "each needs an id"),
    ] {
        let error = load(sources).expect_err(cause);
        assert!(error.contains(cause), "{cause} is not in {error}");
    }
    // Keys of other types and uses are ignored.
    load(jwks(json!([encrypts, rsa_jwk, ed.jwk("k")]))).expect("one key can be used");
}

/// Joins until the outcome is as expected.
async fn until(addr: SocketAddr, token: &str, is_expected: impl Fn(&Result<Member, Status>) -> bool) {
    eventually(DEADLINE, "the keys are reloaded", async || {
        is_expected(&Member::try_join_with_token(addr, Some(token), messages::join("door")).await).then_some(())
    })
    .await;
}

fn write_jwks(folder: &Path, keys: &[(&str, &Key)]) -> String {
    let keys: Vec<_> = keys.iter().map(|(kid, key)| key.jwk(kid)).collect();
    write(folder, "jwks.json", &json!({"keys": keys}).to_string()).display().to_string()
}

#[tokio::test]
async fn keys_are_rotated_without_effect_on_sessions() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new, newest) = (Key::ed25519(1), Key::p256(), Key::ed25519(3));
    let path = write_jwks(folder.path(), &[("old", &old)]);
    let server = TestServer::start(&["--auth", "jwt", "--jwks", &path]).await;
    let addr = server.addr;
    let by = |kid: &str, key: &Key, subject: &str| key.mint_as(kid, &claims("*", subject));
    let (ann_token, bob_token) = (by("old", &old, "ann"), by("old", &old, "bob"));

    // A member that sends all the time, with the old token in every call, and one that receives.
    let mut ann = Member::try_join_with_token(addr, Some(&ann_token), messages::join("demo")).await.expect("she joins");
    let mut bob = Member::try_join_with_token(addr, Some(&bob_token), messages::join("demo")).await.expect("he joins");
    let (web, session, ann_id) = (WebClient::new(addr).with_token(&bob_token), bob.token.clone(), ann.id.clone());
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while stopped.try_recv().is_err() {
            sent += 1;
            let offer = messages::numbered(sent, &ann_id, messages::offer(&sent.to_string()));
            let response = web.send(&session, vec![offer]).await.expect("a session outlives its key");
            assert_eq!((response.ack, response.undelivered.len()), (sent, 0));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sent
    });
    let receiving = tokio::spawn(async move {
        let mut received = VecDeque::new();
        while let Ok(Ok(Some(message))) = timeout(DEADLINE, ann.try_next()).await {
            match message.body {
                Some(ServerBody::Offer(offer)) if offer.sdp == "last" => break,
                Some(ServerBody::Offer(offer)) => received.push_back(offer.sdp),
                Some(ServerBody::MemberUpdated(_) | ServerBody::MemberLeft(_)) => {
                    panic!("a session ended: {message:?}")
                }
                _ => {}
            }
        }
        received
    });

    let is_accepted = |result: &Result<Member, Status>| result.is_ok();
    let is_refused = |result: &Result<Member, Status>| {
        result
            .as_ref()
            .err()
            .inspect(|status| assert_error(status, Code::Unauthenticated, reason::TOKEN_INVALID))
            .is_some()
    };
    write_jwks(folder.path(), &[("old", &old), ("new", &new)]);
    until(addr, &by("new", &new, "carol"), is_accepted).await;
    until(addr, &by("old", &old, "carol"), is_accepted).await;
    write_jwks(folder.path(), &[("new", &new)]);
    until(addr, &by("old", &old, "carol"), is_refused).await;
    until(addr, &by("new", &new, "carol"), is_accepted).await;
    write_jwks(folder.path(), &[("newest", &newest)]);
    until(addr, &by("newest", &newest, "carol"), is_accepted).await;
    until(addr, &by("new", &new, "carol"), is_refused).await;

    stop.send(()).expect("they are running");
    let sent = within(DEADLINE, sending).await.expect("no assertion failed");
    bob.send_message(messages::numbered(sent + 1, "", messages::offer("last"))).await;
    let received = within(DEADLINE, receiving).await.expect("no assertion failed");
    assert_eq!(received, (1..=sent).map(|n| n.to_string()).collect::<VecDeque<_>>());
    assert!(sent > 20, "{sent}");
    let _ = bob.next().await;
}
