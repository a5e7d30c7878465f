//! Forged and malformed tokens: none is accepted.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use serde_json::{Value, json};
use signalbox_proto::{reason, v1::subscribe_request::Open};
use tonic::Code;

use crate::common::{
    TestServer, assert_error,
    internals::{Authenticator, Error, KeySources, MAX_TOKEN, RoomError, authenticator},
    jwt::{Key, claims, claims_with, encode, now, write},
    messages,
    native::Member,
    raw::Version,
    web::WebClient,
};

pub(crate) const ISSUER: &str = "https://issuer.example";

/// The keys of the server, by kid: `ed`, `ec` and `hs`.
pub(crate) struct Keys {
    pub(crate) ed: Key,
    pub(crate) ec: Key,
    pub(crate) hs: Key,
}

pub(crate) static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    ed: Key::ed25519(1),
    ec: Key::p256(),
    hs: Key::secret("a secret of thirty-two bytes, or of more"),
});

impl Keys {
    /// All three as a JWK Set.
    pub(crate) fn jwks(&self) -> String {
        json!({"keys": [self.ed.jwk("ed"), self.ec.jwk("ec"), self.hs.jwk("hs")]}).to_string()
    }
}

fn with_all_keys() -> Authenticator {
    let folder = tempfile::tempdir().expect("a folder");
    let sources = KeySources { jwks: Some(write(folder.path(), "jwks.json", &KEYS.jwks())), ..KeySources::default() };
    authenticator(sources, Some(ISSUER)).expect("usable keys")
}

/// Valid claims for this server.
pub(crate) fn good() -> Value {
    with(&json!({}))
}

fn with(others: &Value) -> Value {
    let mut all = json!({"iss": ISSUER});
    all.as_object_mut().expect("an object").extend(others.as_object().expect("an object").clone());
    claims_with("demo", "ann", &all)
}

/// Without the signature.
fn signed_part(token: &str) -> &str {
    token.rsplit_once('.').expect("three parts").0
}

fn signature_of(token: &str) -> Vec<u8> {
    let (_, signature) = token.rsplit_once('.').expect("three parts");
    data_encoding::BASE64URL_NOPAD.decode(signature.as_bytes()).expect("base64url")
}

fn resigned(token: &str, signature: &[u8]) -> String {
    format!("{}.{}", signed_part(token), encode(signature))
}

/// An ECDSA signature as X.509 writes it (RFC 3279) instead of JWS.
fn der(fixed: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(31);
        let pad = if number[start] & 0x80 == 0 { &[][..] } else { &[0] };
        let content = [pad, &number[start..]].concat();
        [&[2, u8::try_from(content.len()).expect("short")], &content[..]].concat()
    };
    let content = [integer(&fixed[..32]), integer(&fixed[32..])].concat();
    [&[0x30, u8::try_from(content.len()).expect("short")], &content[..]].concat()
}

