//! Checks the claims of a token and converts them into a grant.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use signalbox_core::{TokenId, id::RoomName};

use crate::error::{Error, RoomError};

/// Tolerated clock skew between issuer and server.
pub const LEEWAY: Duration = Duration::from_secs(10);
/// Longest `sub` and `name`, in bytes. Identities and display names have the same limit.
pub(crate) const MAX_NAME: usize = 256;

const NAME_INVALID: &str = "sub and name must be strings of at most 256 bytes";

/// The server's requirements for a token.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Required `iss`. `None` disables the check.
    pub issuer: Option<String>,
    /// Required audience: `aud` must equal or contain it.
    pub audience: String,
    /// Longest time from `nbf` to `exp`.
    pub max_ttl: Duration,
    /// How long a session may outlive its token, so that a late renewal still succeeds.
    pub grace: Duration,
}

/// The permissions that a token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The id of the token.
    pub token: TokenId,
    /// The identity (`sub`).
    pub subject: String,
    /// The display name (`name`).
    pub display_name: Option<String>,
    /// The rooms for which the token is valid (`room`).
    pub rooms: RoomPattern,
    /// Whether the token permits joins (`can_join`).
    pub can_join: bool,
    /// Whether the token permits application data (`can_send_data`).
    pub can_send_data: bool,
    /// Whether the token permits calls of `Rooms` (`can_admin`).
    pub can_admin: bool,
    /// Start of validity (`nbf`), in seconds since 1970.
    pub not_before: u64,
    /// End of validity (`exp`).
    pub expires_at: SystemTime,
}

/// Matches one room, or all rooms whose names start with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomPattern {
    /// The room with this name.
    Exact(RoomName),
    /// All rooms whose names start with this prefix, written as `PREFIX*`. The empty prefix matches every room.
    Prefix(String),
}

impl RoomPattern {
    /// Parses a room name, or a prefix followed by `*`.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(prefix) = text.strip_suffix('*') else {
            return RoomName::parse(text, "room").ok().map(Self::Exact);
        };
        // Every non-empty prefix of a room name is itself a valid room name.
        let fits = prefix.is_empty() || RoomName::parse(prefix, "room").is_ok();
        fits.then(|| Self::Prefix(prefix.to_owned()))
    }

    /// Returns whether the pattern matches a room.
    pub fn matches(&self, room: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == room,
            Self::Prefix(prefix) => room.starts_with(prefix),
        }
    }
}

/// Checks the claims of a token whose signature is valid.
pub(super) fn check(
    claims: &Map<String, Value>,
    token: TokenId,
    rules: &Rules,
    now: SystemTime,
) -> Result<Grant, Error> {
    match claims.get("aud") {
        Some(Value::String(audience)) if *audience == rules.audience => {}
        Some(Value::Array(audiences)) if contains_audience(audiences, &rules.audience) => {}
        _ => return Err(Error::TokenInvalid("aud is missing or wrong: use the audience of this server")),
    }
    if let Some(issuer) = &rules.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(Error::TokenInvalid("iss is missing or wrong: use the issuer that this server trusts"));
    }
    let name = |claim| match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(name)) if name.len() <= MAX_NAME => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
        Some(_) => Err(Error::TokenInvalid(NAME_INVALID)),
    };
    let subject = name("sub")?.ok_or(Error::TokenInvalid("sub is missing: use the identity of the member"))?;
    let display_name = name("name")?;
    let rooms = claims.get("room").and_then(Value::as_str).and_then(RoomPattern::parse);
    let rooms =
        rooms.ok_or(Error::TokenInvalid("room is missing or invalid: use a room name, or a prefix followed by *"))?;
    let flag = |claim, default| match claims.get(claim) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Error::TokenInvalid("can_join, can_send_data and can_admin must be true or false")),
    };
    let (not_before, expires_at) = check_times(claims, rules, now)?;
    Ok(Grant {
        token,
        subject,
        display_name,
        rooms,
        can_join: flag("can_join", true)?,
        can_send_data: flag("can_send_data", true)?,
        can_admin: flag("can_admin", false)?,
        not_before,
        expires_at,
    })
}

fn contains_audience(audiences: &[Value], audience: &str) -> bool {
    audiences.iter().all(Value::is_string) && audiences.iter().any(|one| one == audience)
}

/// Checks `nbf` and `exp` and returns both. Integer seconds avoid the overflow panic of `SystemTime` arithmetic.
fn check_times(claims: &Map<String, Value>, rules: &Rules, now: SystemTime) -> Result<(u64, SystemTime), Error> {
    let time = |claim, problem| claims.get(claim).and_then(Value::as_u64).ok_or(Error::TokenInvalid(problem));
    let expires = time("exp", "exp is missing or invalid: use whole seconds since 1970")?;
    let not_before = time("nbf", "nbf is missing or invalid: use whole seconds since 1970")?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if expires <= not_before || expires - not_before > rules.max_ttl.as_secs() {
        return Err(Error::TokenInvalid("exp must be later than nbf, by at most the validity that this server allows"));
    }
    if not_before > now.saturating_add(LEEWAY.as_secs()) {
        return Err(Error::TokenInvalid("nbf is in the future: check the clocks of the issuer and the server"));
    }
    if expires.saturating_add(LEEWAY.as_secs()) <= now {
        return Err(RoomError::TokenExpired.into());
    }
    // This addition cannot overflow: the checks above bound `exp` by now + `LEEWAY` + `max_ttl`.
    Ok((not_before, UNIX_EPOCH + Duration::from_secs(expires)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_match_the_limits() {
        assert!(NAME_INVALID.contains(&format!(" {MAX_NAME} bytes")));
    }

    #[test]
    fn a_pattern_is_a_room_or_a_prefix() {
        let matches = |pattern: &str, room: &str| RoomPattern::parse(pattern).expect("a pattern").matches(room);
        assert!(matches("demo", "demo") && !matches("demo", "demo2") && !matches("demo", "dem"));
        assert!(matches("team-*", "team-") && matches("team-*", "team-a") && !matches("team-*", "team"));
        assert!(matches("*", "demo"));
        for bad in ["", "**", "a*b", "*a", "a b", "a.b*", "ä*", &"a".repeat(65), &format!("{}*", "a".repeat(65))] {
            assert_eq!(RoomPattern::parse(bad), None, "{bad:?}");
        }
    }
}
