//! What a session may do and until when, as its token grants it. A newer token renews it.

use std::time::Instant;

use signalbox_proto::v1::client_message::Body as ClientBody;

use crate::{
    error::Error,
    id::{MemberId, Secret},
    room::Room,
};

/// Identifies a token: a hash of its signed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId(pub [u8; 32]);

/// What a session may do, and until when.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The token that grants it, and its `nbf` in seconds. `None` where the server uses no tokens.
    pub token: Option<(TokenId, u64)>,
    /// When the session ends, unless it is renewed. `None`: never.
    pub until: Option<Instant>,
    /// Whether the member may send application data.
    pub may_send_data: bool,
    /// Whether the member may change its display name.
    pub may_rename: bool,
}

impl Default for Permit {
    /// Everything, without end.
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
    /// The permit and the identity of a session, if `secret` is its secret.
    pub fn permit(&self, id: MemberId, secret: &Secret) -> Result<(&Permit, &str), Error> {
        let session = self.sessions.get(&id).filter(|session| session.secret.matches(secret));
        session.map(|session| (&session.permit, session.member.identity.as_str())).ok_or(Error::SessionGone)
    }

    /// The identity of a member and the `nbf` of its token, if it has one.
    pub fn token_of(&self, id: MemberId) -> Option<(&str, u64)> {
        let session = self.sessions.get(&id)?;
        session.permit.token.map(|(_, not_before)| (session.member.identity.as_str(), not_before))
    }

    /// Renews a session. A permit that ends no later than the current one changes nothing.
    pub fn renew(&mut self, id: MemberId, secret: &Secret, permit: Permit) -> Result<(), Error> {
        let session = self.session(id, secret)?;
        if permit.until > session.permit.until {
            session.permit = permit;
        }
        Ok(())
    }
}
