//! Exports private request checks to the fuzz targets.

use signalbox_core::{Limits, id::RoomName};
use signalbox_proto::v1::{Join, Room};

use super::{join, rooms::settings};
use crate::{error::Error, rooms::Rooms, store::Settings};

/// Validates every field of a join.
pub fn check_join(join: &Join, limits: &Limits) -> Result<RoomName, Error> {
    join::check(join, limits)
}

/// Copies the field at `path` from `room` to `settings`.
pub fn set(rooms: &Rooms, settings: &mut Settings, path: &str, room: &Room) -> Result<(), Error> {
    settings::set(rooms, settings, path, room)
}
