//! The Rooms service: what an application's back end and operators do with rooms.

pub(super) mod settings;
mod watching;

use std::{sync::Arc, time::Duration};

use signalbox_proto::v1::{
    CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, ListMembersRequest, ListMembersResponse, ListRoomsRequest,
    ListRoomsResponse, RemoveMemberRequest, Room, UpdateRoomRequest, WatchRoomRequest,
};
use tonic::{Request, Response, Status};

use self::{settings::Change, watching::Watching};
use super::stub::rooms_server::Rooms;
use crate::{
    error::Error,
    hub::{Hub, LiveRoom, Look, now},
    room::{
        Room as LiveState,
        id::{MemberId, RoomName},
    },
    store::{Created, Filter, Record, Settings, Updated, now_ms},
};

/// Rooms in one page of a list: the most, and what is given when nothing is asked.
const MAX_PAGE: u32 = 1000;
const DEFAULT_PAGE: u32 = 100;
/// Identities that may be banned from one room: they are part of its record, which is read and written as a whole.
const MAX_BANS: usize = 1000;
/// How often a change is tried again that another one overtook. Only another server that shares the store can do that.
const TRIES: usize = 5;

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

    /// Revokes the tokens of a member who is about to be removed. Under the room's lock: whoever joins with one of them
    /// after that is found out.
    fn revoke(&self, name: &RoomName, room: &LiveState, id: MemberId) {
        if let Some((identity, nbf)) = room.token_of(id) {
            self.hub.authority().revoke(name, identity, nbf);
        }
    }

    /// The live room, unless it is kept only for those who watch it: then its record is what counts.
    fn find(&self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        self.hub.find(name).filter(|room| !room.is_dormant())
    }

    async fn look(&self, name: &RoomName) -> Result<Look, Error> {
        match self.find(name) {
            Some(room) => Ok(room.look()),
            None => {
                let record = self.hub.in_time(async { Ok(self.hub.store().get(name).await?) }).await?;
                let record = record.ok_or(Error::RoomNotFound)?;
                Ok(Look { record, member_count: 0 })
            }
        }
    }

    /// A room whose record was just read.
    fn look_at(&self, record: Record) -> Look {
        let live = RoomName::parse(&record.name, "name").ok().and_then(|name| self.find(&name));
        live.map_or(Look { record, member_count: 0 }, |room| room.look())
    }

    /// Changes a room's settings, on record and where it is live. `etag`: only if they are still those.
    async fn update(
        &self,
        name: &RoomName,
        etag: &str,
        change: impl Fn(Settings) -> Result<Settings, Error>,
    ) -> Result<Look, Error> {
        let _gate = self.hub.gate(name).await;
        let mut record = self.look(name).await?.record;
        for _ in 0..TRIES {
            if !etag.is_empty() && etag != record.version.to_string() {
                return Err(Error::EtagMismatch);
            }
            let settings = change(record.settings)?;
            let updated = self.hub.store().update(name, Some(record.version), settings).await?;
            record = match updated {
                Updated::Done(record) => {
                    self.hub.find(name).inspect(|room| self.hub.adopt(room, Record::clone(&record)));
                    return Ok(self.look_at(*record));
                }
                Updated::Conflict(record) => {
                    self.hub.find(name).inspect(|room| self.hub.adopt(room, Record::clone(&record)));
                    *record
                }
                Updated::Missing => return Err(Error::RoomNotFound),
            };
        }
        Err(Error::EtagMismatch)
    }

    fn answer(&self, look: &Look) -> Response<Room> {
        Response::new(look.for_operators(self.hub.defaults()))
    }
}

#[tonic::async_trait]
impl Rooms for RoomsService {
    type WatchRoomStream = Watching;

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<Room>, Status> {
        let CreateRoomRequest { room, passcode } = request.into_inner();
        let room = room.unwrap_or_default();
        let name = match room.name.as_str() {
            "" => RoomName::generate(self.hub.random().bits()),
            name => RoomName::parse(name, "room.name")?,
        };
        let change = Change::whole(&self.hub, room, &passcode).await?;
        let this = self.clone();
        let created = self.hub.change(async move {
            let _gate = this.hub.gate(&name).await;
            if this.find(&name).is_some() {
                return Err(Error::RoomExists);
            }
            let record = Record::new(&name, change.apply(&this.hub, Settings::default())?, now_ms());
            match this.hub.store().create(record.clone()).await? {
                Created::New => {
                    // Whoever watches an earlier room of that name, which ended meanwhile, does not watch this one.
                    this.hub.find(&name).inspect(|earlier| earlier.close());
                    Ok(Look { record, member_count: 0 })
                }
                Created::Exists(_) => Err(Error::RoomExists),
            }
        });
        Ok(self.answer(&created.await?))
    }

