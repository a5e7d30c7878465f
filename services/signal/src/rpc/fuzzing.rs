//! Private checks of requests, for the fuzz targets.

use signalbox_core::{Limits, id::RoomName};
use signalbox_proto::v1::{Join, Room};

use super::{join, rooms::settings};
use crate::{error::Error, rooms::Rooms, store::Settings};

/// Checks every field of a join.
pub fn check_join(join: &Join, limits: &Limits) -> Result<RoomName, Error> {
    join::check(join, limits)
}

/// Copies the field that a path names from `room`.
pub fn set(rooms: &Rooms, settings: &mut Settings, path: &str, room: &Room) -> Result<(), Error> {
    settings::set(rooms, settings, path, room)
}
