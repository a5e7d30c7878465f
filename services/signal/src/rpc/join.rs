//! How a stream gets its session: checks a join or resume, opens the session, and makes the first message.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use prost_types::Timestamp;
use signalbox_proto::v1::{
    self, Join, Member, Resume, Resumed, ServerMessage, Welcome, client_message::Body as Said, server_message::Body,
    subscribe_request::Open,
};
use tonic::Status;

use super::admission::{self, Credentials};
use crate::{
    error::Error,
    hub::{Hub, Seat, describe, now},
    ice::IceConfig,
    limit::Limits,
    room::{
        Carrier, Frame, Newcomer, Opened,
        id::{MemberId, RoomName, Secret},
        map_fits,
    },
    token::SessionToken,
};

/// What a stream starts with.
pub(super) struct Opening {
    pub(super) seat: Seat,
    pub(super) first: Frame,
}

/// Opens sessions.
pub(super) struct Reception {
    pub(super) hub: Arc<Hub>,
    pub(super) ice: IceConfig,
}

impl Reception {
    /// Takes the first message of an `Exchange`.
    pub(super) async fn exchange(&self, who: &Credentials, body: Option<Said>) -> Result<Opening, Status> {
        match body {
            Some(Said::Join(join)) => self.join(who, join, Carrier::Exchange).await,
            Some(Said::Resume(resume)) => self.resume(who, &resume, Carrier::Exchange),
            _ => Err(Error::invalid("body", "the first message of a stream must be join or resume").into()),
        }
    }

    /// Takes the request of a `Subscribe`.
    pub(super) async fn subscribe(&self, who: &Credentials, open: Option<Open>) -> Result<Opening, Status> {
        match open {
            Some(Open::Join(join)) => self.join(who, join, Carrier::Subscribe).await,
            Some(Open::Resume(resume)) => self.resume(who, &resume, Carrier::Subscribe),
            None => Err(Error::invalid("open", "must be join or resume").into()),
        }
    }

    async fn join(&self, who: &Credentials, join: Join, carrier: Carrier) -> Result<Opening, Status> {
        let opened = self.open(who, join, carrier).await;
        Ok(opened.inspect_err(|error| self.hub.refusals().join(error))?)
    }

    async fn open(&self, who: &Credentials, mut join: Join, carrier: Carrier) -> Result<Opening, Error> {
        let name = check(&join, self.hub.limits())?;
        let authority = self.hub.authority();
        let admitted = admission::admit(authority, who, &name, &mut join)?;
        if !self.hub.memory().has_room_for_members() {
            return Err(Error::ServerFull);
        }
        let random = self.hub.random();
        let (id, secret) = (MemberId::new(random.bits()), Secret::new(random.bits()));
        let newcomer = || Newcomer {
            id,
            secret,
            member: Member {
                identity: join.identity.clone(),
                display_name: join.display_name.clone(),
                attributes: join.attributes.clone(),
                joined_at: Some(SystemTime::now().into()),
                ..Member::default()
            },
            proven: None,
            permit: admitted.permit(),
        };
        let joined = self.hub.join(&name, &join.passcode, newcomer, carrier).await;
        let (seat, opened, record) = admitted.confirm(authority, &name, joined)?;

        let (ice_servers, ice_expires_at) = self.ice_servers(id);
        let token = SessionToken { room: name, member: id, secret };
        let member_count = opened.members.len() + 1;
        let welcome = Welcome {
            session_token: token.encode(),
            you: Some(opened.you),
            room: Some(describe(&record, member_count, self.hub.defaults())),
            members: opened.members,
            ice_servers,
            ice_expires_at,
            limits: Some(told(self.hub.limits())),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let first = ServerMessage { seq: opened.seq, body: Some(Body::Welcome(welcome)), ..ServerMessage::default() };
        Ok(Opening { seat, first: Frame::new(&first) })
    }

    fn resume(&self, who: &Credentials, resume: &Resume, carrier: Carrier) -> Result<Opening, Status> {
        let resumed = self.reopen(who, resume, carrier);
        Ok(resumed.inspect_err(|error| self.hub.refusals().resume(error))?)
    }

    fn reopen(&self, who: &Credentials, resume: &Resume, carrier: Carrier) -> Result<Opening, Error> {
        let token = SessionToken::decode(&resume.session_token).ok_or(Error::SessionGone)?;
        let room = self.hub.find(&token.room).ok_or(Error::SessionGone)?;
        let permit = admission::renewal(self.hub.authority(), who, &token, &room)?;
        let opened = room.with(|room| {
            let opened = room.resume(now(), token.member, &token.secret, resume.after_seq, carrier)?;
            if let Some(permit) = permit {
                room.renew(token.member, &token.secret, permit)?;
            }
            Ok::<_, Error>(opened)
        })?;
        let mut seat = Seat::new(room, token.member, opened.generation);
        seat.welcomed = true;

        let Opened { seq, ack, replayed, members, .. } = opened;
        let (ice_servers, ice_expires_at) = self.ice_servers(token.member);
        let resumed = Resumed { replayed, members, ice_servers, ice_expires_at };
        let first = ServerMessage { seq, ack, body: Some(Body::Resumed(resumed)), ..ServerMessage::default() };
        Ok(Opening { seat, first: Frame::new(&first) })
    }

    pub(super) fn ice_servers(&self, id: MemberId) -> (Vec<v1::IceServer>, Option<Timestamp>) {
        self.ice.servers_for(&id.to_string(), SystemTime::now())
    }
}

/// Checks every field of a join before anything is asked.
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
    if map_fits(map, limits) {
        return Ok(());
    }
    let (bytes, entries) = (limits.attributes_bytes, limits.attributes);
    Err(Error::invalid(field, format!("must be at most {bytes} bytes, keys and values together, in {entries} entries")))
}

/// The limits that clients are told.
fn told(limits: &Limits) -> v1::Limits {
    v1::Limits {
        max_message_bytes: u32::try_from(limits.message_bytes).unwrap_or(u32::MAX),
        max_signals_per_second: limits.signals_per_second,
        resume_window: limits.resume_window.try_into().ok(),
        heartbeat_interval: limits.heartbeat_interval.try_into().ok(),
        max_unacked: limits.max_unacked,
    }
}