    async fn get_room(&self, request: Request<GetRoomRequest>) -> Result<Response<Room>, Status> {
        let name = RoomName::parse(&request.into_inner().name, "name")?;
        Ok(self.answer(&self.look(&name).await?))
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        let ListRoomsRequest { page_size, page_token, live_only, labels } = request.into_inner();
        if page_size > MAX_PAGE {
            return Err(Error::invalid("page_size", format!("must be at most {MAX_PAGE}")).into());
        }
        if !page_token.is_empty() && RoomName::parse(&page_token, "page_token").is_err() {
            return Err(Error::invalid("page_token", "must be next_page_token of the page before").into());
        }
        let page_size = if page_size == 0 { DEFAULT_PAGE } else { page_size } as usize;
        let labels = labels.into_iter().collect();
        // One more than asked for says whether there are more.
        let mut looks: Vec<_> = if live_only {
            let mut live = self.hub.all();
            live.retain(|room| {
                room.name().as_str() > page_token.as_str() && room.record().has_labels(&labels) && room.is_in_use()
            });
            live.sort_unstable_by(|a, b| a.name().cmp(b.name()));
            live.into_iter().take(page_size + 1).map(|room| room.look()).collect()
        } else {
            let after = (!page_token.is_empty()).then_some(page_token);
            let filter = Filter { after, labels, limit: page_size + 1 };
            let records = self.hub.in_time(async { Ok(self.hub.store().list(filter).await?) }).await?;
            records.into_iter().map(|record| self.look_at(record)).collect()
        };
        let has_more = looks.len() > page_size;
        looks.truncate(page_size);
        let last = looks.last().filter(|_| has_more);
        Ok(Response::new(ListRoomsResponse {
            next_page_token: last.map(|look| look.record.name.clone()).unwrap_or_default(),
            rooms: looks.iter().map(|look| look.for_operators(self.hub.defaults())).collect(),
        }))
    }

    async fn update_room(&self, request: Request<UpdateRoomRequest>) -> Result<Response<Room>, Status> {
        let UpdateRoomRequest { room, update_mask, passcode } = request.into_inner();
        let room = room.unwrap_or_default();
        let (name, etag) = (RoomName::parse(&room.name, "room.name")?, room.etag.clone());
        let change = Change::masked(&self.hub, room, update_mask, &passcode).await?;
        let this = self.clone();
        let updated = self
            .hub
            .change(async move { this.update(&name, &etag, |settings| change.apply(&this.hub, settings)).await });
        Ok(self.answer(&updated.await?))
    }

    async fn delete_room(&self, request: Request<DeleteRoomRequest>) -> Result<Response<()>, Status> {
        let name = RoomName::parse(&request.into_inner().name, "name")?;
        let this = self.clone();
        let deleted = self.hub.change(async move {
            let _gate = this.hub.gate(&name).await;
            let existed = this.hub.store().delete(&name).await?;
            match this.hub.find(&name) {
                Some(room) => this.hub.close(&room),
                None if !existed => return Err(Error::RoomNotFound),
                None => {}
            }
            Ok(())
        });
        deleted.await?;
        Ok(Response::new(()))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let name = RoomName::parse(&request.into_inner().room, "room")?;
        let members = match self.find(&name) {
            Some(room) => room.peek(|r| r.members()),
            None => self.look(&name).await.map(|_| Vec::new())?,
        };
        Ok(Response::new(ListMembersResponse { members }))
    }

    async fn remove_member(&self, request: Request<RemoveMemberRequest>) -> Result<Response<()>, Status> {
        let RemoveMemberRequest { room, member_id, ban } = request.into_inner();
        let name = RoomName::parse(&room, "room")?;
        let id = MemberId::parse(&member_id).ok_or(Error::NoSuchMember)?;
        let room = self.hub.find(&name).ok_or(Error::NoSuchMember)?;
        let Some(ban) = ban else {
            room.with(|r| {
                self.revoke(&name, r, id);
                r.remove(now(), id)
            })?;
            return Ok(Response::new(()));
        };
        let ban = Duration::try_from(ban).ok().filter(|ban| !ban.is_zero());
        let ban = ban.ok_or_else(|| Error::invalid("ban", "must be positive; leave it out to remove only"))?;
        let identity = room.peek(|r| r.member(id).map(|member| member.identity.clone())).ok_or(Error::NoSuchMember)?;
        if identity.is_empty() {
            let problem = "the member has no identity that could be banned; leave it out to remove only";
            return Err(Error::invalid("ban", problem).into());
        }
        let this = self.clone();
        // On record first: a removed member who comes back must find the ban.
        let banned = self.hub.change(async move {
            this.update(&name, "", |settings| Ok(with_ban(settings, &identity, ban))).await?;
            room.with(|r| {
                this.revoke(&name, r, id);
                r.remove_identity(now(), &identity);
            });
            Ok(())
        });
        banned.await?;
        Ok(Response::new(()))
    }

    async fn watch_room(&self, request: Request<WatchRoomRequest>) -> Result<Response<Watching>, Status> {
        let name = RoomName::parse(&request.into_inner().room, "room")?;
        let (room, watch, there) = self.hub.watch(&name).await?;
        Ok(Response::new(Watching::new(room, watch, there)))
    }
}

/// The settings with an identity banned. Bans that are over are dropped, then those that end first.
fn with_ban(mut settings: Settings, identity: &str, ban: Duration) -> Settings {
    let now_ms = now_ms();
    let until_ms = now_ms.saturating_add(u64::try_from(ban.as_millis()).unwrap_or(u64::MAX));
    let bans = &mut settings.bans;
    bans.retain(|_, until_ms| *until_ms > now_ms);
    bans.remove(identity);
    while bans.len() >= MAX_BANS {
        let first = bans.iter().min_by_key(|(_, until_ms)| **until_ms).map(|(identity, _)| identity.clone());
        first.and_then(|first| bans.remove(&first));
    }
    bans.insert(identity.to_owned(), until_ms);
    settings
}
