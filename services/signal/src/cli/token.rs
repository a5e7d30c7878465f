//! `signalbox token`: issues tokens for evaluation, scripts and tests. An application server uses a JWT library of its
//! language instead.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::Map;

use crate::{
    auth::{self, MAX_NAME, MIN_SECRET, RoomPattern},
    config::duration,
};

/// The arguments of `signalbox token`.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// Room for which the token is valid, or a prefix of room names followed by *
    #[arg(long, value_parser = room, value_name = "ROOM")]
    pub room: String,

    /// Identity of the member (sub), 1 to 256 bytes
    #[arg(long, value_parser = name, value_name = "TEXT")]
    pub identity: String,

    /// Display name of the member, 1 to 256 bytes. If unset, the member chooses its own
    #[arg(long, value_parser = name, value_name = "TEXT")]
    pub name: Option<String>,

    /// Validity of the token
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub ttl: Duration,

    /// Permit calls of Rooms (can_admin), for the rooms that --room matches
    #[arg(long)]
    pub admin: bool,

    /// Forbid application data (can_send_data)
    #[arg(long)]
    pub no_data: bool,

    /// Private key (PEM, Ed25519 or P-256) that signs the token. The server needs its public key as --jwt-key
    #[arg(long, conflicts_with = "secret_env", value_name = "PATH")]
    pub key: Option<PathBuf>,

    /// Environment variable that contains the server's --jwt-secret; used without --key
    #[arg(long, default_value = "SIGNALBOX_JWT_SECRET", value_name = "VARIABLE")]
    pub secret_env: String,

    /// Key id (kid) of the signing key; required if the server has several keys
    #[arg(long, value_name = "KID")]
    pub kid: Option<String>,

    /// Issuer (iss): the server's --jwt-issuer, if it has one
    #[arg(long, env = "SIGNALBOX_JWT_ISSUER", value_name = "TEXT")]
    pub issuer: Option<String>,

    /// Audience (aud): the server's --jwt-audience
    #[arg(long, env = "SIGNALBOX_JWT_AUDIENCE", default_value = "signalbox", value_name = "TEXT")]
    pub audience: String,
}

fn room(text: &str) -> Result<String, String> {
    let advice = "use 1-64 of A-Z a-z 0-9 _ -, or a prefix followed by *";
    RoomPattern::parse(text).map(|_| text.to_owned()).ok_or_else(|| advice.to_owned())
}

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_NAME).contains(&text.len());
    if fits { Ok(text.to_owned()) } else { Err(format!("use 1-{MAX_NAME} bytes")) }
}

/// Issues a token that is valid from `now`.
pub fn token(args: &TokenArgs, now: SystemTime) -> Result<String, String> {
    let signer = match &args.key {
        Some(path) => Signer::read(path).map_err(|error| format!("--key {}: {error}", path.display()))?,
        None => Signer::secret(&args.secret_env)?,
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut claims = Map::new();
    let mut claim = |name: &str, value: serde_json::Value| claims.insert(name.to_owned(), value);
    claim("sub", args.identity.clone().into());
    claim("room", args.room.clone().into());
    claim("aud", args.audience.clone().into());
    claim("iat", now.into());
    claim("nbf", now.into());
    claim("exp", now.saturating_add(args.ttl.as_secs().max(1)).into());
    if let Some(issuer) = &args.issuer {
        claim("iss", issuer.clone().into());
    }
    if let Some(name) = &args.name {
        claim("name", name.clone().into());
    }
    if args.admin {
        claim("can_admin", true.into());
    }
    if args.no_data {
        claim("can_send_data", false.into());
    }
    Ok(auth::sign(&claims, signer.algorithm(), args.kid.as_deref(), |message| signer.sign(message)))
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Secret(hmac::Key),
}

impl Signer {
    fn secret(variable: &str) -> Result<Self, String> {
        let secret = env::var(variable)
            .map_err(|_| format!("no signing key: use --key PATH, or set {variable} to the server's --jwt-secret"))?;
        if secret.len() < MIN_SECRET {
            return Err(format!("invalid {variable}: use a secret of at least {MIN_SECRET} bytes"));
        }
        Ok(Self::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    fn read(path: &Path) -> Result<Self, String> {
        let pem = fs::read(path).map_err(|error| error.to_string())?;
        let (kind, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(&pem)
            .map_err(|_| "no PEM key found: use a file with -----BEGIN PRIVATE KEY-----".to_owned())?;
        match kind {
            SectionKind::PrivateKey => {}
            SectionKind::EcPrivateKey => {
                return Err("unsupported format: convert it with openssl pkcs8 -topk8 -nocrypt".to_owned());
            }
            _ => return Err("no private key found: use a file with -----BEGIN PRIVATE KEY-----".to_owned()),
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Ok(Self::Ed25519(pair));
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new())
            .map(Self::P256)
            .map_err(|_| "unsupported key: use Ed25519 or P-256 (ES256)".to_owned())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::Secret(_) => "HS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                signature.expect("the operating system provides random bits").as_ref().to_vec()
            }
            Self::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
        }
    }
}
