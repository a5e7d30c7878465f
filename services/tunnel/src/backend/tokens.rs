//! Issues tokens by running the server's program (`signalbox token`).

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

use super::server_process::program_path;
use crate::config::ShareConfig;

/// Environment variable with the secret that signs tokens.
pub(super) const JWT_SECRET: &str = "SIGNALBOX_JWT_SECRET";

/// The holder of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A visitor with the link.
    Guest,
    /// The person who started the share.
    Host,
    /// The share itself, to announce a new public address.
    Announcer,
    /// The share itself, to create and delete the room.
    Admin,
}

impl Role {
    /// Returns the identity that other members see.
    pub fn identity(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Host => "host",
            Self::Announcer | Self::Admin => "share",
        }
    }
}

/// Issues tokens that the shared server accepts.
#[derive(Debug, Clone)]
pub(super) struct TokenIssuer {
    program: PathBuf,
    key: Option<PathBuf>,
    secret: Option<String>,
}

impl TokenIssuer {
    /// Creates an issuer for a server with this secret.
    pub(super) fn with_secret(program: PathBuf, secret: String) -> Self {
        Self { program, key: None, secret: Some(secret) }
    }

    /// Creates an issuer for a server that is already running, with the key or secret from the settings.
    pub(super) fn for_running_server(config: &ShareConfig) -> Result<Self, String> {
        let secret = std::env::var(JWT_SECRET).ok();
        if config.key.is_none() && secret.is_none() {
            return Err(format!(
                "no signing key for the running server: pass --key PATH, or set {JWT_SECRET} to its secret"
            ));
        }
        Ok(Self { program: program_path(config)?, key: config.key.clone(), secret })
    }

    /// Issues a token that is valid for `ttl`.
    pub(super) async fn issue(&self, room: &str, role: Role, ttl: Duration) -> Result<String, String> {
        let mut command = Command::new(&self.program);
        // The form `--room=` is necessary, because a room name may start with a dash.
        command.args(["token", &format!("--room={room}"), "--identity", role.identity()]);
        command.args(["--ttl", &format!("{}s", ttl.as_secs())]);
        if role == Role::Admin {
            command.arg("--admin");
        }
        if let Some(key) = &self.key {
            command.arg("--key").arg(key);
        } else if let Some(secret) = &self.secret {
            command.env(JWT_SECRET, secret);
        }
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        if !output.status.success() {
            return Err(format!("cannot issue a token: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let token = String::from_utf8(output.stdout)
            .map_err(|_| format!("cannot issue a token: the output of {} is not UTF-8", self.program.display()))?;
        Ok(token.trim().to_owned())
    }
}
