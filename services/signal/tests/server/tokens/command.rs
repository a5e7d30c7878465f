//! `signalbox token` and `signalbox keygen`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
    time::{Duration, SystemTime},
};

use crate::common::{
    internals::{Grant, KeySources, authenticator},
    jwt::{Key, write},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn signalbox(args: &[&str], secret: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signalbox"));
    command.args(args).env_remove("SIGNALBOX_JWT_SECRET");
    if let Some(secret) = secret {
        command.env("SIGNALBOX_JWT_SECRET", secret);
    }
    command.output().expect("the program starts")
}

/// The only line that the command prints.
fn printed(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let line = text.strip_suffix('\n').expect("one line");
    assert!(!line.is_empty() && !line.contains('\n'), "{text:?}");
    line.to_owned()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn check(sources: KeySources, token: &str) -> Grant {
    let authenticator = authenticator(sources, None).expect("usable keys");
    authenticator.check(token, SystemTime::now()).expect("it is accepted").expect("tokens are required")
}

fn key_file(path: &Path) -> KeySources {
    KeySources { files: vec![path.display().to_string().parse().expect("a path")], ..KeySources::default() }
}

#[test]
fn a_token_of_a_new_key_is_accepted_with_its_public_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("jwt.key");
    let public = folder.path().join("jwt.key.pub");
    let key_text = key.display().to_string();
    let line = printed(&signalbox(&["keygen", &key_text], None));
    assert!(line.contains("jwt.key.pub"), "{line}");
    assert_eq!(fs::metadata(&key).expect("a file").permissions().mode() & 0o777, 0o600);

    let base = ["token", "--key", &key_text, "--room", "team-*", "--identity", "ann"];
    let grant = check(key_file(&public), &printed(&signalbox(&base, None)));
    assert_eq!((grant.subject.as_str(), grant.display_name), ("ann", None));
    assert!(grant.rooms.matches("team-a") && grant.can_join && grant.can_send_data && !grant.can_admin);
    let left = grant.expires_at.duration_since(SystemTime::now()).expect("it is valid");
    assert!(left > Duration::from_secs(290) && left <= Duration::from_secs(300), "{left:?}");

    let more = [&base[..], &["--name", "Ann", "--ttl", "1h", "--admin", "--no-data"]].concat();
    let grant = check(key_file(&public), &printed(&signalbox(&more, None)));
    assert_eq!(grant.display_name.as_deref(), Some("Ann"));
    assert!(grant.can_admin && !grant.can_send_data);

    // An existing file is not overwritten, neither the key nor its public part.
    let before = fs::read(&key).expect("a file");
    assert!(refused(&signalbox(&["keygen", &key_text], None)).contains("exists"));
    assert_eq!(fs::read(&key).expect("a file"), before);
    fs::remove_file(&key).expect("a file");
    assert!(refused(&signalbox(&["keygen", &key_text], None)).contains("jwt.key.pub exists"));
    assert!(!key.exists());
}

#[test]
fn secrets_and_p256_keys_sign_tokens() {
    let args = ["token", "--room", "demo", "--identity", "ann", "--kid", "mine"];
    let folder = tempfile::tempdir().expect("a folder");
    let jwks = |key: &Key| {
        let jwks = serde_json::json!({"keys": [key.jwk("mine")]}).to_string();
        KeySources { jwks: Some(write(folder.path(), "jwks.json", &jwks)), ..KeySources::default() }
    };
    check(jwks(&Key::secret(SECRET)), &printed(&signalbox(&args, Some(SECRET))));

    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let text = data_encoding::BASE64.encode(pkcs8.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    let path = write(folder.path(), "p256.key", &pem).display().to_string();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key");
    assert_eq!(pair.public_key().as_ref().len(), 65);
    let sources = jwks(&Key::P256(Box::new(pair)));
    check(sources, &printed(&signalbox(&[&args[..], &["--key", &path]].concat(), None)));
}

#[test]
fn invalid_tokens_are_not_created() {
    let base = ["token", "--room", "demo", "--identity", "ann"];
    let error = refused(&signalbox(&base, None));
    assert!(error.contains("--key") && error.contains("SIGNALBOX_JWT_SECRET"), "{error}");
    assert!(refused(&signalbox(&base, Some("short"))).contains("32 bytes"));
    assert!(refused(&signalbox(&[&base[..], &["--key", "/nowhere"]].concat(), None)).contains("/nowhere"));
    for args in [
        ["token", "--room", "de mo", "--identity", "ann"],
        ["token", "--room", "", "--identity", "ann"],
        ["token", "--room", "demo", "--identity", ""],
    ] {
        assert!(refused(&signalbox(&args, Some(SECRET))).contains("use "), "{args:?}");
    }
    assert!(refused(&signalbox(&[&base[..], &["--ttl", "5"]].concat(), Some(SECRET))).contains("5m"));
}
