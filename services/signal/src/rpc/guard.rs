//! The Rooms service behind tokens: every call needs one that says `can_admin`, for the room that the call is about.
//! Where no tokens are asked for it lets everything pass.

use std::sync::Arc;

use signalbox_proto::v1::{
    CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, ListMembersRequest, ListMembersResponse, ListRoomsRequest,
    ListRoomsResponse, RemoveMemberRequest, Room, UpdateRoomRequest, WatchRoomRequest,
};
use tonic::{Request, Response, Status};

use super::{
    RoomsService,
    admission::{administers, may_administer},
    stub::rooms_server::Rooms,
};
use crate::auth::Authority;

/// `signalbox.v1.Rooms`, for those who may.
pub struct GuardedRooms {
    rooms: RoomsService,
    /// Who is asked. `None`: whoever reaches this port may do everything.
    authority: Option<Arc<Authority>>,
}

impl GuardedRooms {
    /// Asks `authority` before each call; without one nobody is asked.
    pub fn new(rooms: RoomsService, authority: Option<Arc<Authority>>) -> Self {
        Self { rooms, authority }
    }

    fn check<T>(&self, request: &Request<T>, room: &str) -> Result<(), Status> {
        Ok(self.authority.as_ref().map_or(Ok(()), |authority| may_administer(authority, request, room))?)
    }
}

#[tonic::async_trait]
impl Rooms for GuardedRooms {
    type WatchRoomStream = <RoomsService as Rooms>::WatchRoomStream;

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<Room>, Status> {
        // A name that the server makes begins with anything.
        let name = request.get_ref().room.as_ref().map_or("", |room| &room.name);
        self.check(&request, name)?;
        self.rooms.create_room(request).await
    }

    async fn get_room(&self, request: Request<GetRoomRequest>) -> Result<Response<Room>, Status> {
        self.check(&request, &request.get_ref().name)?;
        self.rooms.get_room(request).await
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        let rooms = self.authority.as_ref().map(|authority| administers(authority, &request)).transpose()?.flatten();
        let mut response = self.rooms.list_rooms(request).await?;
        if let Some(pattern) = rooms {
            response.get_mut().rooms.retain(|room| pattern.matches(&room.name));
        }
        Ok(response)
    }

    async fn update_room(&self, request: Request<UpdateRoomRequest>) -> Result<Response<Room>, Status> {
        let name = request.get_ref().room.as_ref().map_or("", |room| &room.name);
        self.check(&request, name)?;
        self.rooms.update_room(request).await
    }

    async fn delete_room(&self, request: Request<DeleteRoomRequest>) -> Result<Response<()>, Status> {
        self.check(&request, &request.get_ref().name)?;
        self.rooms.delete_room(request).await
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        self.check(&request, &request.get_ref().room)?;
        self.rooms.list_members(request).await
    }

    async fn remove_member(&self, request: Request<RemoveMemberRequest>) -> Result<Response<()>, Status> {
        self.check(&request, &request.get_ref().room)?;
        self.rooms.remove_member(request).await
    }

    async fn watch_room(&self, request: Request<WatchRoomRequest>) -> Result<Response<Self::WatchRoomStream>, Status> {
        self.check(&request, &request.get_ref().room)?;
        self.rooms.watch_room(request).await
    }
}
