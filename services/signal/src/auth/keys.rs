//! Loads the keys that verify tokens. Each key has one algorithm, regardless of the `alg` in a token header.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::{
    agreement::{self, EphemeralPrivateKey},
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey},
};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use tracing::warn;

use super::jws::MAX_KID;
use crate::{error::Error, reload::Source, secret::Secret};

/// Shortest secret for HS256, in bytes: the output length of SHA-256 (RFC 7518, section 3.2).
pub const MIN_SECRET: usize = 32;
/// Largest key file, in bytes.
const MAX_FILE: usize = 1024 * 1024;
/// DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410). The 32 bytes of the key follow.
pub(crate) const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER prefix of a P-256 SubjectPublicKeyInfo (RFC 5480). The uncompressed point follows.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A verification key for one algorithm.
pub(crate) enum Key {
    Ed25519([u8; 32]),
    /// The public key as an uncompressed point: 0x04, x, y.
    P256([u8; 65]),
    Secret(hmac::Key),
}

impl Key {
    fn ed25519(point: &[u8]) -> Result<Self, String> {
        let point: [u8; 32] = point.try_into().map_err(|_| "an Ed25519 key has 32 bytes".to_owned())?;
        // With a public key of small order, one signature is valid for many messages.
        let mut y = point;
        y[31] &= 0x7f;
        if SMALL_ORDER.contains(&HEXLOWER.encode(&y).as_str()) {
            Err("the Ed25519 key has a small order: generate a new one".to_owned())
        } else {
            Ok(Self::Ed25519(point))
        }
    }

    fn p256(point: &[u8]) -> Result<Self, String> {
        let problem = || "not a point on P-256".to_owned();
        let point = <[u8; 65]>::try_from(point).map_err(|_| problem())?;
        // `ring` checks that a point is on the curve only when it uses the key. A trial key agreement rejects a bad key
        // when it is loaded, not at the first token.
        let ours = EphemeralPrivateKey::generate(&agreement::ECDH_P256, &SystemRandom::new()).map_err(|_| problem())?;
        let theirs = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, point);
        agreement::agree_ephemeral(ours, &theirs, |_| ()).map_err(|_| problem())?;
        Ok(Self::P256(point))
    }

    fn secret(secret: &[u8]) -> Result<Self, String> {
        if secret.len() < MIN_SECRET {
            return Err(format!(
                "invalid HS256 secret: use at least {MIN_SECRET} bytes, such as of openssl rand -hex 32"
            ));
        }
        Ok(Self::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// Returns the JOSE names of the key's algorithm: RFC 7518, RFC 8037, and RFC 9864 for `Ed25519`.
    pub(super) fn algorithms(&self) -> &'static [&'static str] {
        match self {
            Self::Ed25519(_) => &["EdDSA", "Ed25519"],
            Self::P256(_) => &["ES256"],
            Self::Secret(_) => &["HS256"],
        }
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok(),
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

/// Encoded y coordinates of the Ed25519 points of small order, including the non-canonical encodings of two of them.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Verification keys by key id (`kid`).
#[derive(Default)]
pub(crate) struct Keyring(Vec<(Option<String>, Key)>);

impl Keyring {
    /// Returns the key with the given id. Without an id, returns the only key.
    pub(super) fn find(&self, kid: Option<&str>) -> Result<&Key, Error> {
        match (kid, &self.0[..]) {
            (Some(kid), keys) => {
                let key = keys.iter().find(|(known, _)| known.as_deref() == Some(kid));
                key.map(|(_, key)| key).ok_or(Error::TokenInvalid("no key of this server has its kid"))
            }
            (None, [(_, only)]) => Ok(only),
            (None, _) => Err(Error::TokenInvalid("kid is missing: it is required when the server has several keys")),
        }
    }

    fn add(&mut self, kid: Option<&str>, key: Key) -> Result<(), String> {
        if kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID) {
            return Err(format!("invalid key id: use 1-{MAX_KID} bytes"));
        }
        if let Some(kid) = kid
            && self.0.iter().any(|(known, _)| known.as_deref() == Some(kid))
        {
            return Err(format!("two keys have the id {kid}: use unique ids"));
        }
        self.0.push((kid.map(ToOwned::to_owned), key));
        Ok(())
    }
}

/// A key file and the id of its key, parsed from `[KID=]PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// The `kid` that selects this key.
    pub kid: Option<String>,
    /// Path of the public key (PEM).
    pub path: PathBuf,
}

impl FromStr for KeyFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_kid = |kid: &str| kid.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        match text.split_once('=') {
            Some((kid, path)) if is_kid(kid) && !kid.is_empty() && !path.is_empty() => {
                Ok(Self { kid: Some(kid.to_owned()), path: path.into() })
            }
            _ if text.is_empty() => Err("use PATH or KID=PATH".to_owned()),
            _ => Ok(Self { kid: None, path: text.into() }),
        }
    }
}

/// Where the server gets its verification keys.
#[derive(Debug, Clone, Default)]
pub struct KeySources {
    /// Shared secret for HS256.
    pub secret: Option<Secret>,
    /// Files with public keys (PEM).
    pub files: Vec<KeyFile>,
    /// File with a JWK Set (RFC 7517).
    pub jwks: Option<PathBuf>,
}

impl Source for KeySources {
    type Contents = Vec<Vec<u8>>;
    type Value = Keyring;
    const NAME: &'static str = "token keys";

    fn read(&self) -> Result<Vec<Vec<u8>>, String> {
        self.files.iter().map(|file| &file.path).chain(&self.jwks).map(|path| read(path)).collect()
    }

