//! Identities that were removed from a room: tokens that were made for them before that are worth nothing there any
//! more, also those that were never shown.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::warn;

use super::claims::{Grant, LEEWAY, Rules};
use crate::room::id::RoomName;

/// Most removals that are remembered; beyond it the oldest is forgotten.
const MAX: usize = 10_000;

/// Which tokens were revoked: by room and subject, those whose `nbf` is not after this, in seconds.
#[derive(Debug, Default)]
pub(super) struct Revoked(Mutex<HashMap<(RoomName, Box<str>), u64>>);

impl Revoked {
    /// Revokes what was made until now. `shown_nbf` is that of the newest token known, should its maker's clock be ahead.
    pub(super) fn add(&self, room: &RoomName, subject: &str, shown_nbf: u64, now: SystemTime, rules: &Rules) {
        let now = seconds(now);
        let mut removals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if removals.len() >= MAX {
            // Every token that they are about has expired.
            let longest = (rules.max_ttl + LEEWAY).as_secs();
            removals.retain(|_, until| *until + longest > now);
        }
        if removals.len() >= MAX
            && let Some(oldest) = removals.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone())
        {
            removals.remove(&oldest);
            warn!(most = MAX, "too many removed members to remember: a token of the first one is good again");
        }
        removals.insert((room.clone(), subject.into()), now.max(shown_nbf));
    }

    /// Whether a token was revoked for that room.
    pub(super) fn has(&self, room: &RoomName, grant: &Grant) -> bool {
        let removals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if removals.is_empty() {
            return false;
        }
        let key = (room.clone(), grant.subject.as_str().into());
        removals.get(&key).is_some_and(|until| grant.begins <= *until)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{RoomPattern, TokenId};

    const NOW: u64 = 1_000_000;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn grant(subject: &str, begins: u64) -> Grant {
        Grant {
            token: TokenId::of(subject),
            subject: subject.to_owned(),
            display_name: None,
            rooms: RoomPattern::Prefix(String::new()),
            can_join: true,
            can_send_data: true,
            can_admin: false,
            begins,
            expires_at: at(begins + 60),
        }
    }

    fn rules() -> Rules {
        Rules { issuer: None, audience: String::new(), max_ttl: Duration::from_secs(3600), grace: Duration::ZERO }
    }

    #[test]
    fn what_was_made_before_a_removal_is_revoked_for_that_room_and_subject() {
        let revoked = Revoked::default();
        let room = |name| RoomName::parse(name, "room").expect("a name");
        revoked.add(&room("demo"), "ann", 5, at(NOW), &rules());
        assert!(revoked.has(&room("demo"), &grant("ann", NOW)));
        assert!(!revoked.has(&room("demo"), &grant("ann", NOW + 1)));
        assert!(!revoked.has(&room("demo"), &grant("bob", NOW)));
        assert!(!revoked.has(&room("other"), &grant("ann", NOW)));
        // The token that was shown, by a clock that is ahead.
        revoked.add(&room("demo"), "bob", NOW + 8, at(NOW), &rules());
        assert!(revoked.has(&room("demo"), &grant("bob", NOW + 8)));
    }

    #[test]
    fn the_list_is_bounded_and_forgets_what_has_expired_or_is_oldest() {
        let revoked = Revoked::default();
        let room = RoomName::parse("demo", "room").expect("a name");
        let has = |n: usize| revoked.has(&room, &grant(&n.to_string(), 0));
        for n in 0..MAX {
            revoked.add(&room, &n.to_string(), 0, at(NOW + n as u64 / 5000), &rules());
        }
        assert!(has(0) && has(MAX - 1));
        revoked.add(&room, &MAX.to_string(), 0, at(NOW + 2), &rules());
        assert_eq!((0..=MAX).filter(|n| has(*n)).count(), MAX);
        assert!(has(MAX - 1) && has(MAX));
        // An hour later the tokens of the first ones have expired.
        revoked.add(&room, "late", 0, at(NOW + 3611), &rules());
        assert!(!has(0) && !has(MAX - 1) && has(MAX));
    }
}