/// An Ed25519 signature with the group's order added to its second half, which is valid unless its range is checked.
fn plus_order(signature: &[u8]) -> Vec<u8> {
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = data_encoding::HEXLOWER.decode(ORDER.as_bytes()).expect("hex");
    let mut out = signature.to_vec();
    let mut carry = 0u16;
    for (byte, add) in out[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    out
}

/// The order of P-256's group.
fn p256_order() -> Vec<u8> {
    let order = b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    data_encoding::HEXLOWER.decode(order).expect("hex")
}

/// Tokens, each with what is wrong with it.
pub(crate) fn vectors() -> Vec<(String, String)> {
    let Keys { ed, ec, hs } = &*KEYS;
    let thief = Key::ed25519(66);
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));
    let text = |value: &Value| value.to_string();
    let (ed_token, ec_token, hs_token) =
        (ed.mint_as("ed", &good()), ec.mint_as("ec", &good()), hs.mint_as("hs", &good()));

    // === algorithms ===
    for alg in ["none", "None", "NONE", "nOnE", "", "null"] {
        let signed = format!("{}.{}", encode(text(&json!({"alg": alg, "kid": "ed"}))), encode(text(&good())));
        add(&format!("alg {alg:?}, no signature"), format!("{signed}."));
        add(&format!("alg {alg:?}, a signature"), format!("{signed}.{}", encode(ed.sign(signed.as_bytes()))));
    }
    for alg in [json!(null), json!(["EdDSA"]), json!({"EdDSA": 1}), json!(5), json!(true)] {
        add(&format!("alg {alg}"), ed.token(&text(&json!({"alg": alg, "kid": "ed"})), &text(&good())));
    }
    add("no alg", ed.token(r#"{"kid":"ed"}"#, &text(&good())));
    for alg in ["eddsa", "EDDSA", "Ed448", "ES256", "RS256", "PS256", "HS256"] {
        add(&format!("{alg} for the Ed25519 key"), ed.token(&text(&json!({"alg": alg, "kid": "ed"})), &text(&good())));
    }
    for alg in ["HS384", "HS512", "hs256", "EdDSA"] {
        add(&format!("{alg} for the secret"), hs.token(&text(&json!({"alg": alg, "kid": "hs"})), &text(&good())));
    }
    add("ES384 for the P-256 key", ec.token(r#"{"alg":"ES384","kid":"ec"}"#, &text(&good())));
    // The public key as the secret of an HMAC, in each of its forms.
    for (form, secret) in [
        ("bytes", ed.public().to_vec()),
        ("PEM", ed.pem().into_bytes()),
        ("PEM, trimmed", ed.pem().trim_end().as_bytes().to_vec()),
        ("JWK", text(&ed.jwk("ed")).into_bytes()),
    ] {
        let confused = Key::Secret(secret);
        add(
            &format!("HS256 with the public key ({form})"),
            confused.token(r#"{"alg":"HS256","kid":"ed"}"#, &text(&good())),
        );
        add(
            &format!("EdDSA, HMAC with the public key ({form})"),
            confused.token(r#"{"alg":"EdDSA","kid":"ed"}"#, &text(&good())),
        );
    }
    add("HS256 with no secret", Key::Secret(Vec::new()).mint_as("hs", &good()));

    // === keys ===
    add("another key", thief.mint_as("ed", &good()));
    add("kid of another key", ed.mint_as("ec", &good()));
    add("no kid, of three keys", ed.mint(&good()));
    let long = "k".repeat(129);
    for kid in [
        "",
        "eD",
        "ed ",
        "ed\0",
        "unknown",
        "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "ed' --",
        "$ne",
        "%65d",
        &long,
    ] {
        add(&format!("kid {kid:.20?}"), ed.mint_as(kid, &good()));
    }
    for kid in [json!(null), json!(0), json!(["ed"]), json!({"$ne": ""})] {
        add(&format!("kid {kid}"), ed.token(&text(&json!({"alg": "EdDSA", "kid": kid})), &text(&good())));
    }
    for (name, header) in [
        ("jwk", json!({"alg": "EdDSA", "kid": "ed", "jwk": thief.jwk("ed")})),
        ("jwk without kid", json!({"alg": "EdDSA", "jwk": thief.jwk("ed")})),
        ("jku", json!({"alg": "EdDSA", "kid": "ed", "jku": "http://127.0.0.1:9/jwks.json"})),
        ("x5u", json!({"alg": "EdDSA", "kid": "ed", "x5u": "http://127.0.0.1:9/cert.pem"})),
        ("x5c", json!({"alg": "EdDSA", "kid": "ed", "x5c": [thief.pem()]})),
    ] {
        add(&format!("the thief's key in {name}"), thief.token(&text(&header), &text(&good())));
    }

    // === headers ===
    for (name, header) in [
        ("crit", r#"{"alg":"EdDSA","kid":"ed","crit":["exp"],"exp":9}"#),
        ("empty crit", r#"{"alg":"EdDSA","kid":"ed","crit":[]}"#),
        ("b64", r#"{"alg":"EdDSA","kid":"ed","crit":["b64"],"b64":false}"#),
        ("cty", r#"{"alg":"EdDSA","kid":"ed","cty":"JWT"}"#),
        ("enc", r#"{"alg":"EdDSA","kid":"ed","enc":"A128GCM"}"#),
        ("zip", r#"{"alg":"EdDSA","kid":"ed","zip":"DEF"}"#),
        ("typ of another kind", r#"{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}"#),
        ("typ that is no text", r#"{"alg":"EdDSA","kid":"ed","typ":1}"#),
        ("alg twice", r#"{"alg":"none","alg":"EdDSA","kid":"ed"}"#),
        ("kid twice", r#"{"alg":"EdDSA","kid":"hs","kid":"ed"}"#),
        ("alg twice, once in disguise", r#"{"\u0061lg":"HS256","alg":"EdDSA","kid":"ed"}"#),
        ("array", r#"["EdDSA","ed"]"#),
        ("text", r#""EdDSA""#),
        ("nothing", ""),
        ("no JSON", "{alg:EdDSA}"),
        ("more than JSON", r#"{"alg":"EdDSA","kid":"ed"}{}"#),
        ("comment", r#"{"alg":"EdDSA",/**/"kid":"ed"}"#),
    ] {
        add(&format!("header: {name}"), ed.token(header, &text(&good())));
    }
    add("header of a thousand brackets", ed.token(&"[".repeat(1000), &text(&good())));

    // === signatures ===
    add("no signature", format!("{}.", signed_part(&ed_token)));
    add("no signature, ES256", format!("{}.", signed_part(&ec_token)));
    add("no signature, HS256", format!("{}.", signed_part(&hs_token)));
    for (name, token) in [("EdDSA", &ed_token), ("ES256", &ec_token), ("HS256", &hs_token)] {
        let signature = signature_of(token);
        let mut flipped = signature.clone();
        flipped[10] ^= 1;
        add(&format!("{name}, one bit flipped"), resigned(token, &flipped));
        add(&format!("{name}, one byte short"), resigned(token, &signature[1..]));
        add(&format!("{name}, cut to one byte"), resigned(token, &signature[..1]));
        add(&format!("{name}, one byte more"), resigned(token, &[&signature[..], &[0]].concat()));
        add(&format!("{name}, all zero"), resigned(token, &vec![0; signature.len()]));
        let other = claims_with("demo", "mallory", &json!({"iss": ISSUER}));
        let (header, _) = token.split_once('.').expect("three parts");
        add(&format!("{name}, of other claims"), format!("{header}.{}.{}", encode(text(&other)), encode(&signature)));
    }
    let (ec_signature, ed_signature) = (signature_of(&ec_token), signature_of(&ed_token));
    add("ES256 in DER", resigned(&ec_token, &der(&ec_signature)));
    add("ES256, r zero", resigned(&ec_token, &[&[0; 32], &ec_signature[32..]].concat()));
    add("ES256, s zero", resigned(&ec_token, &[&ec_signature[..32], &[0; 32]].concat()));
    add("ES256, r and s the order", resigned(&ec_token, &[p256_order(), p256_order()].concat()));
    add("EdDSA, s out of range", resigned(&ed_token, &plus_order(&ed_signature)));
    let identity = [&[1][..], &[0; 63]].concat();
    add("EdDSA, R of small order, s zero", resigned(&ed_token, &identity));
    add("EdDSA, R out of range", resigned(&ed_token, &[&[0xff; 32], &ed_signature[32..]].concat()));

    // === form ===
    for token in ["", ".", "..", "...", "a", "a.b", "a.b.c", "Bearer", "e30.e30.e30", "é.é.é"] {
        add(&format!("{token:?}"), token.to_owned());
    }
    add("four parts", format!("{ed_token}.e30"));
    add("five parts, as encrypted ones have", format!("{ed_token}.e30.e30"));
    add("garbage behind", format!("{ed_token}x"));
    add("a dot behind", format!("{ed_token}."));
    add("two tokens", format!("{ed_token},{ed_token}"));
    add("a blank within", ed_token.replacen('.', ". ", 1));
    add("padded", format!("{ec_token}=="));
    add("percent in place of a dot", ed_token.replacen('.', "%2E", 1));
    add("JSON form", text(&json!({"payload": encode(text(&good())), "signatures": []})));
    let ordinary = format!("{}+/.{}", encode(r#"{"alg":"EdDSA","kid":"ed"}"#), encode(text(&good())));
    add("base64 of another alphabet", format!("{ordinary}.{}", encode(ed.sign(ordinary.as_bytes()))));
    // Four bits of the last character of 64 bytes are unused, and must be zero.
    let mut last = ed_token.clone();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.find(last.pop().expect("not empty")).expect("base64url");
    last.push(alphabet.as_bytes()[index + 1] as char);
    add("signature in a second spelling", last);
    add("nested", ed.token(r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#, &ed_token));
    let filler = |bytes: usize| ed.mint_as("ed", &with(&json!({"filler": "x".repeat(bytes)})));
    add("a byte too long", {
        let base = filler(0).len();
        let token = filler((MAX_TOKEN - base) * 3 / 4 + 3);
        assert!(token.len() > MAX_TOKEN && token.len() < MAX_TOKEN + 8, "{}", token.len());
        token
    });
    add("1 MiB", filler(1024 * 1024 * 3 / 4));

    // === claims ===
    for (name, payload) in [("array", "[]"), ("text", r#""sub""#), ("null", "null"), ("nothing", ""), ("empty", "{}")] {
        add(&format!("claims: {name}"), ed.token(r#"{"alg":"EdDSA","kid":"ed"}"#, payload));
    }
    let valid = text(&good());
    let twice = |claim: &str| format!("{{{claim},{}", &valid[1..]);
    for claim in
        [r#""exp":9"#, r#""aud":"x""#, r#""sub":"root""#, r#""\u0073ub":"root""#, r#""room":"*""#, r#""a":1,"a":2"#]
    {
        add(&format!("twice: {claim}"), ed.token(r#"{"alg":"EdDSA","kid":"ed"}"#, &twice(claim)));
    }
    add("claims behind claims", ed.token(r#"{"alg":"EdDSA","kid":"ed"}"#, &format!("{valid}{valid}")));
    add("a byte order mark before claims", ed.token(r#"{"alg":"EdDSA","kid":"ed"}"#, &format!("\u{feff}{valid}")));
    let bytes = format!("{}.{}", encode(r#"{"alg":"EdDSA","kid":"ed"}"#), encode(b"{\"sub\":\"\xff\"}"));
    add("claims that are not UTF-8", format!("{bytes}.{}", encode(ed.sign(bytes.as_bytes()))));
    let huge = text(&good()).replace("\"exp\":", "\"exp\":1e400,\"was\":");
    add("exp 1e400", ed.token(r#"{"alg":"EdDSA","kid":"ed"}"#, &huge));
    let now = now();
    for claim in [
        json!({"exp": null}),
        json!({"exp": (now + 300).to_string()}),
        json!({"exp": 1.5 + now as f64}),
        json!({"exp": -1}),
        json!({"exp": -1.0e9}),
        json!({"exp": u64::MAX}),
        json!({"exp": 1.0e300}),
        json!({"exp": true}),
        json!({"exp": [now + 300]}),
        json!({"exp": {"$gt": 0}}),
        json!({"exp": now, "nbf": now}),
        json!({"exp": now + 3601}),
        json!({"nbf": null}),
        json!({"nbf": now.to_string()}),
        json!({"nbf": now + 60}),
        json!({"nbf": -5}),
        json!({"nbf": 0}),
        json!({"nbf": u64::MAX, "exp": u64::MAX}),
        json!({"aud": null}),
        json!({"aud": ""}),
        json!({"aud": "signalbox2"}),
        json!({"aud": "Signalbox"}),
        json!({"aud": []}),
        json!({"aud": ["other"]}),
        json!({"aud": ["signalbox", 5]}),
        json!({"aud": [["signalbox"]]}),
        json!({"aud": {"0": "signalbox"}}),
        json!({"aud": true}),
        json!({"iss": null}),
        json!({"iss": "https://issuer.example/"}),
        json!({"iss": ["https://issuer.example"]}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": ["ann"]}),
        json!({"sub": "s".repeat(257)}),
        json!({"name": 7}),
        json!({"name": "n".repeat(257)}),
        json!({"room": null}),
        json!({"room": ""}),
        json!({"room": ["demo"]}),
        json!({"room": "de mo"}),
        json!({"room": "d*o"}),
        json!({"room": "**"}),
        json!({"room": "demo\0"}),
        json!({"room": {"$ne": ""}}),
        json!({"can_join": "true"}),
        json!({"can_send_data": 1}),
        json!({"can_admin": 1}),
        json!({"can_admin": "yes"}),
    ] {
        add(&format!("claim {claim:.40}"), ed.mint_as("ed", &with(&claim)));
    }
    all
}

#[test]
fn no_hostile_token_is_accepted() {
    let authenticator = with_all_keys();
    let vectors = vectors();
    assert!(vectors.len() > 150, "{}", vectors.len());
    for (name, token) in &vectors {
        let checked = authenticator.check(token, SystemTime::now());
        assert!(matches!(checked, Err(Error::TokenInvalid(_))), "{name}: {checked:?}");
    }
}

#[test]
fn valid_tokens_are_accepted() {
    let authenticator = with_all_keys();
    let Keys { ed, ec, hs } = &*KEYS;
    let check = |token: &str| authenticator.check(token, SystemTime::now());
    for (key, kid) in [(ed, "ed"), (ec, "ec"), (hs, "hs")] {
        let grant = check(&key.mint_as(kid, &good())).expect("it is valid").expect("tokens are required");
        assert_eq!((grant.subject.as_str(), grant.display_name), ("ann", None));
        assert!(grant.rooms.matches("demo") && !grant.rooms.matches("demo2"));
        assert!(grant.can_join && grant.can_send_data && !grant.can_admin);
    }
    let now = now();
    for claim in [
        json!({"aud": ["other", "signalbox"]}),
        json!({"name": "Ann", "jti": "7", "whatever": {"a": [1, 2]}}),
        json!({"exp": now - 5, "nbf": now - 60}),
        json!({"nbf": now + 5, "exp": now + 60}),
        json!({"nbf": now, "exp": now + 3600}),
        json!({"sub": "s".repeat(256), "name": "n".repeat(256), "room": "r".repeat(64)}),
        json!({"name": ""}),
        json!({"room": "*", "can_join": false, "can_send_data": false, "can_admin": true}),
    ] {
        assert!(check(&ed.mint_as("ed", &with(&claim))).is_ok(), "{claim}");
    }
    for header in [
        r#"{"alg":"Ed25519","kid":"ed"}"#,
        r#"{"alg":"EdDSA","kid":"ed","typ":"jwt"}"#,
        r#"{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","kid":"ed","x5t":"abc","jku":"http://127.0.0.1:9/"}"#,
    ] {
        assert!(check(&ed.token(header, &good().to_string())).is_ok(), "{header}");
    }
    // Of the maximal length.
    let base = ed.mint_as("ed", &with(&json!({"f": ""}))).len();
    let longest = ed.mint_as("ed", &with(&json!({"f": "x".repeat((MAX_TOKEN - base) * 3 / 4)})));
    assert!(longest.len() <= MAX_TOKEN && longest.len() > MAX_TOKEN - 4, "{}", longest.len());
    assert!(check(&longest).is_ok());
}

#[test]
fn a_token_expires_after_ten_seconds_of_leeway() {
    let authenticator = with_all_keys();
    let token = KEYS.ed.mint_as("ed", &good());
    let at = |seconds: u64| authenticator.check(&token, SystemTime::now() + Duration::from_secs(seconds)).map(drop);
    assert_eq!(at(308), Ok(()));
    assert_eq!(at(311), Err(RoomError::TokenExpired.into()));
    let early = authenticator.check(&token, SystemTime::now() - Duration::from_secs(12));
    assert!(matches!(early, Err(Error::TokenInvalid(_))));
}

#[test]
fn with_a_single_key_a_token_needs_no_kid() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "ed.pem", &KEYS.ed.pem());
    let file = path.display().to_string().parse().expect("a path");
    let sources = KeySources { files: vec![file], ..KeySources::default() };
    let authenticator = authenticator(sources, None).expect("a usable key");
    let check = |token: &str| authenticator.check(token, SystemTime::now()).is_ok();
    assert!(check(&KEYS.ed.mint(&claims("demo", "ann"))));
    assert!(!check(&KEYS.ed.mint_as("ed", &claims("demo", "ann"))));
    assert!(!check(&Key::ed25519(2).mint(&claims("demo", "ann"))));
}

#[tokio::test]
async fn hostile_tokens_do_not_join_and_the_server_continues() {
    let folder = tempfile::tempdir().expect("a folder");
    let jwks = write(folder.path(), "jwks.json", &KEYS.jwks()).display().to_string();
    let server =
        TestServer::start(&["--auth", "jwt", "--jwks", &jwks, "--jwt-issuer", ISSUER, "--jwt-max-ttl", "1h"]).await;
    let mut sent = 0;
    for (name, token) in vectors() {
        // Tokens that no header can hold, or that are longer than headers may be, are refused earlier.
        if token.len() > 2 * MAX_TOKEN || HeaderValue::from_str(&token).is_err() {
            continue;
        }
        let web = WebClient { version: Version::Http2, ..WebClient::new(server.addr) }.with_token(&token);
        let refused = web.subscribe(Open::Join(messages::join("demo"))).await.err().unwrap_or_else(|| panic!("{name}"));
        assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
        assert!(token.len() < 20 || !refused.message().contains(&token), "{name}: {refused:?}");
        sent += 1;
    }
    assert!(sent > 150, "{sent}");
    let huge = WebClient::new(server.addr).with_token(&"x".repeat(7 * 1024));
    let refused = huge.subscribe(Open::Join(messages::join("demo"))).await.err().expect("refused");
    assert_error(&refused, Code::Unauthenticated, reason::TOKEN_INVALID);
    let good = KEYS.ec.mint_as("ec", &good());
    Member::try_join_with_token(server.addr, Some(&good), messages::join("demo")).await.expect("a valid token joins");
    server.stop().await;
}
