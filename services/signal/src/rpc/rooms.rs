//! The Rooms service, for application servers and operators.

pub(super) mod settings;
mod watch_stream;

use std::{sync::Arc, time::Duration};

use signalbox_core::{
    Room as RoomState,
    id::{MemberId, RoomName},
};
use signalbox_proto::v1::{
    CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, ListMembersRequest, ListMembersResponse, ListRoomsRequest,
    ListRoomsResponse, RemoveMemberRequest, Room, UpdateRoomRequest, WatchRoomRequest,
};
use tonic::{Request, Response, Status};

use self::{settings::Change, watch_stream::WatchStream};
use super::{admission::administered_rooms, stub::rooms_server::Rooms};
use crate::{
    auth::RoomPattern,
    clock::{now, now_ms},
    context::Context,
    error::{Error, RoomError},
    rooms::{self, LiveRoom, RoomSnapshot},
    store::{Created, Filter, Record, Settings, Updated},
};

/// Maximum page size of `ListRooms`.
const MAX_PAGE: u32 = 1000;
/// Default page size of `ListRooms`.
const DEFAULT_PAGE: u32 = 100;
/// Maximum bans of one room. The store reads and writes a room's record as a whole, including its bans.
const MAX_BANS: usize = 1000;
/// Maximum attempts to apply a conflicting change. Only another server on the same store can cause conflicts.
const TRIES: usize = 5;

/// Implements `signalbox.v1.Rooms`.
#[derive(Clone)]
pub struct RoomsService {
    context: Arc<Context>,
    is_public: bool,
}

impl RoomsService {
    /// Creates the service for the rooms of `context`. If the server requires tokens, the public listener requires
    /// `can_admin`; the admin listener is unauthenticated.
    pub fn new(context: Arc<Context>, is_public: bool) -> Self {
        Self { context, is_public }
    }

    /// Returns the rooms that a caller may administer. `None` means all.
    fn administered<T>(&self, request: &Request<T>) -> Result<Option<RoomPattern>, Error> {
        if self.is_public { administered_rooms(&self.context.auth, request) } else { Ok(None) }
    }

    /// Checks that a caller may administer a room.
    fn authorize<T>(&self, request: &Request<T>, room: &str) -> Result<(), Status> {
        let is_allowed = self.administered(request)?.is_none_or(|rooms| rooms.matches(room));
        if is_allowed { Ok(()) } else { Err(Error::RoomForbidden.into()) }
    }

    /// Revokes the tokens of a member that is about to be removed. The caller holds the room's lock, so that later
    /// joins with these tokens fail.
    fn revoke(&self, name: &RoomName, room: &RoomState, id: MemberId) {
        if let Some((identity, nbf)) = room.token_of(id) {
            self.context.auth.revoke(name, identity, nbf);
        }
    }

    fn rooms(&self) -> &Arc<rooms::Rooms> {
        &self.context.rooms
    }

    /// Returns the live room. A room that is live only for its watchers yields `None`, because the store has its
    /// current record.
    fn find(&self, name: &RoomName) -> Option<Arc<LiveRoom>> {
        self.rooms().find(name).filter(|room| !room.is_dormant())
    }

    async fn snapshot(&self, name: &RoomName) -> Result<RoomSnapshot, Error> {
        match self.find(name) {
            Some(room) => Ok(room.snapshot()),
            None => {
                let record = self.rooms().with_deadline(async { Ok(self.rooms().store().get(name).await?) }).await?;
                let record = record.ok_or(Error::RoomNotFound)?;
                Ok(RoomSnapshot { record, member_count: 0 })
            }
        }
    }

    /// Returns the snapshot of a room whose record was just read.
    fn snapshot_of(&self, record: Record) -> RoomSnapshot {
        let live = RoomName::parse(&record.name, "name").ok().and_then(|name| self.find(&name));
        live.map_or(RoomSnapshot { record, member_count: 0 }, |room| room.snapshot())
    }

