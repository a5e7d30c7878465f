//! Settings of who may do what.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::duration;
use crate::{
    auth::{Addresses, Authenticator, KeyFile, KeySources, MIN_SECRET, Rules},
    limits::ThrottlePolicy,
    secret::Secret,
};

/// How members and back ends prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// They do not.
    None,
    /// With a JSON Web Token.
    Jwt,
}

/// The settings of who may do what.
#[derive(Debug, Clone, Args)]
pub struct AuthConfig {
    /// Who may join: with none everybody, with jwt whoever shows a token that a key of yours has signed
    #[arg(long, env = "SIGNALBOX_AUTH", default_value = "none", value_name = "KIND")]
    pub auth: Auth,

    /// Starts without --auth jwt even where --listen or --public-name says that other machines reach it
    #[arg(long, env = "SIGNALBOX_ALLOW_ANONYMOUS", default_value = "false", action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub allow_anonymous: bool,

    /// Secret of 32 bytes or more that tokens are signed with (HS256), where it is the only key. Better in the variable:
    /// arguments can be seen by other users of the machine
    #[arg(long, env = "SIGNALBOX_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,

    /// Public key in PEM that tokens are checked with: Ed25519 (EdDSA) or P-256 (ES256). Repeat for more, each with an
    /// id. Read again when it changes
    #[arg(long, env = "SIGNALBOX_JWT_KEY", value_delimiter = ',', value_name = "[KID=]PATH")]
    pub jwt_key: Vec<KeyFile>,

    /// JWK Set with keys that tokens are checked with (OKP, EC, oct). Read again when it changes
    #[arg(long, env = "SIGNALBOX_JWKS", value_name = "PATH")]
    pub jwks: Option<PathBuf>,

    /// What iss of a token must be; unless set, iss is not looked at
    #[arg(long, env = "SIGNALBOX_JWT_ISSUER", value_name = "TEXT")]
    pub jwt_issuer: Option<String>,

    /// What aud of a token must be or hold
    #[arg(long, env = "SIGNALBOX_JWT_AUDIENCE", default_value = "signalbox", value_name = "TEXT")]
    pub jwt_audience: String,

    /// Longest time from nbf to exp of a token
    #[arg(long, env = "SIGNALBOX_JWT_MAX_TTL", default_value = "24h", value_parser = duration, value_name = "TIME")]
    pub jwt_max_ttl: Duration,

    /// How long a session may outlive its token before it is ended for not being renewed. Less than 10s also narrows by how much the clock of who made the token may be behind
    #[arg(long, env = "SIGNALBOX_JWT_GRACE", default_value = "25s", value_parser = duration, value_name = "TIME")]
    pub jwt_grace: Duration,

    /// Joins that may fail for a wrong token, passcode or room before more are held back
    #[arg(long, env = "SIGNALBOX_MAX_BAD_JOINS", default_value = "10", value_name = "N")]
    pub max_bad_joins: u32,

    /// Time in which --max-bad-joins may fail; also the longest that joins are held back
    #[arg(long, env = "SIGNALBOX_BAD_JOIN_WINDOW", default_value = "30m", value_parser = duration, value_name = "TIME")]
    pub bad_join_window: Duration,

    /// Whether callers without a valid token are told apart by address when joins are held back: false where a proxy or
    /// tunnel stands in front, so that all have its address; unless set, by all addresses but loopback
    #[arg(long, env = "SIGNALBOX_BAD_JOINS_BY_ADDRESS", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub bad_joins_by_address: Option<bool>,
}

impl AuthConfig {
    /// Checks what the fields must be together. The message says which setting to change.
    pub(super) fn check(&self, is_for_this_machine: bool) -> Result<(), String> {
        let has_keys = self.jwt_secret.is_some() || !self.jwt_key.is_empty() || self.jwks.is_some();
        match self.auth {
            Auth::Jwt if !has_keys => {
                return Err("--auth jwt needs a key: --jwt-secret, --jwt-key or --jwks".to_owned());
            }
            Auth::None if has_keys => {
                return Err("a key for tokens is given, but nobody is asked for one: add --auth jwt".to_owned());
            }
            Auth::None if !self.allow_anonymous && !is_for_this_machine => {
                return Err(
                    "--listen or --public-name says that other machines reach this server, where anybody could \
                            join any room: ask for tokens with --auth jwt, or allow it with --allow-anonymous"
                        .to_owned(),
                );
            }
            Auth::None | Auth::Jwt => {}
        }
        if self.jwt_secret.as_ref().is_some_and(|secret| secret.expose().len() < MIN_SECRET) {
            return Err(format!(
                "--jwt-secret must have at least {MIN_SECRET} bytes; openssl rand -hex 32 makes a good one"
            ));
        }
        if self.jwt_max_ttl < Duration::from_secs(60) || self.jwt_max_ttl > Duration::from_secs(366 * 24 * 3600) {
            return Err("--jwt-max-ttl must be between 1m and 366days".to_owned());
        }
        if self.jwt_grace > Duration::from_secs(3600) {
            return Err("--jwt-grace must be at most 1h".to_owned());
        }
        if self.max_bad_joins == 0 {
            return Err("--max-bad-joins must be at least 1".to_owned());
        }
        if self.bad_join_window < Duration::from_secs(1) || self.bad_join_window > Duration::from_secs(24 * 3600) {
            return Err("--bad-join-window must be between 1s and 24h".to_owned());
        }
        Ok(())
    }

    /// The authenticator, with the keys read for the first time.
    pub fn authenticator(&self) -> Result<Authenticator, String> {
        let policy = ThrottlePolicy { failures: self.max_bad_joins, window: self.bad_join_window };
        let addresses = match self.bad_joins_by_address {
            None => Addresses::Foreign,
            Some(true) => Addresses::All,
            Some(false) => Addresses::None,
        };
        if self.auth == Auth::None {
            return Ok(Authenticator::anonymous(policy).by_addresses(addresses));
        }
        let sources =
            KeySources { secret: self.jwt_secret.clone(), files: self.jwt_key.clone(), jwks: self.jwks.clone() };
        let rules = Rules {
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
            max_ttl: self.jwt_max_ttl,
            grace: self.jwt_grace,
        };
        Ok(Authenticator::with_tokens(sources, rules, policy)?.by_addresses(addresses))
    }
}
