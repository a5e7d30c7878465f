//! The server process that a share starts. Its public listener is for the tunnel only.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    process::{Child, ChildStdin, Command},
    time::{self, Instant},
};

use super::tokens::{JWT_SECRET, TokenIssuer};
use crate::config::{SECRET, ShareConfig};

/// Deadline for the server to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Interval between checks whether the server listens.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Connection limit for all visitors together, since they share the tunnel's address. A machine at home cannot serve
/// more.
const MAX_CONNECTIONS: &str = "2000";
/// File name of the self-signed certificate in the server's store.
const CERTIFICATE_FILE: &str = "tls-self-signed.pem";
/// Server settings inherited from the environment. The share sets all others itself, so that the environment cannot
/// weaken the server.
const INHERITED_SETTINGS: [&str; 5] =
    ["SIGNALBOX_LOG", "SIGNALBOX_ICE_SERVER", "SIGNALBOX_TURN_URL", "SIGNALBOX_TURN_SECRET", "SIGNALBOX_TURN_TTL"];

/// The command that starts the server.
pub(super) struct ServerCommand {
    program: PathBuf,
    flags: Vec<OsString>,
    secret: String,
    /// Path that keeps the self-signed certificate between shares; `None` if the server generates none.
    kept_certificate: Option<PathBuf>,
    /// Temporary folder of the server's store and ready files. Removed when the share ends.
    folder: TempDir,
}

/// A running server.
pub(super) struct ServerProcess {
    /// The watchdog process, which is the server's parent.
    pub(super) watchdog: Child,
    /// The watchdog's standard input; closing it ends the server. It is not in `watchdog`, because `Child::wait` would
    /// close it.
    pub(super) stdin: Option<ChildStdin>,
    /// Addresses of the public listener and of the admin listener.
    pub(super) addresses: (SocketAddr, SocketAddr),
}

/// Returns the path of the server program.
pub(super) fn program_path(config: &ShareConfig) -> Result<PathBuf, String> {
    if let Some(path) = &config.signalbox {
        return Ok(path.clone());
    }
    let own = std::env::current_exe().map_err(|error| format!("cannot find the path of this program: {error}"))?;
    let path = own.with_file_name("signalbox");
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("server program not found at {}: pass its path with --signalbox", path.display()))
    }
}

