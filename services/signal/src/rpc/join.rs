//! Opens and resumes sessions: checks a join or resume, attaches the stream, and builds its first message.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use prost_types::Timestamp;
use signalbox_core::{
    Frame, Limits, Newcomer, SessionStart, StreamKind,
    id::{MemberId, RoomName, Secret},
};
use signalbox_proto::v1::{
    self, Join, Member, Resume, Resumed, ServerMessage, Welcome, client_message::Body as ClientBody,
    server_message::Body, subscribe_request::Open,
};
use tonic::Status;

use super::admission::{self, Credentials};
use crate::{
    clock::now,
    context::Context,
    error::{Error, RoomError},
    rooms::{StreamGuard, member_view},
    session_token::SessionToken,
};

/// A stream attached to its session, and its first message.
pub(super) struct OpenStream {
    pub(super) stream: StreamGuard,
    pub(super) first: Frame,
}

/// Opens and resumes sessions.
pub(super) struct SessionOpener {
    pub(super) context: Arc<Context>,
}

impl SessionOpener {
    /// Opens or resumes a session from the first message of an `Exchange`.
    pub(super) async fn exchange(
        &self,
        credentials: &Credentials,
        body: Option<ClientBody>,
    ) -> Result<OpenStream, Status> {
        match body {
            Some(ClientBody::Join(join)) => self.join(credentials, join, StreamKind::Exchange).await,
            Some(ClientBody::Resume(resume)) => self.resume(credentials, &resume, StreamKind::Exchange),
            _ => Err(Error::invalid("body", "the first message of a stream must be join or resume").into()),
        }
    }

    /// Opens or resumes a session from the request of a `Subscribe`.
    pub(super) async fn subscribe(&self, credentials: &Credentials, open: Option<Open>) -> Result<OpenStream, Status> {
        match open {
            Some(Open::Join(join)) => self.join(credentials, join, StreamKind::Subscribe).await,
            Some(Open::Resume(resume)) => self.resume(credentials, &resume, StreamKind::Subscribe),
            None => Err(Error::invalid("open", "must be join or resume").into()),
        }
    }

    async fn join(&self, credentials: &Credentials, join: Join, kind: StreamKind) -> Result<OpenStream, Status> {
        let opened = self.try_join(credentials, join, kind).await;
        Ok(opened.inspect_err(|error| self.context.rejections.add_join(error))?)
    }

    async fn try_join(&self, credentials: &Credentials, mut join: Join, kind: StreamKind) -> Result<OpenStream, Error> {
        let Context { rooms, auth, memory, random, .. } = &*self.context;
        let name = check(&join, rooms.limits())?;
        let admitted = admission::admit(auth, credentials, &name, &mut join)?;
        if !memory.accepts_joins() {
            return Err(Error::ServerFull);
        }
        let (id, secret) = (MemberId::new(random.bits()), Secret::new(random.bits()));
        let member = Member {
            identity: join.identity,
            display_name: join.display_name,
            attributes: join.attributes,
            joined_at: Some(SystemTime::now().into()),
            ..Member::default()
        };
        let newcomer = Newcomer { id, secret, member, permit: admitted.permit() };
        let joined = rooms.join(&name, &join.passcode, newcomer, kind).await;
        let (stream, start, record) = admitted.confirm(auth, &name, joined)?;

        let (ice_servers, ice_expires_at) = self.ice_servers(id);
        let token = SessionToken { room: name, member: id, secret };
        let member_count = start.members.len() + 1;
        let welcome = Welcome {
            session_token: token.encode(),
            you: Some(start.you),
            room: Some(member_view(&record, member_count, rooms.defaults())),
            members: start.members,
            ice_servers,
            ice_expires_at,
            limits: Some(client_limits(rooms.limits())),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let first = ServerMessage { seq: start.seq, body: Some(Body::Welcome(welcome)), ..ServerMessage::default() };
        Ok(OpenStream { stream, first: Frame::new(&first) })
    }

    fn resume(&self, credentials: &Credentials, resume: &Resume, kind: StreamKind) -> Result<OpenStream, Status> {
        let resumed = self.try_resume(credentials, resume, kind);
        Ok(resumed.inspect_err(|error| self.context.rejections.add_resume(error))?)
    }

    fn try_resume(&self, credentials: &Credentials, resume: &Resume, kind: StreamKind) -> Result<OpenStream, Error> {
        let token = SessionToken::decode(&resume.session_token).ok_or(RoomError::SessionGone)?;
        let room = self.context.rooms.find(&token.room).ok_or(RoomError::SessionGone)?;
        let permit = admission::renewal(&self.context.auth, credentials, &token, &room)?;
        let start = room.with(|room| {
            let start = room.resume(now(), token.member, &token.secret, resume.after_seq, kind)?;
            if let Some(permit) = permit {
                room.renew(token.member, &token.secret, permit)?;
            }
            Ok::<_, RoomError>(start)
        })?;
        let stream = StreamGuard::new(room, token.member, start.generation, true);

        let SessionStart { seq, ack, replayed, members, .. } = start;
        let (ice_servers, ice_expires_at) = self.ice_servers(token.member);
        let resumed = Resumed { replayed, members, ice_servers, ice_expires_at };
        let first = ServerMessage { seq, ack, body: Some(Body::Resumed(resumed)), ..ServerMessage::default() };
        Ok(OpenStream { stream, first: Frame::new(&first) })
    }

    pub(super) fn ice_servers(&self, id: MemberId) -> (Vec<v1::IceServer>, Option<Timestamp>) {
        self.context.ice.servers_for(&id.to_string(), SystemTime::now())
    }
}

/// Validates every field of a join.
pub(super) fn check(join: &Join, limits: &Limits) -> Result<RoomName, Error> {
    let name = RoomName::parse(&join.room, "join.room")?;
    for (field, text) in [
        ("join.identity", &join.identity),
        ("join.display_name", &join.display_name),
        ("join.passcode", &join.passcode),
    ] {
        if text.len() > limits.name_bytes {
            return Err(Error::invalid(field, format!("must be at most {} bytes", limits.name_bytes)));
        }
    }
    check_map("join.attributes", &join.attributes, limits)?;
    Ok(name)
}

/// Checks the size of attributes or labels.
pub(super) fn check_map(field: &'static str, map: &HashMap<String, String>, limits: &Limits) -> Result<(), Error> {
    if limits.fits_map(map) {
        return Ok(());
    }
    let (bytes, entries) = (limits.attributes_bytes, limits.attributes);
    Err(Error::invalid(
        field,
        format!("must be at most {bytes} bytes (keys and values together) in at most {entries} entries"),
    ))
}

/// Builds the limits for `Welcome`.
fn client_limits(limits: &Limits) -> v1::Limits {
    v1::Limits {
        max_message_bytes: u32::try_from(limits.message_bytes).unwrap_or(u32::MAX),
        max_signals_per_second: limits.signals_per_second,
        resume_window: limits.resume_window.try_into().ok(),
        heartbeat_interval: limits.heartbeat_interval.try_into().ok(),
        max_unacked: limits.max_unacked,
    }
}