    /// Changes a room's settings in its record and in the live room. Fails if `etag` is set and no longer matches.
    async fn update(
        &self,
        name: &RoomName,
        etag: &str,
        change: impl Fn(Settings) -> Result<Settings, Error>,
    ) -> Result<RoomSnapshot, Error> {
        let _lock = self.rooms().room_lock(name).await;
        let mut record = self.snapshot(name).await?.record;
        for _ in 0..TRIES {
            if !etag.is_empty() && etag != record.version.to_string() {
                return Err(Error::EtagMismatch);
            }
            let settings = change(record.settings)?;
            let updated = self.rooms().store().update(name, Some(record.version), settings).await?;
            record = match updated {
                Updated::Done(record) => {
                    self.rooms().find(name).inspect(|room| self.rooms().apply(room, Record::clone(&record)));
                    return Ok(self.snapshot_of(*record));
                }
                Updated::Conflict(record) => {
                    self.rooms().find(name).inspect(|room| self.rooms().apply(room, Record::clone(&record)));
                    *record
                }
                Updated::Missing => return Err(Error::RoomNotFound),
            };
        }
        Err(Error::EtagMismatch)
    }

    fn response(&self, snapshot: &RoomSnapshot) -> Response<Room> {
        Response::new(snapshot.operator_view(self.rooms().defaults()))
    }
}

#[tonic::async_trait]
impl Rooms for RoomsService {
    type WatchRoomStream = WatchStream;

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<Room>, Status> {
        // An empty name requests a generated name, which only the pattern `*` matches.
        let name = request.get_ref().room.as_ref().map_or("", |room| &room.name);
        self.authorize(&request, name)?;
        let CreateRoomRequest { room, passcode } = request.into_inner();
        let room = room.unwrap_or_default();
        let name = match room.name.as_str() {
            "" => RoomName::generate(self.context.random.bits()),
            name => room_name(name, "room.name")?,
        };
        let change = Change::whole(self.rooms(), room, &passcode).await?;
        let this = self.clone();
        let created = self.rooms().change(async move {
            let _lock = this.rooms().room_lock(&name).await;
            if this.find(&name).is_some() {
                return Err(Error::RoomExists);
            }
            let record = Record::new(&name, change.apply(this.rooms(), Settings::default())?, now_ms());
            match this.rooms().store().create(record.clone()).await? {
                Created::New => {
                    // An expired room with this name may still have watchers, which must not watch the new room.
                    this.rooms().find(&name).inspect(|earlier| earlier.close());
                    Ok(RoomSnapshot { record, member_count: 0 })
                }
                Created::Exists(_) => Err(Error::RoomExists),
            }
        });
        Ok(self.response(&created.await?))
    }

    async fn get_room(&self, request: Request<GetRoomRequest>) -> Result<Response<Room>, Status> {
        self.authorize(&request, &request.get_ref().name)?;
        let name = room_name(&request.into_inner().name, "name")?;
        Ok(self.response(&self.snapshot(&name).await?))
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        let administered = self.administered(&request)?;
        let ListRoomsRequest { page_size, page_token, live_only, labels } = request.into_inner();
        if page_size > MAX_PAGE {
            return Err(Error::invalid("page_size", format!("must be at most {MAX_PAGE}")).into());
        }
        if !page_token.is_empty() && RoomName::parse(&page_token, "page_token").is_err() {
            return Err(Error::invalid("page_token", "must be next_page_token of the previous page").into());
        }
        let page_size = if page_size == 0 { DEFAULT_PAGE } else { page_size } as usize;
        let labels = labels.into_iter().collect();
        // Fetch one more room than requested, to know whether another page exists.
        let mut snapshots: Vec<_> = if live_only {
            let mut live = self.rooms().all();
            live.retain(|room| {
                room.name().as_str() > page_token.as_str() && room.record().has_labels(&labels) && room.is_in_use()
            });
            live.sort_unstable_by(|a, b| a.name().cmp(b.name()));
            live.into_iter().take(page_size + 1).map(|room| room.snapshot()).collect()
        } else {
            let after = (!page_token.is_empty()).then_some(page_token);
            let filter = Filter { after, labels, limit: page_size + 1 };
            let records = self.rooms().with_deadline(async { Ok(self.rooms().store().list(filter).await?) }).await?;
            records.into_iter().map(|record| self.snapshot_of(record)).collect()
        };
        let has_more = snapshots.len() > page_size;
        snapshots.truncate(page_size);
        let last = snapshots.last().filter(|_| has_more);
        Ok(Response::new(ListRoomsResponse {
            next_page_token: last.map(|snapshot| snapshot.record.name.clone()).unwrap_or_default(),
            rooms: snapshots
                .iter()
                .filter(|snapshot| administered.as_ref().is_none_or(|rooms| rooms.matches(&snapshot.record.name)))
                .map(|snapshot| snapshot.operator_view(self.rooms().defaults()))
                .collect(),
        }))
    }

