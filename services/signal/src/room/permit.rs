//! What a session may do, and until when: as a token grants it, and a newer one renews it.

use std::time::Instant;

use signalbox_proto::v1::client_message::Body as Said;

use super::{
    Room,
    id::{MemberId, Secret},
};
use crate::{auth::TokenId, error::Error};

/// What a session may do, and until when.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The token that says so, and its `nbf`. `None`: there are no tokens here.
    pub token: Option<(TokenId, u64)>,
    /// When the session ends, unless it is renewed. `None`: never.
    pub until: Option<Instant>,
    /// Whether application data may be sent.
    pub may_send_data: bool,
    /// Whether the display name may be changed.
    pub may_rename: bool,
}

impl Default for Permit {
    /// Everything, for ever.
    fn default() -> Self {
        Self { token: None, until: None, may_send_data: true, may_rename: true }
    }
}

impl Permit {
    /// Whether its time is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether something may be said.
    pub(super) fn allows(&self, said: &Said) -> bool {
        match said {
            Said::Data(_) => self.may_send_data,
            Said::Update(update) => self.may_rename || update.display_name.is_none(),
            _ => true,
        }
    }
}

impl Room {
    /// The permit of a session, for whoever knows its secret, and its identity.
    pub fn permit(&self, id: MemberId, secret: &Secret) -> Result<(&Permit, &str), Error> {
        let session = self.sessions.get(&id).filter(|session| session.secret.matches(secret));
        session.map(|session| (&session.permit, session.member.identity.as_str())).ok_or(Error::SessionGone)
    }

    /// The identity of a member and the `nbf` of the token that its session goes by, where there is one.
    pub fn token_of(&self, id: MemberId) -> Option<(&str, u64)> {
        let session = self.sessions.get(&id)?;
        session.permit.token.map(|(_, begins)| (session.member.identity.as_str(), begins))
    }

    /// Renews a session. A permit that ends no later than the one it has changes nothing.
    pub fn renew(&mut self, id: MemberId, secret: &Secret, permit: Permit) -> Result<(), Error> {
        let session = self.session(id, secret)?;
        if permit.until > session.permit.until {
            session.permit = permit;
        }
        Ok(())
    }
}
