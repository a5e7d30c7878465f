//! Checks of requests that are private otherwise, for the fuzz targets. Only with the feature `fuzzing`, which no release
//! has; it also makes passcodes cheap to hash.

use signalbox_proto::v1::{Join, Room};

use super::{join, rooms::settings};
use crate::{error::Error, hub::Hub, limit::Limits, room::id::RoomName, store::Settings};

/// Checks every field of a join.
pub fn check_join(join: &Join, limits: &Limits) -> Result<RoomName, Error> {
    join::check(join, limits)
}

/// Sets what a path of an update mask names.
pub fn set(hub: &Hub, settings: &mut Settings, path: &str, room: &Room) -> Result<(), Error> {
    settings::set(hub, settings, path, room)
}
