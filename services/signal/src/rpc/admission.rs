//! Who a caller is and what it may do: the token of a call, checked against what the call is about.

use std::{net::IpAddr, time::SystemTime};

use signalbox_proto::v1::Join;
use tonic::{Extensions, Request, metadata::MetadataMap};

use crate::{
    auth::{Authority, Caller, Grant, RoomPattern, TokenId},
    error::Error,
    hub::{LiveRoom, now},
    room::{Permit, id::RoomName},
    token::SessionToken,
};

/// How a token is sent.
const SCHEME: &str = "bearer ";

/// The address that a connection comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// What a call says about who makes it.
pub(super) struct Credentials {
    token: Result<Option<Box<str>>, Error>,
    peer: Option<Caller>,
}

impl Credentials {
    /// Those of a request.
    pub(super) fn of<T>(request: &Request<T>, authority: &Authority) -> Self {
        let token = if authority.asks_for_tokens() { token(request.metadata()) } else { Ok(None) };
        Self { token, peer: peer(request.extensions(), authority) }
    }

    /// The token, if there is one.
    fn token(&self) -> Result<Option<&str>, Error> {
        self.token.as_ref().map(Option::as_deref).map_err(Clone::clone)
    }

    /// What the token grants. `None`: none is asked for.
    fn grant(&self, authority: &Authority) -> Result<Option<Grant>, Error> {
        if !authority.asks_for_tokens() {
            return Ok(None);
        }
        match self.token()? {
            Some(token) => authority.check(token, SystemTime::now()),
            None => Err(Error::TokenInvalid("there is none; send it as authorization: Bearer TOKEN")),
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

fn peer(extensions: &Extensions, authority: &Authority) -> Option<Caller> {
    let Peer(address) = extensions.get::<Peer>()?;
    authority.tells_apart(*address).then(|| (*address).into())
}

/// Somebody whose join may be tried.
#[derive(Debug)]
pub(super) struct Admitted {
    grant: Option<Grant>,
    permit: Permit,
    caller: Option<Caller>,
    /// Whether it comes with a passcode: to ask for a room that needs one is no guess.
    has_passcode: bool,
}

/// Looks whether somebody may join a room, before anything is known of the room: what is refused here is refused in the
/// same way whether or not there is such a room. The identity and display name of the token are put into the join.
pub(super) fn admit(
    authority: &Authority,
    credentials: &Credentials,
    room: &RoomName,
    join: &mut Join,
) -> Result<Admitted, Error> {
    let may_try = |caller: &Option<Caller>| caller.as_ref().map_or(Ok(()), |caller| authority.may_try(now(), caller));
    let grant = match credentials.grant(authority) {
        Ok(Some(grant)) => grant,
        Ok(None) => {
            may_try(&credentials.peer)?;
            let has_passcode = !join.passcode.is_empty();
            let (permit, caller) = (Permit::default(), credentials.peer.clone());
            return Ok(Admitted { grant: None, permit, caller, has_passcode });
        }
        Err(error) => {
            // Whoever has a valid token is not held back by others at the same address.
            may_try(&credentials.peer)?;
            authority.failed(now(), credentials.peer.clone(), &error);
            return Err(error);
        }
    };
    let caller = Some(Caller::Subject(grant.subject.as_str().into()));
    may_try(&caller)?;
    if !grant.can_join || !grant.rooms.matches(room.as_str()) || authority.is_revoked(room, &grant) {
        authority.failed(now(), caller, &Error::RoomForbidden);
        return Err(Error::RoomForbidden);
    }
    if !join.identity.is_empty() && join.identity != grant.subject {
        return Err(Error::invalid("join.identity", "must be empty or the sub of the token"));
    }
    join.identity.clone_from(&grant.subject);
    if let Some(name) = &grant.display_name {
        join.display_name.clone_from(name);
    }
    let permit = permit(authority, &grant)?;
    Ok(Admitted { grant: Some(grant), permit, caller, has_passcode: !join.passcode.is_empty() })
}

impl Admitted {
    /// What the session may do.
    pub(super) fn permit(&self) -> Permit {
        self.permit.clone()
    }

    /// Looks at how the join went. An error that comes of a guess counts as one; and somebody who was removed while it
    /// was under way is not in.
    pub(super) fn confirm<T>(
        self,
        authority: &Authority,
        room: &RoomName,
        joined: Result<T, Error>,
    ) -> Result<T, Error> {
        let is_revoked = self.grant.is_some_and(|grant| authority.is_revoked(room, &grant));
        let joined = if is_revoked { Err(Error::RoomForbidden) } else { joined };
        if let Err(error) = &joined
            && (self.has_passcode || *error != Error::PasscodeWrong)
        {
            authority.failed(now(), self.caller, error);
        }
        joined
    }
}

/// What a session with such a token may do. Where sessions have less grace than tokens have leeway, a token can be good
/// and yet leave a session no time: it has expired then, or its session would be opened only to be ended.
fn permit(authority: &Authority, grant: &Grant) -> Result<Permit, Error> {
    let until = grant.expires_at + authority.grace();
    let left = until.duration_since(SystemTime::now()).map_err(|_| Error::TokenExpired)?;
    Ok(Permit {
        token: Some((grant.token, grant.begins)),
        until: Some(now() + left),
        may_send_data: grant.can_send_data,
        may_rename: grant.display_name.is_none(),
    })
}

/// Looks at the token that comes with a call of a session, if one does, and gives the permit that it renews the session
/// with. The token that the session goes by is not looked at again, so that a key may be taken away without breaking
/// sessions.
pub(super) fn renewal(
    authority: &Authority,
    credentials: &Credentials,
    session: &SessionToken,
    room: &LiveRoom,
) -> Result<Option<Permit>, Error> {
    let Some(token) = credentials.token()? else { return Ok(None) };
    let id = TokenId::of(token);
    let identity = room.with(|room| {
        let (permit, identity) = room.permit(session.member, &session.secret)?;
        let is_known = permit.token.is_some_and(|(known, _)| known == id);
        Ok::<_, Error>((!is_known).then(|| identity.to_owned()))
    })?;
    let Some(identity) = identity else { return Ok(None) };
    let Some(grant) = authority.check(token, SystemTime::now())? else { return Ok(None) };
    if grant.subject != identity {
        return Err(Error::invalid("authorization", "the token must be for the identity of the session"));
    }
    if !grant.can_join || !grant.rooms.matches(session.room.as_str()) || authority.is_revoked(&session.room, &grant) {
        return Err(Error::RoomForbidden);
    }
    permit(authority, &grant).map(Some)
}

/// Which rooms the token of a call lets it administer. `None`: no token is asked for.
pub(super) fn administers<T>(authority: &Authority, request: &Request<T>) -> Result<Option<RoomPattern>, Error> {
    match Credentials::of(request, authority).grant(authority)? {
        Some(grant) if grant.can_admin => Ok(Some(grant.rooms)),
        Some(_) => Err(Error::RoomForbidden),
        None => Ok(None),
    }
}

/// Checks that the token of a call lets it administer a room; an empty name stands for any.
pub(super) fn may_administer<T>(authority: &Authority, request: &Request<T>, room: &str) -> Result<(), Error> {
    let rooms = administers(authority, request)?;
    if rooms.is_none_or(|rooms| rooms.matches(room)) { Ok(()) } else { Err(Error::RoomForbidden) }
}
