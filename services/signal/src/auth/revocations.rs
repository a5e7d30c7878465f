//! Revoked tokens. When a member is removed from a room, every token issued to it until then is invalid there, used or
//! not.

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
