//! Who may be in a room, and what may be said in it. Held against newcomers under the room's lock; who is in it already
//! stays, whatever the policy becomes.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use signalbox_proto::v1::{self, DuplicateIdentity, room_event::Event};

use super::{Newcomer, Phase, Room, id::MemberId};
use crate::error::Error;

/// The settings of a room that its live state goes by.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Seats; suspended members keep theirs.
    pub max_members: u32,
    /// Nobody new may join.
    pub locked: bool,
    /// What happens when an identity joins again.
    pub duplicate_identity: DuplicateIdentity,
    /// The hash that a newcomer's passcode has to fit. The room only compares hashes: to try a passcode takes too long
    /// for its lock.
    pub passcode_hash: Option<Arc<str>>,
    /// Addresses of members are kept from each other: see [`relay`](super::relay).
    pub relay_only: bool,
    /// Identities that may not join, and until when.
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
    /// The hash that a newcomer's passcode has yet to be tried against; `proven` is the one that it was found to fit.
    pub fn passcode_to_prove(&self, proven: Option<&Arc<str>>) -> Option<Arc<str>> {
        // Whoever is refused anyway need not be tried.
        let needed = self.policy.passcode_hash.as_ref().filter(|_| self.phase == Phase::Open && !self.policy.locked);
        needed.filter(|needed| proven != Some(needed)).cloned()
    }

    /// Checks whether a newcomer may join; says whose place it takes. Who does not know the passcode is told nothing
    /// about who is in the room.
    pub(super) fn admit(&self, now: Instant, newcomer: &Newcomer) -> Result<Option<MemberId>, Error> {
        if self.policy.locked {
            return Err(Error::RoomLocked);
        }
        if self.passcode_to_prove(newcomer.proven.as_ref()).is_some() {
            return Err(Error::PasscodeWrong);
        }
        let identity = newcomer.member.identity.as_str();
        if !identity.is_empty() && self.policy.bans.get(identity).is_some_and(|until| *until > now) {
            return Err(Error::Banned);
        }
        let replaced = self.find_replaced(identity)?;
        let seats_taken = self.sessions.len() - usize::from(replaced.is_some());
        if seats_taken >= self.policy.max_members as usize {
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

    /// Changes the policy, from the next newcomer and the next signal on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Tells those who watch how the room's settings are now.
    pub fn settings_changed(&mut self, now: Instant, settings: v1::Room) {
        self.tell(now, 0, Event::RoomUpdated(settings));
    }
}
