//! Tokens, made with the server's own program.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

use super::program::signalbox;
use crate::config::ShareConfig;

/// The variable that holds the secret of tokens.
pub(super) const JWT_SECRET: &str = "SIGNALBOX_JWT_SECRET";

/// For whom a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// Whoever has the link.
    Guest,
    /// The one who shares.
    Host,
    /// The share itself: tells members of a new address.
    Share,
    /// The share itself: makes the room, and closes it.
    Operator,
}

impl Member {
    /// The identity that others see.
    pub fn identity(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Host => "host",
            Self::Share | Self::Operator => "share",
        }
    }
}

/// Makes tokens.
#[derive(Debug, Clone)]
pub(super) struct Minter {
    signalbox: PathBuf,
    key: Option<PathBuf>,
    secret: Option<String>,
}

impl Minter {
    /// For a server with that secret.
    pub(super) fn with_secret(signalbox: PathBuf, secret: String) -> Self {
        Self { signalbox, key: None, secret: Some(secret) }
    }

    /// For a server that others have set up.
    pub(super) fn of_running(config: &ShareConfig) -> Result<Self, String> {
        let secret = std::env::var(JWT_SECRET).ok();
        if config.key.is_none() && secret.is_none() {
            return Err(format!(
                "the running server asks for tokens: say with --key PATH what signs them, or put its secret into {JWT_SECRET}"
            ));
        }
        Ok(Self { signalbox: signalbox(config)?, key: config.key.clone(), secret })
    }

    /// A token that is good for so long.
    pub(super) async fn mint(&self, room: &str, member: Member, ttl: Duration) -> Result<String, String> {
        let mut command = Command::new(&self.signalbox);
        // A room's name may begin with a dash.
        command.args(["token", &format!("--room={room}"), "--identity", member.identity()]);
        command.args(["--ttl", &format!("{}s", ttl.as_secs())]);
        if member == Member::Operator {
            command.arg("--admin");
        }
        if let Some(key) = &self.key {
            command.arg("--key").arg(key);
        } else if let Some(secret) = &self.secret {
            command.env(JWT_SECRET, secret);
        }
        let made = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let made = made.map_err(|error| format!("cannot start {}: {error}", self.signalbox.display()))?;
        if !made.status.success() {
            return Err(format!("no token was made: {}", String::from_utf8_lossy(&made.stderr).trim()));
        }
        let token = String::from_utf8(made.stdout).map_err(|_| "the token is no text".to_owned())?;
        Ok(token.trim().to_owned())
    }
}
