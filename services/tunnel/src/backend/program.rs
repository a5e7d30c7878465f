//! A server of the share's own: a process with a port for the tunnel and nothing but the tunnel.

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

use super::minter::{JWT_SECRET, Minter};
use crate::config::{SECRET, ShareConfig};

/// How long the server may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(50);
/// Connections from the tunnel, which all have the same address. A machine at home serves no more.
const MAX_CONNECTIONS: &str = "2000";
/// Where the server keeps a certificate of its own making.
const OWN_CERTIFICATE: &str = "tls-self-signed.pem";
/// Settings of the server that stay as its user's environment has them. Others, such as who may do what, are the share's.
const KEPT_SETTINGS: [&str; 5] =
    ["SIGNALBOX_LOG", "SIGNALBOX_ICE_SERVER", "SIGNALBOX_TURN_URL", "SIGNALBOX_TURN_SECRET", "SIGNALBOX_TURN_TTL"];

/// A server that can be started.
pub(super) struct Program {
    signalbox: PathBuf,
    flags: Vec<OsString>,
    secret: String,
    /// Where the key of its own certificate is kept from share to share; `None` if it does not make one.
    kept_certificate: Option<PathBuf>,
    /// Its store, which goes with the share.
    folder: TempDir,
}

/// A server that runs.
pub(super) struct Running {
    /// Its guard.
    pub(super) child: Child,
    /// When this ends, the guard ends the server. `Child::wait` would close it, were it still there.
    pub(super) leash: Option<ChildStdin>,
    /// Its ports: of members, and of operators.
    pub(super) ports: (SocketAddr, SocketAddr),
}

/// The server's program.
pub(super) fn signalbox(config: &ShareConfig) -> Result<PathBuf, String> {
    if let Some(path) = &config.signalbox {
        return Ok(path.clone());
    }
    let own = std::env::current_exe().map_err(|error| format!("where this program is cannot be found: {error}"))?;
    let path = own.with_file_name("signalbox");
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} is not there: --signalbox says where it is", path.display()))
    }
}

