//! Permits: what a session may do, and until when. A token grants a permit, and a newer token renews it.

use std::time::Instant;

use signalbox_proto::v1::client_message::Body as ClientBody;

use crate::{
    error::Error,
    id::{MemberId, Secret},
    room::Room,
};

/// A hash of a token's signed part, which identifies the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId(pub [u8; 32]);

/// What a session may do, and until when.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The token that grants the permit, and its `nbf` in seconds. `None` if the server requires no tokens.
    pub token: Option<(TokenId, u64)>,
    /// When the permit expires and the session ends. `None` if it never expires.
    pub until: Option<Instant>,
    /// Whether the member may send application data.
    pub may_send_data: bool,
    /// Whether the member may change its display name.
    pub may_rename: bool,
}

impl Default for Permit {
    /// Grants everything and never expires.
    fn default() -> Self {
        Self { token: None, until: None, may_send_data: true, may_rename: true }
    }
}

impl Permit {
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    pub(crate) fn allows(&self, body: &ClientBody) -> bool {
        match body {
            ClientBody::Data(_) => self.may_send_data,
            ClientBody::Update(update) => self.may_rename || update.display_name.is_none(),
            _ => true,
        }
    }
}

impl Room {
    /// Returns the permit and the identity of a session after checking its secret.
    pub fn permit(&self, id: MemberId, secret: &Secret) -> Result<(&Permit, &str), Error> {
        let session = self.sessions.get(&id).filter(|session| session.secret.matches(secret));
        session.map(|session| (&session.permit, session.member.identity.as_str())).ok_or(Error::SessionGone)
    }

    /// Returns the identity of a member and the `nbf` of its token, if it has a token.
    pub fn token_of(&self, id: MemberId) -> Option<(&str, u64)> {
        let session = self.sessions.get(&id)?;
        session.permit.token.map(|(_, not_before)| (session.member.identity.as_str(), not_before))
    }

    /// Replaces the permit of a session if the new one expires later.
    pub fn renew(&mut self, id: MemberId, secret: &Secret, permit: Permit) -> Result<(), Error> {
        let session = self.session(id, secret)?;
        if permit.until > session.permit.until {
            session.permit = permit;
        }
        Ok(())
    }
}
