//! Authentication and authorization of callers: checks the token of a call against its room and session.

use std::time::SystemTime;

use signalbox_core::{Permit, id::RoomName};
use signalbox_proto::v1::Join;
use tonic::{Request, metadata::MetadataMap};

use crate::{
    auth::{Authenticator, Grant, RoomPattern, token_id},
    clock::now,
    error::{Error, RoomError},
    limits::Caller,
    net::RemoteAddr,
    rooms::LiveRoom,
    session_token::SessionToken,
};

/// The authentication scheme that precedes the token (RFC 6750, section 2.1).
const SCHEME: &str = "bearer ";

/// The credentials of a call.
pub(super) struct Credentials {
    token: Result<Option<Box<str>>, Error>,
    /// The caller at the remote address, if the address identifies a caller.
    caller: Option<Caller>,
}

impl Credentials {
    /// Reads the credentials of a request.
    pub(super) fn of<T>(request: &Request<T>, auth: &Authenticator) -> Self {
        let token = if auth.requires_tokens() { token(request.metadata()) } else { Ok(None) };
        let address = request.extensions().get::<RemoteAddr>();
        Self { token, caller: address.and_then(|RemoteAddr(address)| auth.caller_at(*address)) }
    }

    fn token(&self) -> Result<Option<&str>, Error> {
        self.token.as_ref().map(Option::as_deref).map_err(Clone::clone)
    }

    /// Verifies the token and returns its grant. Returns `None` if the server requires no tokens.
    fn grant(&self, auth: &Authenticator) -> Result<Option<Grant>, Error> {
        if !auth.requires_tokens() {
            return Ok(None);
        }
        match self.token()? {
            Some(token) => auth.check(token, SystemTime::now()),
            None => Err(Error::TokenInvalid("missing; send it as authorization: Bearer TOKEN")),
        }
    }
}

fn token(metadata: &MetadataMap) -> Result<Option<Box<str>>, Error> {
    let mut values = metadata.get_all("authorization").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let several = metadata.get("authorization").is_some();
        return if several { Err(Error::TokenInvalid("there is more than one authorization")) } else { Ok(None) };
    };
    let value = value.to_str().unwrap_or_default();
    match value.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => Ok(Some(token.into())),
        _ => Err(Error::TokenInvalid("authorization must be Bearer TOKEN")),
    }
}

/// A caller that may attempt a join.
#[derive(Debug)]
pub(super) struct Admitted {
    grant: Option<Grant>,
    permit: Permit,
    caller: Option<Caller>,
    /// Whether the join contains a passcode. A missing passcode does not count as a failed attempt.
    has_passcode: bool,
}

/// Checks whether a caller may attempt a join, and copies the token's identity and display name into the join. It reads
/// nothing about the room, so that a rejection does not reveal whether the room exists.
pub(super) fn admit(
    auth: &Authenticator,
    credentials: &Credentials,
    room: &RoomName,
    join: &mut Join,
) -> Result<Admitted, Error> {
    let check_attempt =
        |caller: &Option<Caller>| caller.as_ref().map_or(Ok(()), |caller| auth.check_attempt(now(), caller));
    let has_passcode = !join.passcode.is_empty();
    let grant = match credentials.grant(auth) {
        Ok(Some(grant)) => grant,
        Ok(None) => {
            check_attempt(&credentials.caller)?;
            let (permit, caller) = (Permit::default(), credentials.caller.clone());
            return Ok(Admitted { grant: None, permit, caller, has_passcode });
        }
        Err(error) => {
            // Apply the address limit only to callers without a valid token, so that they cannot throttle others at the
            // same address.
            check_attempt(&credentials.caller)?;
            auth.add_failure(now(), credentials.caller.clone(), &error);
            return Err(error);
        }
    };
    let caller = Some(Caller::Subject(grant.subject.as_str().into()));
    check_attempt(&caller)?;
    if !grant.can_join || !grant.rooms.matches(room.as_str()) || auth.is_revoked(room, &grant) {
        auth.add_failure(now(), caller, &Error::RoomForbidden);
        return Err(Error::RoomForbidden);
    }
    if !join.identity.is_empty() && join.identity != grant.subject {
        return Err(Error::invalid("join.identity", "must be empty or the sub of the token"));
    }
    join.identity.clone_from(&grant.subject);
    if let Some(name) = &grant.display_name {
        join.display_name.clone_from(name);
    }
    let permit = permit(auth, &grant)?;
    Ok(Admitted { grant: Some(grant), permit, caller, has_passcode })
}

impl Admitted {
    /// Returns the permit of the new session.
    pub(super) fn permit(&self) -> Permit {
        self.permit.clone()
    }

    /// Records a failed join attempt. Rejects the join if the token was revoked in the meantime.
    pub(super) fn confirm<T>(
        self,
        auth: &Authenticator,
        room: &RoomName,
        joined: Result<T, Error>,
    ) -> Result<T, Error> {
        let is_revoked = self.grant.is_some_and(|grant| auth.is_revoked(room, &grant));
        let joined = if is_revoked { Err(Error::RoomForbidden) } else { joined };
        if let Err(error) = &joined
            && (self.has_passcode || *error != RoomError::PasscodeWrong.into())
        {
            auth.add_failure(now(), self.caller, error);
        }
        joined
    }
}

/// Builds the permit that a token grants. Rejects a token that is valid only through clock leeway and leaves the
/// session no time.
fn permit(auth: &Authenticator, grant: &Grant) -> Result<Permit, Error> {
    let until = grant.expires_at + auth.grace();
    let left = until.duration_since(SystemTime::now()).map_err(|_| RoomError::TokenExpired)?;
    Ok(Permit {
        token: Some((grant.token, grant.not_before)),
        until: Some(now() + left),
        may_send_data: grant.can_send_data,
        may_rename: grant.display_name.is_none(),
    })
}

/// Returns the new permit of a session if a call carries a new token. The session's current token is not verified
/// again, so that removing a key breaks no sessions.
pub(super) fn renewal(
    auth: &Authenticator,
    credentials: &Credentials,
    session: &SessionToken,
    room: &LiveRoom,
) -> Result<Option<Permit>, Error> {
    let Some(token) = credentials.token()? else { return Ok(None) };
    let id = token_id(token);
    let identity = room.peek(|room| {
        let (permit, identity) = room.permit(session.member, &session.secret)?;
        let is_current = permit.token.is_some_and(|(current, _)| current == id);
        Ok::<_, Error>((!is_current).then(|| identity.to_owned()))
    })?;
    let Some(identity) = identity else { return Ok(None) };
    let Some(grant) = auth.check(token, SystemTime::now())? else { return Ok(None) };
    if grant.subject != identity {
        return Err(Error::invalid("authorization", "the token must be for the identity of the session"));
    }
    if !grant.can_join || !grant.rooms.matches(session.room.as_str()) || auth.is_revoked(&session.room, &grant) {
        return Err(Error::RoomForbidden);
    }
    permit(auth, &grant).map(Some)
}

/// Returns the rooms that a caller may administer. `None` means all, because the server requires no tokens.
pub(super) fn administered_rooms<T>(auth: &Authenticator, request: &Request<T>) -> Result<Option<RoomPattern>, Error> {
    match Credentials::of(request, auth).grant(auth)? {
        Some(grant) if grant.can_admin => Ok(Some(grant.rooms)),
        Some(_) => Err(Error::RoomForbidden),
        None => Ok(None),
    }
}
