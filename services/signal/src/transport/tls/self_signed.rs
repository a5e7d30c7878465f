//! A self-signed certificate for evaluation. Browsers warn about it; programs can pin its fingerprint.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, DnType, KeyPair};

/// Name of the file that holds the key and the certificate.
const FILE: &str = "tls-self-signed.pem";

/// Returns the path of a PEM file with a key and a certificate for these names. Generates it only once to keep the
/// fingerprint, and reuses the key for a new certificate if the names change.
pub(super) fn file(folder: &Path, names: &[String]) -> Result<PathBuf, String> {
    let path = folder.join(FILE);
    let fail = |error: &dyn std::fmt::Display| format!("--tls-self-signed: {}: {error}", path.display());
    let header = format!("For {}\n", names.join(" "));
    let key = match fs::read_to_string(&path) {
        Ok(kept) => {
            // Only the owner may read the key, so undo widened permissions.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(|error| fail(&error))?;
            if kept.starts_with(&header) {
                return Ok(path);
            }
            KeyPair::from_pem(&kept)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => KeyPair::generate(),
        Err(error) => return Err(fail(&error)),
    };
    let key = key.map_err(|error| fail(&error))?;
    let mut params = CertificateParams::new(names).map_err(|error| fail(&error))?;
    params.distinguished_name.push(DnType::CommonName, "Signalbox");
    let certificate = params.self_signed(&key).map_err(|error| fail(&error))?;
    let pem = format!("{header}{}{}", key.serialize_pem(), certificate.pem());
    write(folder, &path, &pem).map_err(|error| fail(&error))?;
    Ok(path)
}

/// Writes a file atomically, readable only by its owner.
fn write(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let partial = path.with_extension("partial");
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)
}
