//! The Rooms service: what an application's back end and operators do with rooms.

use std::{pin::Pin, sync::Arc};

use futures_core::Stream;
use signalbox_proto::v1::{
    CreateRoomRequest, DeleteRoomRequest, DuplicateIdentity, GetRoomRequest, ListMembersRequest, ListMembersResponse,
    ListRoomsRequest, ListRoomsResponse, RemoveMemberRequest, Room, RoomEvent, UpdateRoomRequest, WatchRoomRequest,
    rooms_server::Rooms,
};
use tonic::{Request, Response, Status};

use super::join::{check_map, describe};
use crate::{
    error::Error,
    hub::{Hub, now},
    room::{
        self,
        id::{MemberId, RoomName},
    },
    store::{Created, Filter, Record, Settings, now_ms},
};

/// Rooms in one page of a list: the most, and what is given when nothing is asked.
const MAX_PAGE: u32 = 1000;
const DEFAULT_PAGE: u32 = 100;

/// `signalbox.v1.Rooms`.
#[derive(Clone)]
pub struct RoomsService {
    hub: Arc<Hub>,
}

impl RoomsService {
    /// Serves the rooms of `hub`.
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    fn describe(&self, record: &Record) -> Room {
        let live = RoomName::parse(&record.name, "name").ok().and_then(|name| self.hub.find(&name));
        let member_count = live.map_or(0, |room| room.with(|r| r.member_count()));
        describe(record, self.hub.defaults().max_members, member_count)
    }

    async fn record(&self, name: &str) -> Result<Record, Error> {
        let name = RoomName::parse(name, "name")?;
        if let Some(room) = self.hub.find(&name) {
            return Ok(room.record().clone());
        }
        self.hub.store().get(&name).await?.ok_or(Error::RoomNotFound)
    }

    /// Checks a room's settings and makes a record of them.
    fn new_record(&self, request: CreateRoomRequest) -> Result<Record, Status> {
        let room = request.room.unwrap_or_default();
        let limits = self.hub.limits();
        // What this version does not enforce must not look as if it were.
        if !request.passcode.is_empty() || room.passcode_required {
            return Err(Error::Unimplemented("a passcode").into());
        }
        if room.relay_only {
            return Err(Error::Unimplemented("relay_only").into());
        }
        let name = match room.name.as_str() {
            "" => RoomName::generate(self.hub.random().bits()),
            name => RoomName::parse(name, "room.name")?,
        };
        if room.display_name.len() > limits.name_bytes {
            let problem = format!("must be at most {} bytes", limits.name_bytes);
            return Err(Error::invalid("room.display_name", problem).into());
        }
        let most = self.hub.defaults().max_room_members;
        if room.max_members > most {
            return Err(Error::invalid("room.max_members", format!("must be at most {most}")).into());
        }
        check_map("room.labels", &room.labels, limits)?;
        let duplicate_identity = DuplicateIdentity::try_from(room.duplicate_identity)
            .map_err(|_| Error::invalid("room.duplicate_identity", "must be REPLACE, REJECT or ALLOW"))?;
        let empty_timeout_ms = room
            .empty_timeout
            .map(|timeout| std::time::Duration::try_from(timeout).map(|t| t.as_millis()))
            .transpose()
            .map_err(|_| Error::invalid("room.empty_timeout", "must not be negative"))?
            .map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
        let settings = Settings {
            display_name: room.display_name,
            max_members: (room.max_members > 0).then_some(room.max_members),
            locked: room.locked,
            duplicate_identity: match duplicate_identity {
                DuplicateIdentity::Unspecified => DuplicateIdentity::Replace.into(),
                chosen => chosen.into(),
            },
            empty_timeout_ms,
            labels: room.labels.into_iter().collect(),
            ..Settings::default()
        };
        Ok(Record::new(&name, settings, now_ms()))
    }
}

