//! Changes of room settings. The server checks a whole change before it applies any part of it.

use std::time::{Duration, SystemTime};

use prost_types::{FieldMask, Timestamp};
use signalbox_proto::v1::{DuplicateIdentity, Room};

use crate::{clock::now_ms, error::Error, rooms::Rooms, rpc::join::check_map, store::Settings};

/// Fields of `Room` that a change can set. The passcode is not a field of `Room`.
const SETTABLE: [&str; 8] = [
    "display_name",
    "max_members",
    "locked",
    "expires_at",
    "empty_timeout",
    "labels",
    "duplicate_identity",
    "relay_only",
];
/// The path of the passcode in an update mask.
const PASSCODE: &str = "passcode";

/// A checked change of a room's settings.
pub(super) struct Change {
    room: Room,
    paths: Vec<String>,
    /// `Some(Some(hash))`: a new passcode. `Some(None)`: no passcode. `None`: unchanged.
    passcode_hash: Option<Option<String>>,
}

impl Change {
    /// Builds the change that sets all settings of a new room.
    pub(super) async fn whole(rooms: &Rooms, room: Room, passcode: &str) -> Result<Self, Error> {
        if room.passcode_required && passcode.is_empty() {
            return Err(Error::invalid("room.passcode_required", "is output only: set CreateRoomRequest.passcode"));
        }
        let paths = SETTABLE.map(str::to_owned).to_vec();
        Self { room, paths, passcode_hash: Some(None) }.checked(rooms, Some(passcode)).await
    }

    /// Builds a change of the settings that the mask names.
    pub(super) async fn masked(
        rooms: &Rooms,
        room: Room,
        mask: Option<FieldMask>,
        passcode: &str,
    ) -> Result<Self, Error> {
        let mut paths = mask.unwrap_or_default().paths;
        if paths.is_empty() {
            let problem = format!("must name what to change: {} or {PASSCODE}", SETTABLE.join(", "));
            return Err(Error::invalid("update_mask", problem));
        }
        let named = paths.len();
        paths.retain(|path| path != PASSCODE);
        let sets_passcode = paths.len() < named;
        if !sets_passcode && !passcode.is_empty() {
            return Err(Error::invalid("passcode", "is given, but update_mask does not name it"));
        }
        let passcode_hash = sets_passcode.then_some(None);
        Self { room, paths, passcode_hash }.checked(rooms, sets_passcode.then_some(passcode)).await
    }

    /// Checks every setting and hashes the passcode.
    async fn checked(mut self, rooms: &Rooms, passcode: Option<&str>) -> Result<Self, Error> {
        self.apply(rooms, Settings::default())?;
        if let Some(passcode) = passcode.filter(|passcode| !passcode.is_empty()) {
            check_length(rooms, "passcode", passcode)?;
            self.passcode_hash = Some(Some(rooms.passcodes().hash(passcode).await?));
        }
        Ok(self)
    }

    /// Returns the settings with the change applied.
    pub(super) fn apply(&self, rooms: &Rooms, mut settings: Settings) -> Result<Settings, Error> {
        for path in &self.paths {
            set(rooms, &mut settings, path, &self.room)?;
        }
        if let Some(hash) = &self.passcode_hash {
            settings.passcode_hash.clone_from(hash);
        }
        Ok(settings)
    }
}

/// Copies the field at `path` from `room` to `settings`.
pub(in crate::rpc) fn set(rooms: &Rooms, settings: &mut Settings, path: &str, room: &Room) -> Result<(), Error> {
    match path {
        "display_name" => {
            check_length(rooms, "room.display_name", &room.display_name)?;
            settings.display_name.clone_from(&room.display_name);
        }
        "max_members" => {
            let most = rooms.defaults().max_room_members;
            if room.max_members > most {
                return Err(Error::invalid("room.max_members", format!("must be at most {most}")));
            }
            settings.max_members = (room.max_members > 0).then_some(room.max_members);
        }
        "locked" => settings.locked = room.locked,
        "expires_at" => settings.ends_at_ms = room.expires_at.map(future).transpose()?,
        "empty_timeout" => {
            let timeout = room.empty_timeout.map(Duration::try_from).transpose();
            let timeout = timeout.map_err(|_| Error::invalid("room.empty_timeout", "must not be negative"))?;
            settings.empty_timeout_ms = timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        }
        "labels" => {
            check_map("room.labels", &room.labels, rooms.limits())?;
            settings.labels = room.labels.clone().into_iter().collect();
        }
        "duplicate_identity" => {
            let chosen = DuplicateIdentity::try_from(room.duplicate_identity)
                .map_err(|_| Error::invalid("room.duplicate_identity", "must be REPLACE, REJECT or ALLOW"))?;
            settings.duplicate_identity = match chosen {
                DuplicateIdentity::Unspecified => DuplicateIdentity::Replace.into(),
                chosen => chosen.into(),
            };
        }
        "relay_only" => settings.relay_only = room.relay_only,
        other => {
            let shown: String = other.chars().take(64).collect();
            let problem = format!("{shown:?} cannot be changed, but {} and {PASSCODE} can", SETTABLE.join(", "));
            return Err(Error::invalid("update_mask", problem));
        }
    }
    Ok(())
}

fn check_length(rooms: &Rooms, field: &'static str, text: &str) -> Result<(), Error> {
    let most = rooms.limits().name_bytes;
    if text.len() > most { Err(Error::invalid(field, format!("must be at most {most} bytes"))) } else { Ok(()) }
}

/// Checks that a time is in the future. Returns it in milliseconds since 1970.
fn future(at: Timestamp) -> Result<u64, Error> {
    let since = SystemTime::try_from(at).ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
    ms.filter(|ms| *ms > now_ms()).ok_or_else(|| Error::invalid("room.expires_at", "must be in the future"))
}
