//! Revoked tokens. Removing a member from a room revokes every token issued to its identity until then, for this room
//! only.

#[cfg(test)]
mod tests;

use std::{
    num::NonZeroUsize,
    time::{SystemTime, UNIX_EPOCH},
};

use lru::LruCache;
use parking_lot::Mutex;
use signalbox_core::id::RoomName;
use tracing::warn;

use super::claims::{Grant, LEEWAY, Rules};

/// Maximum number of revocations. A further one evicts the oldest.
const MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Maps room and subject to a revocation time in seconds. Tokens with an `nbf` up to this time are revoked.
#[derive(Debug)]
pub(super) struct Revocations(Mutex<LruCache<(RoomName, Box<str>), u64>>);

impl Default for Revocations {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX)))
    }
}

impl Revocations {
    /// Revokes the tokens issued until now. If the issuer's clock is ahead, the revocation extends to `used_nbf`, the
    /// `nbf` of the newest known token.
    pub(super) fn add(&self, room: &RoomName, subject: &str, used_nbf: u64, now: SystemTime, rules: &Rules) {
        let now = seconds(now);
        let key = (room.clone(), Box::from(subject));
        // `push` returns an evicted entry, or the old value of the same key.
        let dropped = self.0.lock().push(key.clone(), now.max(used_nbf)).filter(|(dropped, _)| *dropped != key);
        let max_lifetime = (rules.max_ttl + LEEWAY).as_secs();
        if dropped.is_some_and(|(_, until)| until + max_lifetime > now) {
            warn!(
                max = MAX,
                "too many revocations: tokens of the oldest removed member are valid again; lower --jwt-max-ttl"
            );
        }
    }

    /// Returns whether the token of a grant is revoked for a room.
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
