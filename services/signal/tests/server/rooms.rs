//! Rooms as application servers and operators use them; health and metrics.

mod bans;
mod counts;
mod expiry;
mod health;
mod members;
mod metrics;
mod outage;
mod passcode;
mod policy;
mod ports;
mod records;
mod relay_only;
mod settings;
mod storm;
mod watch;

use std::time::{Duration, SystemTime};

use signalbox_proto::v1::{
    CreateRoomRequest, GetRoomRequest, Room, UpdateRoomRequest, WatchRoomRequest, rooms_client::RoomsClient,
};
use tonic::transport::Channel;

/// A request for a room with these settings.
fn create(room: Room) -> CreateRoomRequest {
    CreateRoomRequest { room: Some(room), ..CreateRoomRequest::default() }
}

/// A room with this name and default settings.
fn named(name: &str) -> Room {
    Room { name: name.to_owned(), ..Room::default() }
}

fn get(name: &str) -> GetRoomRequest {
    GetRoomRequest { name: name.to_owned() }
}

fn watch(room: &str) -> WatchRoomRequest {
    WatchRoomRequest { room: room.to_owned() }
}

/// A request that sets these fields to their values in `room`.
fn update(room: Room, paths: &[&str]) -> UpdateRoomRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateRoomRequest {
        room: Some(room),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..UpdateRoomRequest::default()
    }
}

/// Sets these fields, which must succeed; returns the room.
async fn change(rooms: &mut RoomsClient<Channel>, room: Room, paths: &[&str]) -> Room {
    rooms.update_room(update(room, paths)).await.expect("it is changed").into_inner()
}

/// A time from now.
fn after(time: Duration) -> Option<prost_types::Timestamp> {
    Some((SystemTime::now() + time).into())
}