impl Program {
    pub(super) fn new(config: &ShareConfig) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("signalbox-share-").tempdir();
        let folder = folder.map_err(|error| format!("cannot make a folder for the share: {error}"))?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| format!("the system gives no random bits: {error}"))?;
        let secret = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut program = Self {
            signalbox: signalbox(config)?,
            flags: Vec::new(),
            secret,
            kept_certificate: (!config.http && config.tls_cert.is_none())
                .then(|| config.data.join(format!("{}.pem", config.host()))),
            folder,
        };
        program.flags = program.flags_of(config);
        program.take_certificate()?;
        Ok(program)
    }

    fn flags_of(&self, config: &ShareConfig) -> Vec<OsString> {
        let mut flags: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: &OsStr| flags.extend([name.into(), value.into()]);
        let mut store = OsString::from("redb:");
        store.push(self.folder.path().join("rooms"));
        flag("--store", &store);
        flag("--ready-file", self.ready_file().as_os_str());
        flag("--admin-ready-file", self.admin_ready_file().as_os_str());
        flag("--web-dir", config.web_dir.as_os_str());
        // Whichever port the tunnel server gives.
        flag("--public-name", format!("{}:*", config.host()).as_ref());
        // When the tunnel server gives another, pages of the old one go on from where they are. They have nothing that a
        // browser would send along by itself: what opens the room is a token, which each page keeps to its origin.
        let every_port = format!("{}://{}:*", config.scheme(), config.host().to_ascii_lowercase());
        flag("--cors-origin", every_port.as_ref());
        flag("--auth", "jwt".as_ref());
        flag("--jwt-max-ttl", format!("{}s", config.ttl.as_secs().max(60)).as_ref());
        flag("--auto-create", "false".as_ref());
        // The share has the port of operators, and the tunnel leads to the other.
        flag("--rooms", "false".as_ref());
        flag("--reflection", if config.reflection { "true" } else { "false" }.as_ref());
        flag("--detailed-health", "false".as_ref());
        // Everybody comes from the address of the tunnel.
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

    /// Makes tokens that this server takes, and no other.
    pub(super) fn minter(&self) -> Minter {
        Minter::with_secret(self.signalbox.clone(), self.secret.clone())
    }

    /// Starts it at these ports, or at free ones.
    pub(super) async fn start(&self, at: Option<(SocketAddr, SocketAddr)>) -> Result<Running, String> {
        let fail = |error: &dyn std::fmt::Display| format!("the server did not start: {error}");
        for file in [self.ready_file(), self.admin_ready_file()] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(&error)),
                _ => {}
            }
        }
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let (members, operators) = at.unwrap_or((free, free));
        let own = std::env::current_exe().map_err(|error| fail(&error))?;
        let mut command = Command::new(own);
        command
            .args(["guard", "--folder"])
            .arg(self.folder.path())
            .arg("--")
            .arg(&self.signalbox)
            .arg("serve")
            .args(&self.flags);
        command.args(["--listen", &members.to_string(), "--admin-listen", &operators.to_string()]);
        for (name, _) in std::env::vars_os() {
            let is_setting = name.to_string_lossy().starts_with("SIGNALBOX_");
            if is_setting && !KEPT_SETTINGS.iter().any(|kept| name == *kept) {
                command.env_remove(name);
            }
        }
        if std::env::var_os("SIGNALBOX_LOG").is_none() {
            command.env("SIGNALBOX_LOG", "warn");
        }
        command.env(JWT_SECRET, &self.secret).env_remove(SECRET);
        // In a group of its own, so that Ctrl-C at the terminal does not reach it before members have been told.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(|error| fail(&error))?;
        let leash = child.stdin.take();

        let deadline = Instant::now() + START_TIMEOUT;
        let members = loop {
            if let Some(address) = read_address(&self.ready_file()) {
                break address;
            }
            if child.try_wait().map_err(|error| fail(&error))?.is_some() {
                return Err(fail(&"what it says is above"));
            }
            if Instant::now() > deadline {
                return Err(fail(&format!("it does not listen after {} s", START_TIMEOUT.as_secs())));
            }
            time::sleep(LOOK).await;
        };
        let operators = read_address(&self.admin_ready_file()).ok_or_else(|| fail(&"it has no port for operators"))?;
        self.keep_certificate();
        Ok(Running { child, leash, ports: (members, operators) })
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("address")
    }

    fn admin_ready_file(&self) -> PathBuf {
        self.folder.path().join("admin-address")
    }

    /// The certificate of an earlier share, so that its fingerprint stays.
    fn take_certificate(&self) -> Result<(), String> {
        let Some(kept) = &self.kept_certificate else { return Ok(()) };
        let rooms = self.folder.path().join("rooms");
        fs::create_dir_all(&rooms).map_err(|error| format!("cannot make {}: {error}", rooms.display()))?;
        match copy_secretly(kept, &rooms.join(OWN_CERTIFICATE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot read {}: {error}", kept.display()))
            }
            _ => Ok(()),
        }
    }

    /// Keeps the certificate for the next share. Not worth failing for: visitors see another fingerprint then.
    fn keep_certificate(&self) {
        let Some(kept) = &self.kept_certificate else { return };
        let own = self.folder.path().join("rooms").join(OWN_CERTIFICATE);
        let is_same = matches!((fs::read(kept), fs::read(&own)), (Ok(kept), Ok(own)) if kept == own);
        if !is_same && let Some(folder) = kept.parent() {
            let _ = fs::create_dir_all(folder).and_then(|()| copy_secretly(&own, kept));
        }
    }
}

/// Copies a file for its owner's eyes, whole or not at all.
fn copy_secretly(from: &Path, to: &Path) -> io::Result<()> {
    let content = fs::read(from)?;
    let folder = to.parent().unwrap_or(Path::new("."));
    // With mode 0600.
    let partial = tempfile::NamedTempFile::new_in(folder)?;
    fs::write(partial.path(), content)?;
    fs::set_permissions(partial.path(), Permissions::from_mode(0o600))?;
    partial.persist(to)?;
    Ok(())
}

fn read_address(file: &Path) -> Option<SocketAddr> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