    fn parse(&self, contents: &Vec<Vec<u8>>) -> Result<Keyring, String> {
        let mut keys = Keyring::default();
        if let Some(secret) = &self.secret {
            let key = Key::secret(secret.expose().as_bytes()).map_err(|error| format!("--jwt-secret: {error}"))?;
            keys.add(None, key)?;
        }
        for (file, content) in self.files.iter().zip(contents) {
            public_key(content)
                .and_then(|key| keys.add(file.kid.as_deref(), key))
                .map_err(|error| format!("--jwt-key {}: {error}", file.path.display()))?;
        }
        if let (Some(path), Some(content)) = (&self.jwks, contents.get(self.files.len())) {
            read_jwks(content, &mut keys).map_err(|error| format!("--jwks {}: {error}", path.display()))?;
        }
        match &keys.0[..] {
            [] => Err("--auth jwt needs a key: add --jwt-secret, --jwt-key or --jwks".to_owned()),
            [_] => Ok(keys),
            several if several.iter().all(|(kid, _)| kid.is_some()) => Ok(keys),
            _ => Err("with several keys, each needs an id: use --jwt-key KID=PATH, kid in a JWK, and for a secret a \
                      JWK of type oct"
                .to_owned()),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map(|metadata| metadata.len());
    match size.and_then(|size| if size > MAX_FILE as u64 { Ok(Vec::new()) } else { fs::read(path) }) {
        Ok(content) if content.is_empty() => Err(format!("{} is empty or too large: use a key file", path.display())),
        Ok(content) => Ok(content),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn public_key(pem: &[u8]) -> Result<Key, String> {
    let (kind, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(pem)
        .map_err(|_| "no PEM key found: use a file with -----BEGIN PUBLIC KEY-----".to_owned())?;
    match kind {
        SectionKind::PublicKey => {}
        SectionKind::PrivateKey | SectionKind::EcPrivateKey | SectionKind::RsaPrivateKey => {
            return Err("this is a private key: use its public key, from openssl pkey -in KEY -pubout".to_owned());
        }
        _ => return Err("no public key found: use a file with -----BEGIN PUBLIC KEY-----".to_owned()),
    }
    if let Some(point) = der.strip_prefix(&ED25519_SPKI) {
        Key::ed25519(point)
    } else if let Some(point) = der.strip_prefix(&P256_SPKI) {
        Key::p256(point)
    } else {
        Err("unsupported key: use Ed25519 or P-256 (ES256) with an uncompressed point".to_owned())
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// The parameters of a JSON Web Key that the server uses (RFC 7517, RFC 7518, RFC 8037).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

/// Adds the keys of a JWK Set to the keyring. Skips keys with another `use` or an unsupported type.
fn read_jwks(json: &[u8], keys: &mut Keyring) -> Result<(), String> {
    let set: JwkSet = serde_json::from_slice(json).map_err(|error| format!("no JWK Set found: {error}"))?;
    for jwk in set.keys {
        let name = jwk.kid.clone().unwrap_or_else(|| "without kid".to_owned());
        if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") {
            continue;
        }
        let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => Key::ed25519(&decode(jwk.x.as_ref())?),
            ("EC", Some("P-256")) => {
                Key::p256(&[&[4], &decode(jwk.x.as_ref())?[..], &decode(jwk.y.as_ref())?[..]].concat())
            }
            ("oct", _) => Key::secret(&decode(jwk.k.as_ref())?),
            (kty, crv) => {
                warn!(key = name, kty, crv, "skipping a JWK of unsupported type");
                continue;
            }
        };
        let key = key.map_err(|error| format!("key {name}: {error}"))?;
        if jwk.d.is_some() {
            return Err(format!("key {name} is private: remove its d"));
        }
        if jwk.alg.as_ref().is_some_and(|alg| !key.algorithms().contains(&alg.as_str())) {
            return Err(format!("key {name} has another alg: use {}", key.algorithms().join(" or ")));
        }
        keys.add(jwk.kid.as_deref(), key)?;
    }
    Ok(())
}

/// Decodes the `x`, `y` or `k` of a JWK.
fn decode(text: Option<&String>) -> Result<Vec<u8>, String> {
    let text = text.ok_or("a key has no x, y or k: add it")?;
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| "x, y and k must be base64url without padding".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::Reloaded;

    #[test]
    fn unusable_key_files_leave_the_keys_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("jwks.json");
        let write = |kids: &[&str], end: &str| {
            let key = |kid: &&str| format!(r#"{{"kty":"oct","kid":"{kid}","k":"{}"}}"#, "A".repeat(43));
            let keys: Vec<_> = kids.iter().map(key).collect();
            fs::write(&path, format!(r#"{{"keys":[{}]{end}"#, keys.join(","))).expect("a file");
        };
        write(&["old"], "}");
        let keys = Reloaded::load(KeySources { jwks: Some(path.clone()), ..KeySources::default() }).expect("a key");
        let has = |kid| keys.current().find(Some(kid)).is_ok();
        // `Reloaded` applies a change only after two identical reads.
        let refresh = || {
            keys.refresh();
            keys.refresh();
        };
        write(&["new"], "");
        refresh();
        assert!(has("old") && !has("new"));
        write(&["new", "new"], "}");
        refresh();
        assert!(has("old") && !has("new"));
        fs::remove_file(&path).expect("a file");
        refresh();
        assert!(has("old"));
        write(&["new"], "}");
        refresh();
        assert!(!has("old") && has("new"));
    }
}
