//! ICE servers for members: STUN servers as configured, TURN servers with time-limited credentials.
//!
//! The credentials follow the TURN REST API (`use-auth-secret` in coturn): username `expiry:id`, credential
//! base64(HMAC-SHA1(secret, username)).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use prost_types::Timestamp;
use ring::hmac;
use signalbox_proto::v1::IceServer;

use crate::secret::Secret;

/// The configured ICE servers.
#[derive(Debug, Clone)]
pub struct IceConfig {
    /// `stun:` and `stuns:` URIs.
    pub stun: Vec<String>,
    /// `turn:` and `turns:` URIs.
    pub turn: Vec<String>,
    /// Secret shared with the TURN servers; required if `turn` is not empty.
    pub turn_secret: Option<Secret>,
    /// Validity of TURN credentials.
    pub turn_ttl: Duration,
}

impl IceConfig {
    /// Returns the delay until a member gets new TURN credentials, or `None` without TURN servers. `random` (0 to 1)
    /// spreads the delay, so that members do not refresh together.
    pub fn refresh_after(&self, random: f64) -> Option<Duration> {
        self.turn_secret.as_ref().filter(|_| !self.turn.is_empty())?;
        Some(self.turn_ttl.mul_f64(0.7 + 0.1 * random))
    }

    /// Returns the ICE servers for a member and the expiry of its credentials. `id` is opaque, so the TURN server can
    /// distinguish members but not identify them.
    pub fn servers_for(&self, id: &str, now: SystemTime) -> (Vec<IceServer>, Option<Timestamp>) {
        let mut servers = Vec::new();
        if !self.stun.is_empty() {
            servers.push(IceServer { urls: self.stun.clone(), ..IceServer::default() });
        }
        let Some(secret) = self.turn_secret.as_ref().filter(|_| !self.turn.is_empty()) else {
            return (servers, None);
        };
        let expires = now.duration_since(UNIX_EPOCH).unwrap_or_default() + self.turn_ttl;
        let username = format!("{}:{id}", expires.as_secs());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
        let credential = BASE64.encode(hmac::sign(&key, username.as_bytes()).as_ref());
        servers.push(IceServer { urls: self.turn.clone(), username, credential });
        let seconds = i64::try_from(expires.as_secs()).unwrap_or(i64::MAX);
        (servers, Some(Timestamp { seconds, nanos: 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_follow_the_turn_rest_scheme() {
        let config = IceConfig {
            stun: vec!["stun:stun.example.org".to_owned()],
            turn: vec!["turn:turn.example.org?transport=udp".to_owned()],
            turn_secret: Some(Secret::from("north")),
            turn_ttl: Duration::from_secs(600),
        };
        let (servers, expires) = config.servers_for("abc", UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        assert_eq!(servers[0].urls, ["stun:stun.example.org"]);
        assert_eq!(servers[1].username, "1000000600:abc");
        // The expected value is the output of `printf %s 1000000600:abc | openssl dgst -sha1 -hmac north -binary |
        // base64`.
        assert_eq!(servers[1].credential, "ZAdtXe8yka9PmVTUsp/CA2wwZW8=");
        assert_eq!(expires.map(|at| at.seconds), Some(1_000_000_600));
    }
}
