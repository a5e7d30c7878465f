//! What a token grants: its claims, each checked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use signalbox_core::{TokenId, id::RoomName};

use crate::error::{Error, RoomError};

/// How far clocks may be apart.
pub const LEEWAY: Duration = Duration::from_secs(10);
/// Longest `sub` and `name`, in bytes: those of an identity and a display name.
pub(crate) const MAX_NAME: usize = 256;

/// What every token must be.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `iss`, where one is asked for.
    pub issuer: Option<String>,
    /// What `aud` must be or hold.
    pub audience: String,
    /// Longest time from `nbf` to `exp`.
    pub max_ttl: Duration,
    /// How long a session outlives its token, for one that is late with its renewal.
    pub grace: Duration,
}

/// What a token grants, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which token says so.
    pub token: TokenId,
    /// `sub`: the identity.
    pub subject: String,
    /// `name`: the display name.
    pub display_name: Option<String>,
    /// `room`: which rooms.
    pub rooms: RoomPattern,
    /// Whether it opens a session.
    pub can_join: bool,
    /// Whether the session may send application data.
    pub can_send_data: bool,
    /// Whether it opens the Rooms service.
    pub can_admin: bool,
    /// `nbf`, in seconds: when it was made.
    pub not_before: u64,
    /// `exp`.
    pub expires_at: SystemTime,
}

/// One room, or all whose names begin with something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomPattern {
    /// That room.
    Exact(RoomName),
    /// `*` at the end; alone, it is every room.
    Prefix(String),
}

impl RoomPattern {
    /// Reads a room's name, or the beginning of one and `*`.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(prefix) = text.strip_suffix('*') else {
            return RoomName::parse(text, "room").ok().map(Self::Exact);
        };
        // Whatever a name may begin with is a name itself.
        let fits = prefix.is_empty() || RoomName::parse(prefix, "room").is_ok();
        fits.then(|| Self::Prefix(prefix.to_owned()))
    }

    /// Whether a room is among them.
    pub fn matches(&self, room: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == room,
            Self::Prefix(prefix) => room.starts_with(prefix),
        }
    }
}

/// Checks the claims of a token whose signature is right.
pub(super) fn check(
    claims: &Map<String, Value>,
    token: TokenId,
    rules: &Rules,
    now: SystemTime,
) -> Result<Grant, Error> {
    match claims.get("aud") {
        Some(Value::String(audience)) if *audience == rules.audience => {}
        Some(Value::Array(several)) if is_among(several, &rules.audience) => {}
        _ => return Err(Error::TokenInvalid("its aud is missing or does not name this server's audience")),
    }
    if let Some(issuer) = &rules.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(Error::TokenInvalid("its iss is missing or not the one that this server trusts"));
    }
    let name = |claim| match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(name)) if name.len() <= MAX_NAME => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
        Some(_) => Err(Error::TokenInvalid("its sub and name must be texts of at most 256 bytes")),
    };
    let subject = name("sub")?.ok_or(Error::TokenInvalid("it must have a sub: who the token is for"))?;
    let display_name = name("name")?;
    let rooms = claims.get("room").and_then(Value::as_str).and_then(RoomPattern::parse);
    let rooms =
        rooms.ok_or(Error::TokenInvalid("it must have a room: a room's name, or the beginning of one and *"))?;
    let flag = |claim, default| match claims.get(claim) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(Error::TokenInvalid("its can_join, can_send_data and can_admin must be true or false")),
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

fn is_among(several: &[Value], audience: &str) -> bool {
    several.iter().all(Value::is_string) && several.iter().any(|one| one == audience)
}

/// Checks `nbf` and `exp`, and gives them. All in seconds, so that no sum of times can overflow.
fn check_times(claims: &Map<String, Value>, rules: &Rules, now: SystemTime) -> Result<(u64, SystemTime), Error> {
    let time = |claim, problem| claims.get(claim).and_then(Value::as_u64).ok_or(Error::TokenInvalid(problem));
    let expires = time("exp", "it must have an exp, in whole seconds since 1970")?;
    let not_before = time("nbf", "it must have an nbf, in whole seconds since 1970")?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if expires <= not_before || expires - not_before > rules.max_ttl.as_secs() {
        return Err(Error::TokenInvalid(
            "its exp must come after its nbf, by the longest time that this server allows",
        ));
    }
    if not_before > now.saturating_add(LEEWAY.as_secs()) {
        return Err(Error::TokenInvalid("its nbf is still to come: are the clocks right?"));
    }
    if expires.saturating_add(LEEWAY.as_secs()) <= now {
        return Err(RoomError::TokenExpired.into());
    }
    // Not beyond now + leeway + the longest time, as was checked.
    Ok((not_before, UNIX_EPOCH + Duration::from_secs(expires)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_room_or_a_beginning() {
        let matches = |pattern: &str, room: &str| RoomPattern::parse(pattern).expect("a pattern").matches(room);
        assert!(matches("demo", "demo") && !matches("demo", "demo2") && !matches("demo", "dem"));
        assert!(matches("team-*", "team-") && matches("team-*", "team-a") && !matches("team-*", "team"));
        assert!(matches("*", "demo"));
        for bad in ["", "**", "a*b", "*a", "a b", "a.b*", "ä*", &"a".repeat(65), &format!("{}*", "a".repeat(65))] {
            assert_eq!(RoomPattern::parse(bad), None, "{bad:?}");
        }
    }
}
