//! JSON Web Tokens: no bytes make the check panic, nothing is granted without a signature, and what is granted is what
//! the claims say.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use signalbox_fuzz::keys::{self, AUDIENCE, ISSUER, MAX_TTL, NOW};
use signalbox_server::auth::{Authenticator, Grant, RoomPattern};

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 10;

fuzz_target!(|data: &[u8]| {
    static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(keys::authenticator);
    let Some((how, rest)) = data.split_first() else { return };
    let token = match how % 3 {
        // Whatever it is.
        0 => String::from_utf8_lossy(rest).into_owned(),
        // Claims, and a header, that are signed, so that they are looked at.
        1 => signed(br#"{"alg":"HS256","kid":"oct"}"#, rest),
        _ => {
            let (header, claims) = rest.split_at(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
            signed(header, claims.get(1..).unwrap_or_default())
        }
    };
    let Ok(granted) = AUTHENTICATOR.check(&token, keys::now()) else { return };
    check(&token, &granted.expect("tokens are asked for"));
});

fn signed(header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(&keys::hs256(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn check(token: &str, grant: &Grant) {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let (header, payload) = signed.split_once('.').expect("three parts");
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).expect("base64url");
    assert!(keys::is_signed(signed.as_bytes(), &decode(signature)), "nobody signed {token}");
    let header: Value = serde_json::from_slice(&decode(header)).expect("JSON");
    assert!(["HS256", "EdDSA", "Ed25519", "ES256"].iter().any(|alg| header["alg"] == *alg) && header["crit"].is_null());

    let claims: Value = serde_json::from_slice(&decode(payload)).expect("JSON");
    let is_audience = |claim: &Value| claim == AUDIENCE;
    assert!(is_audience(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(is_audience)));
    assert_eq!(claims["iss"], ISSUER);
    assert!(claims["sub"] == grant.subject.as_str() && (1..=256).contains(&grant.subject.len()));
    assert_eq!(claims["name"].as_str().filter(|name| !name.is_empty()), grant.display_name.as_deref());
    let (begins, ends) = (claims["nbf"].as_u64().expect("a time"), claims["exp"].as_u64().expect("a time"));
    assert!(begins < ends && ends - begins <= MAX_TTL && begins <= NOW + LEEWAY && ends + LEEWAY > NOW);
    assert_eq!(
        (grant.not_before, grant.expires_at),
        (begins, keys::now() + Duration::from_secs(ends) - Duration::from_secs(NOW))
    );
    for (claim, flag, default) in [
        ("can_join", grant.can_join, true),
        ("can_send_data", grant.can_send_data, true),
        ("can_admin", grant.can_admin, false),
    ] {
        assert_eq!(claims.get(claim).map_or(default, |claim| *claim == true), flag, "{claim}");
    }
    let room = claims["room"].as_str().expect("a room");
    match &grant.rooms {
        RoomPattern::Exact(name) => assert_eq!(name.as_str(), room),
        RoomPattern::Prefix(prefix) => assert_eq!(format!("{prefix}*"), room),
    }
    assert!(grant.rooms.matches(room.trim_end_matches('*')) || room == "*");
}
