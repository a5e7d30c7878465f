//! Tokens, built from parts so that any part can be wrong.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

pub(crate) fn encode(part: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(part.as_ref())
}

/// A signing key.
pub(crate) enum Key {
    Ed25519(Ed25519KeyPair),
    P256(Box<EcdsaKeyPair>),
    Secret(Vec<u8>),
}

impl Key {
    /// An Ed25519 key, a different one for each `seed`.
    pub(crate) fn ed25519(seed: u8) -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("any seed is valid"))
    }

    /// A new P-256 key.
    pub(crate) fn p256() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
        Self::P256(Box::new(pair.expect("the new key")))
    }

    pub(crate) fn secret(secret: &str) -> Self {
        Self::Secret(secret.as_bytes().to_vec())
    }

    /// The public part; that of P-256 without the leading byte for the uncompressed form.
    pub(crate) fn public(&self) -> &[u8] {
        match self {
            Self::Ed25519(pair) => pair.public_key().as_ref(),
            Self::P256(pair) => &pair.public_key().as_ref()[1..],
            Self::Secret(secret) => secret,
        }
    }

    /// As a JWK.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let public = self.public();
        match self {
            Self::Ed25519(_) => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": encode(public)}),
            Self::P256(_) => {
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": encode(&public[..32]), "y": encode(&public[32..])})
            }
            Self::Secret(_) => json!({"kty": "oct", "kid": kid, "k": encode(public)}),
        }
    }

    /// The public key in PEM.
    pub(crate) fn pem(&self) -> String {
        let prefix = match self {
            Self::Ed25519(_) => "302a300506032b6570032100",
            Self::P256(_) => "3059301306072a8648ce3d020106082a8648ce3d03010703420004",
            Self::Secret(_) => panic!("a secret has no PEM"),
        };
        let der = [HEXLOWER.decode(prefix.as_bytes()).expect("hex"), self.public().to_vec()].concat();
        let text = data_encoding::BASE64.encode(&der);
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Secret(_) => "HS256",
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec(),
            Self::Secret(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
        }
    }

    /// A token of this header and these claims, as they are.
    pub(crate) fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A token without a `kid`.
    pub(crate) fn mint(&self, claims: &Value) -> String {
        self.token(&json!({"alg": self.algorithm(), "typ": "JWT"}).to_string(), &claims.to_string())
    }

    /// A token with a `kid`.
    pub(crate) fn mint_as(&self, kid: &str, claims: &Value) -> String {
        self.token(&json!({"alg": self.algorithm(), "kid": kid}).to_string(), &claims.to_string())
    }
}

/// Valid claims, for five minutes.
pub(crate) fn claims(room: &str, subject: &str) -> Value {
    let now = now();
    json!({"sub": subject, "room": room, "aud": "signalbox", "nbf": now, "exp": now + 300})
}

/// The same with claims replaced or added; `null` removes one.
pub(crate) fn claims_with(room: &str, subject: &str, others: &Value) -> Value {
    let mut claims = claims(room, subject);
    let object = claims.as_object_mut().expect("an object");
    for (name, value) in others.as_object().expect("an object") {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// Writes a file into a folder, atomically.
pub(crate) fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let (path, partial) = (folder.join(name), folder.join(format!("{name}.partial")));
    std::fs::write(&partial, content).expect("a file");
    std::fs::rename(&partial, &path).expect("a file");
    path
}
