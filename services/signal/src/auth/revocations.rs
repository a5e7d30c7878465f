//! Revoked tokens. When a member is removed from a room, every token issued to it until then is invalid there, used or
//! not.

use std::{
    num::NonZeroUsize,
    time::{SystemTime, UNIX_EPOCH},
};

use lru::LruCache;
use parking_lot::Mutex;
use signalbox_core::id::RoomName;
use tracing::warn;

use super::claims::{Grant, LEEWAY, Rules};

/// Maximum number of revocations. Beyond it the oldest is dropped.
const MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// By room and subject, in order of revocation: a time in seconds. Tokens whose `nbf` is not later are revoked.
#[derive(Debug)]
pub(super) struct Revocations(Mutex<LruCache<(RoomName, Box<str>), u64>>);

impl Default for Revocations {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX)))
    }
}

impl Revocations {
    /// Revokes the tokens issued until now. `used_nbf` is the `nbf` of the newest known one, in case the issuer's clock
    /// is ahead.
    pub(super) fn add(&self, room: &RoomName, subject: &str, used_nbf: u64, now: SystemTime, rules: &Rules) {
        let now = seconds(now);
        let key = (room.clone(), Box::from(subject));
        // `push` also returns the old value of the same key.
        let dropped = self.0.lock().push(key.clone(), now.max(used_nbf)).filter(|(dropped, _)| *dropped != key);
        let max_lifetime = (rules.max_ttl + LEEWAY).as_secs();
        if dropped.is_some_and(|(_, until)| until + max_lifetime > now) {
            warn!(
                max = MAX,
                "too many revocations: tokens of the oldest removed member are valid again; lower --jwt-max-ttl"
            );
        }
    }

    /// Whether a token is revoked for that room.
    pub(super) fn contains(&self, room: &RoomName, grant: &Grant) -> bool {
        let revoked = self.0.lock();
        if revoked.is_empty() {
            return false;
        }
        let key = (room.clone(), grant.subject.as_str().into());
        revoked.peek(&key).is_some_and(|until| grant.not_before <= *until)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{RoomPattern, token_id};

    const NOW: u64 = 1_000_000;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn grant(subject: &str, not_before: u64) -> Grant {
        Grant {
            token: token_id(subject),
            subject: subject.to_owned(),
            display_name: None,
            rooms: RoomPattern::Prefix(String::new()),
            can_join: true,
            can_send_data: true,
            can_admin: false,
            not_before,
            expires_at: at(not_before + 60),
        }
    }

    fn rules() -> Rules {
        Rules { issuer: None, audience: String::new(), max_ttl: Duration::from_secs(3600), grace: Duration::ZERO }
    }

    #[test]
    fn earlier_tokens_are_revoked_for_that_room_and_subject() {
        let revoked = Revocations::default();
        let room = |name| RoomName::parse(name, "room").expect("a name");
        revoked.add(&room("demo"), "ann", 5, at(NOW), &rules());
        assert!(revoked.contains(&room("demo"), &grant("ann", NOW)));
        assert!(!revoked.contains(&room("demo"), &grant("ann", NOW + 1)));
        assert!(!revoked.contains(&room("demo"), &grant("bob", NOW)));
        assert!(!revoked.contains(&room("other"), &grant("ann", NOW)));
        // A used token of an issuer whose clock is ahead.
        revoked.add(&room("demo"), "bob", NOW + 8, at(NOW), &rules());
        assert!(revoked.contains(&room("demo"), &grant("bob", NOW + 8)));
    }

    #[test]
    fn list_is_bounded_and_drops_the_oldest() {
        let revoked = Revocations::default();
        let room = RoomName::parse("demo", "room").expect("a name");
        let contains = |n: usize| revoked.contains(&room, &grant(&n.to_string(), 0));
        for n in 0..MAX.get() {
            revoked.add(&room, &n.to_string(), 0, at(NOW), &rules());
        }
        // A second removal makes the first one the newest.
        revoked.add(&room, "0", 0, at(NOW + 1), &rules());
        assert!(contains(0) && contains(1) && contains(MAX.get() - 1));
        revoked.add(&room, &MAX.to_string(), 0, at(NOW + 2), &rules());
        assert!(contains(0) && !contains(1) && contains(2) && contains(MAX.get()));
    }
}