    async fn update_room(&self, request: Request<UpdateRoomRequest>) -> Result<Response<Room>, Status> {
        let name = request.get_ref().room.as_ref().map_or("", |room| &room.name);
        self.authorize(&request, name)?;
        let UpdateRoomRequest { room, update_mask, passcode } = request.into_inner();
        let room = room.unwrap_or_default();
        let (name, etag) = (room_name(&room.name, "room.name")?, room.etag.clone());
        let change = Change::masked(self.rooms(), room, update_mask, &passcode).await?;
        let this = self.clone();
        let updated = self
            .rooms()
            .change(async move { this.update(&name, &etag, |settings| change.apply(this.rooms(), settings)).await });
        Ok(self.response(&updated.await?))
    }

    async fn delete_room(&self, request: Request<DeleteRoomRequest>) -> Result<Response<()>, Status> {
        self.authorize(&request, &request.get_ref().name)?;
        let name = room_name(&request.into_inner().name, "name")?;
        let this = self.clone();
        let deleted = self.rooms().change(async move {
            let _lock = this.rooms().room_lock(&name).await;
            let existed = this.rooms().store().delete(&name).await?;
            match this.rooms().find(&name) {
                Some(room) => this.rooms().close(&room),
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
        self.authorize(&request, &request.get_ref().room)?;
        let name = room_name(&request.into_inner().room, "room")?;
        let members = match self.find(&name) {
            Some(room) => room.peek(|r| r.members()),
            None => self.snapshot(&name).await.map(|_| Vec::new())?,
        };
        Ok(Response::new(ListMembersResponse { members }))
    }

    async fn remove_member(&self, request: Request<RemoveMemberRequest>) -> Result<Response<()>, Status> {
        self.authorize(&request, &request.get_ref().room)?;
        let RemoveMemberRequest { room, member_id, ban } = request.into_inner();
        let name = room_name(&room, "room")?;
        let id = MemberId::parse(&member_id).ok_or(Error::Room(RoomError::NoSuchMember))?;
        let room = self.rooms().find(&name).ok_or(Error::Room(RoomError::NoSuchMember))?;
        let Some(ban) = ban else {
            room.with(|r| {
                self.revoke(&name, r, id);
                r.remove(now(), id)
            })
            .map_err(Error::Room)?;
            return Ok(Response::new(()));
        };
        let ban = Duration::try_from(ban).ok().filter(|ban| !ban.is_zero());
        let ban = ban.ok_or_else(|| Error::invalid("ban", "must be positive; omit it to remove only"))?;
        let identity = room
            .peek(|r| r.member(id).map(|member| member.identity.clone()))
            .ok_or(Error::Room(RoomError::NoSuchMember))?;
        if identity.is_empty() {
            let problem = "the member has no identity to ban; omit it to remove only";
            return Err(Error::invalid("ban", problem).into());
        }
        let this = self.clone();
        // Update the record first, so that a removed member that joins again finds the ban.
        let banned = self.rooms().change(async move {
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

    async fn watch_room(&self, request: Request<WatchRoomRequest>) -> Result<Response<WatchStream>, Status> {
        self.authorize(&request, &request.get_ref().room)?;
        let name = room_name(&request.into_inner().room, "room")?;
        let (room, watch, present) = self.rooms().watch(&name).await?;
        Ok(Response::new(WatchStream::new(room, watch, present)))
    }
}

fn room_name(name: &str, field: &'static str) -> Result<RoomName, Error> {
    Ok(RoomName::parse(name, field)?)
}

/// Adds a ban to the settings. To make space, drops expired bans, then the bans that end first.
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
