//! JSON Web Signatures in compact serialization (RFC 7515), as used by JWTs.
//!
//! This file is a security boundary: its input comes from unauthenticated callers, and an accepted token grants access.
//! The server verifies tokens with its own code, because the `jsonwebtoken` crate, when it was evaluated,
//!
//! - accepted critical extensions (`crit`) that it did not understand, against RFC 7515, section 4.1.11,
//! - accepted duplicate names in claims, so that two verifiers could read one token differently,
//! - panicked on an Ed25519 key that was too short,
//! - added about 40 crates, among them an RSA implementation with an unfixed advisory.
//!
//! The cryptography comes from `ring`, which TLS needs anyway. The server's key determines the algorithm, and the
//! verifier ignores keys in the token header (`jwk`, `jku`, `x5u`).

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use signalbox_core::TokenId;

use super::keys::{Key, Keyring};
use crate::error::Error;

/// Longest accepted token, in bytes. The limit for request headers is higher, so the caller of a longer token receives
/// `TOKEN_INVALID` and not a transport error.
pub const MAX_TOKEN: usize = 4096;
/// Longest key id, in bytes.
pub(super) const MAX_KID: usize = 128;

const TOO_LONG: &str = "longer than 4096 bytes";
const KID_INVALID: &str = "kid must be a string of at most 128 bytes";

/// Returns the id of a token, valid or not: a hash of its header and payload. The hash excludes the signature, because
/// an ES256 signature has two valid forms.
pub fn token_id(token: &str) -> TokenId {
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    let hash = digest(&SHA256, signed.as_bytes());
    TokenId(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Verifies the format and signature of a token and returns its claims.
pub(super) fn verify(token: &str, keys: &Keyring) -> Result<Map<String, Value>, Error> {
    if token.len() > MAX_TOKEN {
        return Err(Error::TokenInvalid(TOO_LONG));
    }
    let parts: Vec<_> = token.splitn(4, '.').collect();
    let [header, payload, signature] = parts[..] else {
        return Err(Error::TokenInvalid("use three parts, separated by dots"));
    };
    let key = find_key(&object(&decode(header)?)?, keys)?;
    let signed = &token[..header.len() + 1 + payload.len()];
    if !key.verifies(signed.as_bytes(), &decode(signature)?) {
        return Err(Error::TokenInvalid("the signature does not match the key"));
    }
    object(&decode(payload)?)
}

/// Encodes a token in compact serialization and signs it with `sign`.
pub(crate) fn sign(
    claims: &Map<String, Value>,
    algorithm: &str,
    kid: Option<&str>,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let mut header = Map::new();
    header.insert("alg".to_owned(), algorithm.into());
    header.insert("typ".to_owned(), "JWT".into());
    if let Some(kid) = kid {
        header.insert("kid".to_owned(), kid.into());
    }
    let encode = |part: Map<String, Value>| BASE64URL_NOPAD.encode(Value::Object(part).to_string().as_bytes());
    let signed = format!("{}.{}", encode(header), encode(claims.clone()));
    let signature = BASE64URL_NOPAD.encode(&sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Returns the key that a token header selects. The key, not the header, determines the algorithm (RFC 8725, section
/// 3.1).
fn find_key<'a>(header: &Map<String, Value>, keys: &'a Keyring) -> Result<&'a Key, Error> {
    if header.contains_key("crit") {
        return Err(Error::TokenInvalid("critical extensions are not supported: issue it without crit"));
    }
    if header.contains_key("cty") || header.contains_key("enc") || header.contains_key("zip") {
        return Err(Error::TokenInvalid(
            "nested, encrypted and compressed tokens are not supported: issue it without cty, enc and zip",
        ));
    }
    // Explicit typing (RFC 8725, section 3.11): other kinds of tokens have other types and must not pass as a JWT.
    let is_jwt = |typ: &str| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
    if header.get("typ").is_some_and(|typ| !typ.as_str().is_some_and(is_jwt)) {
        return Err(Error::TokenInvalid("typ must be JWT or at+jwt"));
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid.as_str()),
        Some(_) => return Err(Error::TokenInvalid(KID_INVALID)),
    };
    let key = keys.find(kid)?;
    match header.get("alg") {
        Some(Value::String(alg)) if key.algorithms().contains(&alg.as_str()) => Ok(key),
        _ => Err(Error::TokenInvalid("alg does not match the key")),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Error> {
    BASE64URL_NOPAD
        .decode(part.as_bytes())
        .map_err(|_| Error::TokenInvalid("each part must be base64url without padding"))
}

/// Parses a JSON object and rejects duplicate names, which two verifiers could resolve differently.
fn object(json: &[u8]) -> Result<Map<String, Value>, Error> {
    struct Unique(Map<String, Value>);

    impl<'de> serde::Deserialize<'de> for Unique {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(UniqueVisitor)
        }
    }

    struct UniqueVisitor;

    impl<'de> serde::de::Visitor<'de> for UniqueVisitor {
        type Value = Unique;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<Unique, A::Error> {
            let mut map = Map::new();
            while let Some((name, value)) = access.next_entry::<String, Value>()? {
                if map.insert(name, value).is_some() {
                    return Err(serde::de::Error::custom("duplicate name"));
                }
            }
            Ok(Unique(map))
        }
    }

    let Unique(map) = serde_json::from_slice(json)
        .map_err(|_| Error::TokenInvalid("header and claims must be JSON objects without duplicate names"))?;
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_match_the_limits() {
        assert!(TOO_LONG.contains(&format!(" {MAX_TOKEN} bytes")));
        assert!(KID_INVALID.contains(&format!(" {MAX_KID} bytes")));
    }
}
