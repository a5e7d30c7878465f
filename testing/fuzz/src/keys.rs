//! One key of each kind that tokens are checked with. They are for fuzzing only: everybody knows them.

use std::{
    fs,
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::{
    hmac,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use serde_json::json;
use signalbox_server::{
    auth::{Authenticator, KeySources, Rules},
    limits::ThrottlePolicy,
};

/// The time in all targets, in seconds since 1970, so that tokens stay as good as they were.
pub const NOW: u64 = 1_800_000_000;
/// What a token's `aud` and `iss` must be.
pub const AUDIENCE: &str = "signalbox";
/// See [`AUDIENCE`].
pub const ISSUER: &str = "fuzz";
/// Longest time from `nbf` to `exp`, in seconds.
pub const MAX_TTL: u64 = 3600;

/// The secret of HS256.
const SECRET: &[u8; 32] = b"everybody knows this secret: 32b";
/// The private key of P-256 is 1, so that its public key is the base point of the curve (SEC 2, section 2.4.2).
pub const P256_PRIVATE: [u8; 32] = {
    let mut one = [0; 32];
    one[31] = 1;
    one
};
const P256_X: &str = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
const P256_Y: &str = "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

/// The key pair of EdDSA.
pub fn ed25519() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed is one")
}

/// The public key of ES256, an uncompressed point.
pub fn p256() -> Vec<u8> {
    let part = |hex: &str| HEXLOWER.decode(hex.as_bytes()).expect("hex");
    [vec![4], part(P256_X), part(P256_Y)].concat()
}

/// Signs with HS256.
pub fn hs256(message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message).as_ref().to_vec()
}

/// Whether any of the keys made that signature.
pub fn is_signed(message: &[u8], signature: &[u8]) -> bool {
    static ED25519_KEY: LazyLock<Vec<u8>> = LazyLock::new(|| ed25519().public_key().as_ref().to_vec());
    hs256(message) == signature
        || UnparsedPublicKey::new(&ED25519, &*ED25519_KEY).verify(message, signature).is_ok()
        || UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, p256()).verify(message, signature).is_ok()
}

/// Checks tokens with all three; their ids are `oct`, `okp` and `ec`.
pub fn authenticator() -> Authenticator {
    let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let (ed25519, p256) = (ed25519(), p256());
    let jwks = json!({"keys": [
        {"kty": "oct", "kid": "oct", "k": encode(SECRET)},
        {"kty": "OKP", "crv": "Ed25519", "kid": "okp", "x": encode(ed25519.public_key().as_ref())},
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": encode(&p256[1..33]), "y": encode(&p256[33..])},
    ]});
    // Keys are read from files; once read, this one is not needed.
    let path = std::env::temp_dir().join(format!("signalbox-fuzz-{}.json", std::process::id()));
    fs::write(&path, jwks.to_string()).expect("a temporary file");
    let sources = KeySources { jwks: Some(path.clone()), ..KeySources::default() };
    let rules = Rules {
        issuer: Some(ISSUER.to_owned()),
        audience: AUDIENCE.to_owned(),
        max_ttl: Duration::from_secs(MAX_TTL),
        grace: Duration::ZERO,
    };
    let patience = ThrottlePolicy { failures: 10, window: Duration::from_secs(60) };
    let authority = Authenticator::with_tokens(sources, rules, patience).expect("keys that can be used");
    // A file that is left over harms nobody.
    let _ = fs::remove_file(path);
    authority
}

/// [`NOW`], as a time.
pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}
