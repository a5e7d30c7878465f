//! Identities that were removed from a room: tokens issued to them before that are invalid there, also those that they
//! have not used yet.

use std::{
    num::NonZeroUsize,
    time::{SystemTime, UNIX_EPOCH},
};

use lru::LruCache;
use parking_lot::Mutex;
use signalbox_core::id::RoomName;
use tracing::warn;

use super::claims::{Grant, LEEWAY, Rules};

/// Most removals that are remembered. Beyond it the oldest is forgotten.
const MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Revoked tokens: by room and subject, those whose `nbf` is not after this, in seconds. In order of revocation.
#[derive(Debug)]
pub(super) struct Revocations(Mutex<LruCache<(RoomName, Box<str>), u64>>);

impl Default for Revocations {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX)))
    }
}

impl Revocations {
    /// Revokes the tokens that were issued until now. `used_nbf` is that of the newest known one, in case the issuer's
    /// clock is ahead.
    pub(super) fn add(&self, room: &RoomName, subject: &str, used_nbf: u64, now: SystemTime, rules: &Rules) {
        let now = seconds(now);
        let key = (room.clone(), Box::from(subject));
        // `push` also returns the old value of the same key.
        let forgotten = self.0.lock().push(key.clone(), now.max(used_nbf)).filter(|(forgotten, _)| *forgotten != key);
        let longest = (rules.max_ttl + LEEWAY).as_secs();
        if forgotten.is_some_and(|(_, until)| until + longest > now) {
            warn!(max = MAX, "too many removed members to remember: tokens of the oldest are valid again");
        }
    }

    /// Whether a token was revoked for that room.
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
    fn tokens_from_before_a_removal_are_revoked_for_that_room_and_subject() {
        let revoked = Revocations::default();
        let room = |name| RoomName::parse(name, "room").expect("a name");
        revoked.add(&room("demo"), "ann", 5, at(NOW), &rules());
        assert!(revoked.contains(&room("demo"), &grant("ann", NOW)));
        assert!(!revoked.contains(&room("demo"), &grant("ann", NOW + 1)));
        assert!(!revoked.contains(&room("demo"), &grant("bob", NOW)));
        assert!(!revoked.contains(&room("other"), &grant("ann", NOW)));
        // A used token from an issuer whose clock is ahead.
        revoked.add(&room("demo"), "bob", NOW + 8, at(NOW), &rules());
        assert!(revoked.contains(&room("demo"), &grant("bob", NOW + 8)));
    }

    #[test]
    fn the_list_is_bounded_and_forgets_the_oldest() {
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
