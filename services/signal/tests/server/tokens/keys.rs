//! Where keys come from, and how they change while the server runs.

use std::{collections::VecDeque, path::Path, time::Duration};

use serde_json::{Value, json};
use signalbox_proto::{reason, v1::server_message::Body};
use signalbox_server::{
    auth::{Authenticator, KeySources, Rules},
    limits::ThrottlePolicy,
    secret::Secret,
};
use tokio::time::{interval, timeout};
use tonic::{Code, Status};

use super::TestServer;
use crate::common::{
    DEADLINE, assert_error,
    jwt::{Key, claims, write},
    native::Member,
    say,
    web::Web,
    within,
};

fn load(sources: KeySources) -> Result<(), String> {
    let rules = Rules {
        issuer: None,
        audience: "signalbox".to_owned(),
        max_ttl: Duration::from_secs(3600),
        grace: Duration::ZERO,
    };
    let patience = ThrottlePolicy { failures: 10, window: Duration::from_secs(1800) };
    Authenticator::with_tokens(sources, rules, patience).map(drop)
}

fn pem(label: &str, der: &str) -> String {
    format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n")
}

#[test]
fn what_is_no_key_is_refused_with_the_file_and_what_to_do() {
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
    for (sources, says) in [
        (KeySources::default(), "--jwt-key"),
        (file("hello"), "PEM"),
        (file(&private), "private"),
        (file(&rsa), "Ed25519"),
        (file(""), "empty"),
        (KeySources { jwks: Some("/nowhere/jwks.json".into()), ..KeySources::default() }, "/nowhere/jwks.json"),
        (KeySources { jwks: Some("/".into()), ..KeySources::default() }, "cannot read /"),
        (KeySources { secret: Some(Secret::from("short")), ..KeySources::default() }, "32 bytes"),
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
        (KeySources { secret: Some(Secret::from(&*"s".repeat(32))), ..file(&ed.pem()) }, "each needs an id"),
    ] {
        let error = load(sources).expect_err(says);
        assert!(error.contains(says), "{error} says nothing of {says}");
    }
    // What is not for checking signatures here is passed over.
    load(jwks(json!([encrypts, rsa_jwk, ed.jwk("k")]))).expect("one key can be used");
}

/// Joins until that ends as it should.
async fn until(addr: std::net::SocketAddr, token: &str, should: impl Fn(&Result<Member, Status>) -> bool) {
    let mut tick = interval(Duration::from_millis(50));
    let joins = async {
        loop {
            tick.tick().await;
            if should(&Member::try_join_as(addr, Some(token), say::join("door")).await) {
                return;
            }
        }
    };
    within(DEADLINE, joins).await;
}

fn write_jwks(folder: &Path, keys: &[(&str, &Key)]) -> String {
    let keys: Vec<_> = keys.iter().map(|(kid, key)| key.jwk(kid)).collect();
    write(folder, "jwks.json", &json!({"keys": keys}).to_string()).display().to_string()
}

#[tokio::test]
async fn keys_are_rotated_under_live_load_without_a_break() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new, newest) = (Key::ed25519(1), Key::p256(), Key::ed25519(3));
    let path = write_jwks(folder.path(), &[("old", &old)]);
    let server = TestServer::start(&["--auth", "jwt", "--jwks", &path]).await;
    let addr = server.addr;
    let by = |kid: &str, key: &Key, subject: &str| key.mint_as(kid, &claims("*", subject));
    let (ann_token, bob_token) = (by("old", &old, "ann"), by("old", &old, "bob"));

    // Two members who talk all the time, one of them by Send with the old token in every call.
    let mut ann = Member::try_join_as(addr, Some(&ann_token), say::join("demo")).await.expect("she joins");
    let mut bob = Member::try_join_as(addr, Some(&bob_token), say::join("demo")).await.expect("he joins");
    let (web, session, ann_id) = (Web::new(addr).with_token(&bob_token), bob.token.clone(), ann.id.clone());
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let talk = tokio::spawn(async move {
        let mut sent = 0;
        while stopped.try_recv().is_err() {
            sent += 1;
            let offer = say::numbered(sent, &ann_id, say::offer(&sent.to_string()));
            let response = web.send(&session, vec![offer]).await.expect("a session outlives its key");
            assert_eq!((response.ack, response.undelivered.len()), (sent, 0));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sent
    });
    let listen = tokio::spawn(async move {
        let mut heard = VecDeque::new();
        while let Ok(Ok(Some(message))) = timeout(DEADLINE, ann.try_next()).await {
            match message.body {
                Some(Body::Offer(offer)) if offer.sdp == "last" => break,
                Some(Body::Offer(offer)) => heard.push_back(offer.sdp),
                Some(Body::MemberUpdated(_) | Body::MemberLeft(_)) => panic!("somebody was thrown out: {message:?}"),
                _ => {}
            }
        }
        heard
    });

    let is_let_in = |result: &Result<Member, Status>| result.is_ok();
    let is_refused = |result: &Result<Member, Status>| {
        result
            .as_ref()
            .err()
            .inspect(|status| assert_error(status, Code::Unauthenticated, reason::TOKEN_INVALID))
            .is_some()
    };
    write_jwks(folder.path(), &[("old", &old), ("new", &new)]);
    until(addr, &by("new", &new, "carol"), is_let_in).await;
    until(addr, &by("old", &old, "carol"), is_let_in).await;
    write_jwks(folder.path(), &[("new", &new)]);
    until(addr, &by("old", &old, "carol"), is_refused).await;
    until(addr, &by("new", &new, "carol"), is_let_in).await;
    write_jwks(folder.path(), &[("newest", &newest)]);
    until(addr, &by("newest", &newest, "carol"), is_let_in).await;
    until(addr, &by("new", &new, "carol"), is_refused).await;

    stop.send(()).expect("they talk");
    let sent = within(DEADLINE, talk).await.expect("nothing went wrong");
    bob.send(say::numbered(sent + 1, "", say::offer("last"))).await;
    let heard = within(DEADLINE, listen).await.expect("nothing went wrong");
    assert_eq!(heard, (1..=sent).map(|n| n.to_string()).collect::<VecDeque<_>>());
    assert!(sent > 20, "{sent}");
    let _ = bob.next().await;
}
