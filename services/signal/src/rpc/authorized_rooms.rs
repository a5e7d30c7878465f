//! The Rooms service behind authorization: where tokens are required, every call needs one with `can_admin` for its room.

use std::sync::Arc;

use signalbox_proto::v1::{
    CreateRoomRequest, DeleteRoomRequest, GetRoomRequest, ListMembersRequest, ListMembersResponse, ListRoomsRequest,
    ListRoomsResponse, RemoveMemberRequest, Room, UpdateRoomRequest, WatchRoomRequest,
};
use tonic::{Request, Response, Status};

use super::{
    RoomsService,
    admission::{administered_rooms, check_administers},
    stub::rooms_server::Rooms,
};
use crate::auth::Authenticator;

/// `signalbox.v1.Rooms`, for authorized callers.
pub struct AuthorizedRooms {
    rooms: RoomsService,
    /// `None` on the admin listener, which is unauthenticated.
    auth: Option<Arc<Authenticator>>,
}

impl AuthorizedRooms {
    /// Authorizes each call with `auth`. Without it, every caller may make every call.
    pub fn new(rooms: RoomsService, auth: Option<Arc<Authenticator>>) -> Self {
        Self { rooms, auth }
    }

    fn check<T>(&self, request: &Request<T>, room: &str) -> Result<(), Status> {
        Ok(self.auth.as_ref().map_or(Ok(()), |auth| check_administers(auth, request, room))?)
    }
}

#[tonic::async_trait]
impl Rooms for AuthorizedRooms {
    type WatchRoomStream = <RoomsService as Rooms>::WatchRoomStream;

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<Room>, Status> {
        // Server-generated names match only the `*` pattern.
        let name = request.get_ref().room.as_ref().map_or("", |room| &room.name);
        self.check(&request, name)?;
        self.rooms.create_room(request).await
    }

    async fn get_room(&self, request: Request<GetRoomRequest>) -> Result<Response<Room>, Status> {
        self.check(&request, &request.get_ref().name)?;
        self.rooms.get_room(request).await
    }

    async fn list_rooms(&self, request: Request<ListRoomsRequest>) -> Result<Response<ListRoomsResponse>, Status> {
        let rooms = self.auth.as_ref().map(|auth| administered_rooms(auth, &request)).transpose()?.flatten();
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
