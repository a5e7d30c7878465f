//! Makes tokens and keys, for `signalbox token` and `signalbox keygen`: to try things out, for scripts and for tests. An
//! application's back end makes them with a JWT library of its own language.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::Map;

use super::{
    claims::{MAX_NAME, RoomPattern},
    jws,
    keys::{ED25519_SPKI, MIN_SECRET},
};
use crate::config::duration;

/// What stands before the 32 random bytes in the PKCS #8 form of an Ed25519 key (RFC 8410).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The arguments of `signalbox token`.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// The room that the token is for, or the beginning of its name and *
    #[arg(long, value_parser = room, value_name = "ROOM")]
    pub room: String,

    /// Who the token is for
    #[arg(long, value_parser = name, value_name = "TEXT")]
    pub identity: String,

    /// The display name that others see; without it the member may choose one
    #[arg(long, value_parser = name, value_name = "TEXT")]
    pub name: Option<String>,

    /// How long the token is good for
    #[arg(long, default_value = "5m", value_parser = duration, value_name = "TIME")]
    pub ttl: Duration,

    /// Lets the token use the Rooms service, for rooms that --room matches
    #[arg(long)]
    pub admin: bool,

    /// Lets the member signal, but not send application data
    #[arg(long)]
    pub no_data: bool,

    /// Private key in PEM, for Ed25519 or P-256; its public key is the server's --jwt-key
    #[arg(long, conflicts_with = "secret_env", value_name = "PATH")]
    pub key: Option<PathBuf>,

    /// Variable that holds the secret, the server's --jwt-secret; used where there is no --key
    #[arg(long, default_value = "SIGNALBOX_JWT_SECRET", value_name = "VARIABLE")]
    pub secret_env: String,

    /// Id of the key, where the server has more than one
    #[arg(long, value_name = "KID")]
    pub kid: Option<String>,

    /// The server's --jwt-issuer, where it has one
    #[arg(long, env = "SIGNALBOX_JWT_ISSUER", value_name = "TEXT")]
    pub issuer: Option<String>,

    /// The server's --jwt-audience
    #[arg(long, env = "SIGNALBOX_JWT_AUDIENCE", default_value = "signalbox", value_name = "TEXT")]
    pub audience: String,
}

/// The arguments of `signalbox keygen`.
#[derive(Debug, Clone, Args)]
pub struct KeygenArgs {
    /// Where the private key goes; the public key goes beside it, with .pub at the end
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

fn room(text: &str) -> Result<String, String> {
    let problem = "must be a room's name (1 to 64 of A-Z a-z 0-9 _ -), or the beginning of one and *";
    RoomPattern::parse(text).map(|_| text.to_owned()).ok_or_else(|| problem.to_owned())
}

fn name(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_NAME).contains(&text.len());
    if fits { Ok(text.to_owned()) } else { Err(format!("must have 1 to {MAX_NAME} bytes")) }
}

/// Makes a token.
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
    Ok(jws::sign(&claims, signer.algorithm(), args.kid.as_deref(), |message| signer.sign(message)))
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Secret(hmac::Key),
}

impl Signer {
    fn secret(variable: &str) -> Result<Self, String> {
        let secret = env::var(variable).map_err(|_| {
            format!("nothing to sign with: give --key PATH, or put the server's secret into the variable {variable}")
        })?;
        if secret.len() < MIN_SECRET {
            return Err(format!("the secret in {variable} must have at least {MIN_SECRET} bytes, as at the server"));
        }
        Ok(Self::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    fn read(path: &Path) -> Result<Self, String> {
        let pem = fs::read(path).map_err(|error| error.to_string())?;
        let (kind, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(&pem)
            .map_err(|_| "it holds no key in PEM, that is, no -----BEGIN PRIVATE KEY-----".to_owned())?;
        match kind {
            SectionKind::PrivateKey => {}
            SectionKind::EcPrivateKey => return Err("convert it first: openssl pkcs8 -topk8 -nocrypt".to_owned()),
            _ => return Err("it holds something else than a private key".to_owned()),
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Ok(Self::Ed25519(pair));
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new())
            .map(Self::P256)
            .map_err(|_| "it must be a key for Ed25519 or P-256 (ES256)".to_owned())
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
                signature.expect("a system without random bits cannot keep a secret").as_ref().to_vec()
            }
            Self::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
        }
    }
}

/// Makes a key pair for Ed25519; says where it went. Never overwrites one.
pub fn keygen(args: &KeygenArgs) -> Result<String, String> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| "the system has no random bits".to_owned())?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| "the key could not be made".to_owned())?;
    let mut public_path = args.path.clone().into_os_string();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    if let Some(path) = [&args.path, &public_path].into_iter().find(|path| path.exists()) {
        return Err(format!("{} exists, and keys are not overwritten", path.display()));
    }
    let private = pem("PRIVATE KEY", &[&ED25519_PKCS8[..], &seed].concat());
    let public = pem("PUBLIC KEY", &[&ED25519_SPKI[..], pair.public_key().as_ref()].concat());
    for (path, content, mode) in [(&args.path, private, 0o600), (&public_path, public, 0o644)] {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(format!(
        "{} is private, for whoever makes tokens; {} is the server's --jwt-key",
        args.path.display(),
        public_path.display()
    ))
}

fn pem(label: &str, der: &[u8]) -> String {
    // Short enough for one line (RFC 7468 wraps at 64) only by chance: wrap anyway.
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
