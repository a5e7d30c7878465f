//! Who may join a room. A policy change never removes members.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use signalbox_proto::v1::DuplicateIdentity;

use crate::{
    error::Error,
    id::MemberId,
    room::{Phase, Room},
};

/// The settings that govern a live room.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Maximum number of members, including suspended ones.
    pub max_members: u32,
    /// Whether the room rejects new members.
    pub locked: bool,
    /// How the room handles an identity that joins again.
    pub duplicate_identity: DuplicateIdentity,
    /// The hash of the room's passcode. The room only compares hashes, because hashing takes too long under its lock.
    pub passcode_hash: Option<Arc<str>>,
    /// Whether the room hides members' addresses from each other; see [`relay`](crate::relay).
    pub relay_only: bool,
    /// Banned identities, and when each ban ends.
    pub bans: BTreeMap<String, Instant>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_members: 64,
            locked: false,
            duplicate_identity: DuplicateIdentity::Replace,
            passcode_hash: None,
            relay_only: false,
            bans: BTreeMap::new(),
        }
    }
}

impl Room {
    /// Returns the hash against which the caller must verify the newcomer's passcode. `verified` is the hash that the
    /// passcode has already matched.
    pub fn required_passcode_hash(&self, verified: Option<&Arc<str>>) -> Option<Arc<str>> {
        // A locked, draining or retired room rejects the join anyway, so hashing would be wasted.
        let required = self.policy.passcode_hash.as_ref().filter(|_| self.phase == Phase::Open && !self.policy.locked);
        required.filter(|required| verified != Some(required)).cloned()
    }

    /// Checks whether a newcomer may join. Returns the member that it replaces, if any.
    pub(crate) fn admit(
        &self,
        now: Instant,
        identity: &str,
        verified_hash: Option<&Arc<str>>,
    ) -> Result<Option<MemberId>, Error> {
        if self.policy.locked {
            return Err(Error::RoomLocked);
        }
        // Check the passcode before anything that would reveal who is in the room.
        if self.required_passcode_hash(verified_hash).is_some() {
            return Err(Error::PasscodeWrong);
        }
        if !identity.is_empty() && self.policy.bans.get(identity).is_some_and(|until| *until > now) {
            return Err(Error::Banned);
        }
        let replaced = self.find_replaced(identity)?;
        let members = self.sessions.len() - usize::from(replaced.is_some());
        if members >= self.policy.max_members as usize {
            return Err(Error::RoomFull(self.policy.max_members));
        }
        Ok(replaced)
    }

    fn find_replaced(&self, identity: &str) -> Result<Option<MemberId>, Error> {
        if identity.is_empty() || self.policy.duplicate_identity == DuplicateIdentity::Allow {
            return Ok(None);
        }
        let same = self.sessions.iter().find(|(_, session)| session.member.identity == identity).map(|(id, _)| *id);
        match same {
            Some(_) if self.policy.duplicate_identity == DuplicateIdentity::Reject => Err(Error::IdentityTaken),
            same => Ok(same),
        }
    }

    /// Replaces the policy. The change applies from the next join and the next signal.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }
}