#[tonic::async_trait]
impl Rooms for RoomsService {
    type WatchRoomStream = Pin<Box<dyn Stream<Item = Result<RoomEvent, Status>> + Send>>;

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<Room>, Status> {
        let record = self.new_record(request.into_inner())?;
        let name = RoomName::parse(&record.name, "room.name")?;
        let create = async {
            let _gate = self.hub.gate(&name).await;
            if self.hub.find(&name).is_some() {
                return Err(Error::RoomExists);
            }
            match self.hub.store().create(record.clone()).await? {
                Created::New => Ok(Response::new(self.describe(&record))),
                Created::Exists(_) => Err(Error::RoomExists),
            }
        };
        Ok(self.hub.in_time(create).await?)
    }

    async fn get_room(&self, request: Request<GetRoomRequest>) -> Result<Response<Room>, Status> {
        let record = self.record(&request.into_inner().name).await?;
        Ok(Response::new(self.describe(&record)))
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        let ListRoomsRequest { page_size, mut page_token, live_only, labels } = request.into_inner();
        if page_size > MAX_PAGE {
            return Err(Error::invalid("page_size", format!("must be at most {MAX_PAGE}")).into());
        }
        if !page_token.is_empty() && RoomName::parse(&page_token, "page_token").is_err() {
            return Err(Error::invalid("page_token", "must be next_page_token of the page before").into());
        }
        let page_size = if page_size == 0 { DEFAULT_PAGE } else { page_size } as usize;
        let wanted = |room: &Room| !live_only || room.member_count > 0;
        // One look at the store a call: a page may be short of what was asked for, or empty, with more to come.
        let after = (!page_token.is_empty()).then(|| page_token.clone());
        let filter = Filter { after, labels: labels.into_iter().collect(), limit: MAX_PAGE as usize };
        let records = self.hub.store().list(filter).await.map_err(Error::from)?;
        let mut more = records.len() == MAX_PAGE as usize;
        let mut rooms: Vec<Room> = Vec::new();
        for record in records {
            if rooms.len() == page_size {
                more = true;
                break;
            }
            page_token.clone_from(&record.name);
            rooms.extend(Some(self.describe(&record)).filter(wanted));
        }
        let next_page_token = if more { page_token } else { String::new() };
        Ok(Response::new(ListRoomsResponse { rooms, next_page_token }))
    }

    async fn update_room(&self, _: Request<UpdateRoomRequest>) -> Result<Response<Room>, Status> {
        Err(Error::Unimplemented("UpdateRoom").into())
    }

    async fn delete_room(&self, request: Request<DeleteRoomRequest>) -> Result<Response<()>, Status> {
        let name = RoomName::parse(&request.into_inner().name, "name")?;
        let delete = async {
            let _gate = self.hub.gate(&name).await;
            let existed = self.hub.store().delete(&name).await?;
            let live = self.hub.find(&name);
            if !existed && live.is_none() {
                return Err(Error::RoomNotFound);
            }
            if let Some(room) = live {
                room.with(room::Room::close);
            }
            Ok(Response::new(()))
        };
        Ok(self.hub.in_time(delete).await?)
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let name = RoomName::parse(&request.into_inner().room, "room")?;
        let members = match self.hub.find(&name) {
            Some(room) => room.with(|r| r.members()),
            None => self.record(name.as_str()).await.map(|_| Vec::new())?,
        };
        Ok(Response::new(ListMembersResponse { members }))
    }

    async fn remove_member(&self, request: Request<RemoveMemberRequest>) -> Result<Response<()>, Status> {
        let RemoveMemberRequest { room, member_id } = request.into_inner();
        let name = RoomName::parse(&room, "room")?;
        let id = MemberId::parse(&member_id).ok_or(Error::NoSuchMember)?;
        let room = self.hub.find(&name).ok_or(Error::NoSuchMember)?;
        room.with(|r| r.remove(now(), id))?;
        Ok(Response::new(()))
    }

    async fn watch_room(&self, _: Request<WatchRoomRequest>) -> Result<Response<Self::WatchRoomStream>, Status> {
        Err(Error::Unimplemented("WatchRoom").into())
    }
}