impl ServerCommand {
    pub(super) fn new(config: &ShareConfig) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("signalbox-share-").tempdir();
        let folder = folder.map_err(|error| format!("cannot create a temporary folder: {error}"))?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| format!("cannot get random bytes: {error}"))?;
        let secret = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = Self {
            program: program_path(config)?,
            flags: Vec::new(),
            secret,
            kept_certificate: (!config.http && config.tls_cert.is_none())
                .then(|| config.data.join(format!("{}.pem", config.public_host()))),
            folder,
        };
        command.flags = command.server_flags(config);
        command.restore_certificate()?;
        Ok(command)
    }

    fn server_flags(&self, config: &ShareConfig) -> Vec<OsString> {
        let mut flags: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: &OsStr| flags.extend([name.into(), value.into()]);
        let mut store = OsString::from("redb:");
        store.push(self.folder.path().join("rooms"));
        flag("--store", &store);
        flag("--ready-file", self.ready_file().as_os_str());
        flag("--admin-ready-file", self.admin_ready_file().as_os_str());
        flag("--web-dir", config.web_dir.as_os_str());
        // The tunnel server may assign any port.
        flag("--public-name", format!("{}:*", config.public_host()).as_ref());
        // After a change of the public port, pages from the old port call the new one. Foreign pages gain nothing,
        // since there are no cookies and a page keeps its token within its origin.
        let any_port = format!("{}://{}:*", config.scheme(), config.public_host().to_ascii_lowercase());
        flag("--cors-origin", any_port.as_ref());
        flag("--auth", "jwt".as_ref());
        flag("--jwt-max-ttl", format!("{}s", config.ttl.as_secs().max(60)).as_ref());
        flag("--auto-create", "false".as_ref());
        // The share calls Rooms at the admin listener, and the tunnel leads to the public listener.
        flag("--rooms", "false".as_ref());
        flag("--reflection", if config.reflection { "true" } else { "false" }.as_ref());
        flag("--detailed-health", "false".as_ref());
        // All visitors have the tunnel's address, so it identifies no caller.
        flag("--bad-joins-by-address", "false".as_ref());
        flag("--max-connections", MAX_CONNECTIONS.as_ref());
        flag("--drain-timeout", "2s".as_ref());
        match (&config.tls_cert, &config.tls_key) {
            (Some(certificate), Some(key)) => {
                flag("--tls-cert", certificate.as_os_str());
                flag("--tls-key", key.as_os_str());
            }
            _ if config.http => {}
            _ => flag("--tls-self-signed", "true".as_ref()),
        }
        if let Some(stun) = config.stun() {
            flag("--ice-server", stun.as_ref());
        }
        flags.extend(config.server_flags.iter().cloned());
        flags
    }

    /// Returns an issuer of tokens that only this server accepts.
    pub(super) fn token_issuer(&self) -> TokenIssuer {
        TokenIssuer::with_secret(self.program.clone(), self.secret.clone())
    }

    /// Starts the server at the given addresses, or at free ports.
    pub(super) async fn start(&self, addresses: Option<(SocketAddr, SocketAddr)>) -> Result<ServerProcess, String> {
        let fail = |error: &dyn std::fmt::Display| format!("cannot start the server: {error}");
        for file in [self.ready_file(), self.admin_ready_file()] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(&error)),
                _ => {}
            }
        }
        let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let (public, admin) = addresses.unwrap_or((free_port, free_port));
        let own = std::env::current_exe().map_err(|error| fail(&error))?;
        let mut command = Command::new(own);
        command
            .args(["parent-watchdog", "--remove-folder"])
            .arg(self.folder.path())
            .arg("--")
            .arg(&self.program)
            .arg("serve")
            .args(&self.flags);
        command.args(["--listen", &public.to_string(), "--admin-listen", &admin.to_string()]);
        for (name, _) in std::env::vars_os() {
            let is_setting = name.to_string_lossy().starts_with("SIGNALBOX_");
            if is_setting && !INHERITED_SETTINGS.iter().any(|inherited| name == *inherited) {
                command.env_remove(name);
            }
        }
        if std::env::var_os("SIGNALBOX_LOG").is_none() {
            command.env("SIGNALBOX_LOG", "warn");
        }
        command.env(JWT_SECRET, &self.secret).env_remove(SECRET);
        // A separate process group keeps Ctrl-C in the terminal from stopping the server before the room is deleted.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut watchdog = command.spawn().map_err(|error| fail(&error))?;
        let stdin = watchdog.stdin.take();

        let deadline = Instant::now() + START_TIMEOUT;
        let public = loop {
            if let Some(address) = read_address(&self.ready_file()) {
                break address;
            }
            if watchdog.try_wait().map_err(|error| fail(&error))?.is_some() {
                return Err(fail(&"it exited; see its log above"));
            }
            if Instant::now() > deadline {
                return Err(fail(&format!("it does not listen within {} s", START_TIMEOUT.as_secs())));
            }
            time::sleep(POLL_INTERVAL).await;
        };
        let admin = read_address(&self.admin_ready_file()).ok_or_else(|| fail(&"it has no admin listener"))?;
        self.keep_certificate();
        Ok(ServerProcess { watchdog, stdin, addresses: (public, admin) })
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("address")
    }

    fn admin_ready_file(&self) -> PathBuf {
        self.folder.path().join("admin-address")
    }

    /// Restores the certificate of the previous share, so that its fingerprint stays the same.
    fn restore_certificate(&self) -> Result<(), String> {
        let Some(kept) = &self.kept_certificate else { return Ok(()) };
        let rooms = self.folder.path().join("rooms");
        fs::create_dir_all(&rooms).map_err(|error| format!("cannot create {}: {error}", rooms.display()))?;
        match copy_private(kept, &rooms.join(CERTIFICATE_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot read {}: {error}", kept.display()))
            }
            _ => Ok(()),
        }
    }

    /// Keeps the certificate for the next share. Ignores errors: the next share then has another fingerprint.
    fn keep_certificate(&self) {
        let Some(kept) = &self.kept_certificate else { return };
        let current = self.folder.path().join("rooms").join(CERTIFICATE_FILE);
        let is_same = matches!((fs::read(kept), fs::read(&current)), (Ok(kept), Ok(current)) if kept == current);
        if !is_same && let Some(folder) = kept.parent() {
            let _ = fs::create_dir_all(folder).and_then(|()| copy_private(&current, kept));
        }
    }
}

/// Copies a file atomically, readable only by its owner.
fn copy_private(from: &Path, to: &Path) -> io::Result<()> {
    let content = fs::read(from)?;
    let folder = to.parent().unwrap_or(Path::new("."));
    // `NamedTempFile` creates the file with mode 0600.
    let partial = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(partial.path(), content)?;
    fs::set_permissions(partial.path(), Permissions::from_mode(0o600))?;
    partial.persist(to)?;
    Ok(())
}

fn read_address(file: &Path) -> Option<SocketAddr> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
