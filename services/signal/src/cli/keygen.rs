//! `signalbox keygen`: generates a key pair for tokens.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::PathBuf};

use clap::Args;
use data_encoding::BASE64;
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};

use crate::auth::ED25519_SPKI;

/// DER prefix of an Ed25519 private key in PKCS #8 version 1 (RFC 8410, section 7). `ring` writes version 2, which
/// OpenSSL cannot read.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The arguments of `signalbox keygen`.
#[derive(Debug, Clone, Args)]
pub struct KeygenArgs {
    /// File for the private key. The public key goes to PATH.pub. The command overwrites no file
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// Generates an Ed25519 key pair without overwriting files. Returns a message that names both files.
pub fn keygen(args: &KeygenArgs) -> Result<String, String> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| "cannot get random bits from the operating system".to_owned())?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| "cannot generate a key".to_owned())?;
    let mut public_path = args.path.clone().into_os_string();
    public_path.push(".pub");
    let public_path = PathBuf::from(public_path);
    if let Some(path) = [&args.path, &public_path].into_iter().find(|path| path.exists()) {
        return Err(format!("{} exists: choose another path, keys are never overwritten", path.display()));
    }
    let private = pem("PRIVATE KEY", &[&ED25519_PKCS8[..], &seed].concat());
    let public = pem("PUBLIC KEY", &[&ED25519_SPKI[..], pair.public_key().as_ref()].concat());
    for (path, content, mode) in [(&args.path, private, 0o600), (&public_path, public, 0o644)] {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(format!(
        "private key {} signs tokens; public key {} is the server's --jwt-key",
        args.path.display(),
        public_path.display()
    ))
}

fn pem(label: &str, der: &[u8]) -> String {
    // RFC 7468 wraps lines at 64 characters.
    let text = BASE64.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
