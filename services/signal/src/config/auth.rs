//! Settings of authentication and of the rate limit for failed joins.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use humantime::format_duration;

use super::{duration, value::invalid};
use crate::{
    auth::{Addresses, Authenticator, KeyFile, KeySources, MIN_SECRET, Rules},
    limits::ThrottlePolicy,
    secret::Secret,
};

/// How members and application servers authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Anyone may join.
    None,
    /// A join needs a JSON Web Token.
    Jwt,
}

/// The settings of authentication.
#[derive(Debug, Clone, Args)]
pub struct AuthConfig {
    /// Authentication: `none` (anyone may join) or `jwt` (a join needs a token signed by one of your keys)
    #[arg(long, env = "SIGNALBOX_AUTH", default_value = "none", value_name = "KIND")]
    pub auth: Auth,

    /// Start without --auth jwt even if --listen or --public-name lets other machines reach the server
    #[arg(long, env = "SIGNALBOX_ALLOW_ANONYMOUS", default_value = "false", action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub allow_anonymous: bool,

    /// Shared secret of at least 32 bytes for tokens signed with HS256, if it is the only key. Prefer the variable:
    /// other users of the machine can see arguments
    #[arg(long, env = "SIGNALBOX_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<Secret>,

    /// Public key (PEM) that verifies tokens: Ed25519 (EdDSA) or P-256 (ES256). Repeatable; several keys need a KID
    /// each. Reloaded when the file changes
    #[arg(long, env = "SIGNALBOX_JWT_KEY", value_delimiter = ',', value_name = "[KID=]PATH")]
    pub jwt_key: Vec<KeyFile>,

    /// JWK Set (JSON) with keys that verify tokens, of type OKP, EC or oct. Reloaded when the file changes
    #[arg(long, env = "SIGNALBOX_JWKS", value_name = "PATH")]
    pub jwks: Option<PathBuf>,

    /// Required iss of tokens. If unset, iss is not checked
    #[arg(long, env = "SIGNALBOX_JWT_ISSUER", value_name = "TEXT")]
    pub jwt_issuer: Option<String>,

    /// Audience that the aud of a token must equal or contain
    #[arg(long, env = "SIGNALBOX_JWT_AUDIENCE", default_value = "signalbox", value_name = "TEXT")]
    pub jwt_audience: String,

    /// Longest validity of a token, from nbf to exp; 1m to 366days
    #[arg(long, env = "SIGNALBOX_JWT_MAX_TTL", default_value = "24h", value_parser = duration, value_name = "TIME")]
    pub jwt_max_ttl: Duration,

    /// How long a session may outlive its token before the server ends it, at most 1h. Values below 10s also reduce the
    /// clock skew that the server tolerates when the issuer's clock is behind
    #[arg(long, env = "SIGNALBOX_JWT_GRACE", default_value = "25s", value_parser = duration, value_name = "TIME")]
    pub jwt_grace: Duration,

    /// Failed joins (wrong token, passcode or room) that a caller may make within --bad-join-window before it is
    /// rate-limited
    #[arg(long, env = "SIGNALBOX_MAX_BAD_JOINS", default_value = "10", value_name = "N")]
    pub max_bad_joins: u32,

    /// Time window of --max-bad-joins, and the longest wait of a rate-limited caller; 1s to 24h
    #[arg(long, env = "SIGNALBOX_BAD_JOIN_WINDOW", default_value = "30m", value_parser = duration, value_name = "TIME")]
    pub bad_join_window: Duration,

    /// Count the failed joins of callers without a valid token by address. Set false behind a proxy or tunnel on
    /// another machine, which hides their addresses. Default: all addresses except loopback
    #[arg(long, env = "SIGNALBOX_BAD_JOINS_BY_ADDRESS", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub bad_joins_by_address: Option<bool>,
}

impl AuthConfig {
    /// Checks the values, alone and in combination; the error names the setting to change. `is_local` means that other
    /// machines cannot reach the server.
    pub(super) fn check(&self, is_local: bool) -> Result<(), String> {
        let has_keys = self.jwt_secret.is_some() || !self.jwt_key.is_empty() || self.jwks.is_some();
        match self.auth {
            Auth::Jwt if !has_keys => {
                return Err("--auth jwt needs a key: add --jwt-secret, --jwt-key or --jwks".to_owned());
            }
            Auth::None if has_keys => {
                return Err("--jwt-secret, --jwt-key and --jwks have no effect without --auth jwt: add it".to_owned());
            }
            Auth::None if !self.allow_anonymous && !is_local => {
                return Err(
                    "--listen or --public-name lets other machines reach the server, and anyone could join any \
                            room: require tokens with --auth jwt, or accept that with --allow-anonymous"
                        .to_owned(),
                );
            }
            Auth::None | Auth::Jwt => {}
        }
        if self.jwt_secret.as_ref().is_some_and(|secret| secret.expose().len() < MIN_SECRET) {
            return Err(format!(
                "invalid --jwt-secret: use at least {MIN_SECRET} bytes, such as of openssl rand -hex 32"
            ));
        }
        if self.jwt_max_ttl < Duration::from_secs(60) || self.jwt_max_ttl > Duration::from_secs(366 * 24 * 3600) {
            return Err(invalid("--jwt-max-ttl", format_duration(self.jwt_max_ttl), "1m to 366days"));
        }
        if self.jwt_grace > Duration::from_secs(3600) {
            return Err(invalid("--jwt-grace", format_duration(self.jwt_grace), "at most 1h"));
        }
        if self.max_bad_joins == 0 {
            return Err(invalid("--max-bad-joins", 0, "at least 1"));
        }
        if self.bad_join_window < Duration::from_secs(1) || self.bad_join_window > Duration::from_secs(24 * 3600) {
            return Err(invalid("--bad-join-window", format_duration(self.bad_join_window), "1s to 24h"));
        }
        Ok(())
    }

    /// Reads the keys and creates the authenticator.
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
