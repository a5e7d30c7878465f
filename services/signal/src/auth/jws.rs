//! JSON Web Signatures in compact form (RFC 7515), as JWTs have them: taken apart strictly, and believed only when a
//! key says so. What a token says about keys (`jwk`, `jku`, `x5u`, ...) is never used.

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};
use signalbox_core::TokenId;

use super::keys::{Key, Keyring};
use crate::error::Error;

/// Longest token that is looked at, in bytes. Below the limit for a request's headers, so that it is this one that a
/// caller hears of.
pub const MAX_TOKEN: usize = 4096;
/// Longest key id, in bytes.
pub(super) const MAX_KID: usize = 128;

/// The id of a token, valid or not: a hash of its signed part. The signature is left out, since one for ES256 has two
/// forms.
pub fn token_id(token: &str) -> TokenId {
    let signed = token.rsplit_once('.').map_or(token, |(signed, _)| signed);
    let hash = digest(&SHA256, signed.as_bytes());
    TokenId(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Checks a token's form and signature and gives its claims.
pub(super) fn verify(token: &str, keys: &Keyring) -> Result<Map<String, Value>, Error> {
    if token.len() > MAX_TOKEN {
        return Err(Error::TokenInvalid("it is longer than 4096 bytes"));
    }
    let parts: Vec<_> = token.splitn(4, '.').collect();
    let [header, payload, signature] = parts[..] else {
        return Err(Error::TokenInvalid("a JWT has three parts with dots between"));
    };
    let key = find_key(&object(&decode(header)?)?, keys)?;
    let signed = &token[..header.len() + 1 + payload.len()];
    if !key.verifies(signed.as_bytes(), &decode(signature)?) {
        return Err(Error::TokenInvalid("its signature does not fit its key"));
    }
    object(&decode(payload)?)
}

/// Makes a token of claims.
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

/// The key that a header means. The key, not the header, says which algorithm is used.
fn find_key<'a>(header: &Map<String, Value>, keys: &'a Keyring) -> Result<&'a Key, Error> {
    if header.contains_key("crit") {
        return Err(Error::TokenInvalid("its header has critical extensions, and none are known here"));
    }
    if header.contains_key("cty") || header.contains_key("enc") || header.contains_key("zip") {
        return Err(Error::TokenInvalid("it must hold claims, not another token, and be neither encrypted nor packed"));
    }
    // Tokens of other kinds have types of their own (RFC 8725, section 3.11).
    let is_jwt = |typ: &str| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
    if header.get("typ").is_some_and(|typ| !typ.as_str().is_some_and(is_jwt)) {
        return Err(Error::TokenInvalid("its typ must be JWT"));
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid.as_str()),
        Some(_) => return Err(Error::TokenInvalid("its kid must be a text of at most 128 bytes")),
    };
    let key = keys.find(kid)?;
    match header.get("alg") {
        Some(Value::String(alg)) if key.algorithms().contains(&alg.as_str()) => Ok(key),
        _ => Err(Error::TokenInvalid("its alg is not that of its key")),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Error> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Error::TokenInvalid("its parts must be base64url, unpadded"))
}

/// Reads a JSON object in which no name stands twice: two readers of such a token could disagree on what it says.
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
                    return Err(serde::de::Error::custom("a name stands twice"));
                }
            }
            Ok(Unique(map))
        }
    }

    let Unique(map) = serde_json::from_slice(json)
        .map_err(|_| Error::TokenInvalid("its parts must be JSON objects in which no name stands twice"))?;
    Ok(map)
}
