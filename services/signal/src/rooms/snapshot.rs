//! Views of a room for members and operators.

use std::time::Duration;

use prost_types::Timestamp;
use signalbox_proto::v1;

use super::RoomDefaults;
use crate::store::Record;

/// The state of a room at one point in time.
#[derive(Debug)]
pub struct RoomSnapshot {
    /// The room's record. Its counters include usage of a live room that the store does not have yet.
    pub record: Record,
    /// Number of members.
    pub member_count: usize,
}

impl RoomSnapshot {
    /// Returns the view for application servers and operators.
    pub fn operator_view(&self, defaults: &RoomDefaults) -> v1::Room {
        let record = &self.record;
        v1::Room {
            updated_at: Some(timestamp(record.updated_at_ms)),
            last_active_at: (record.last_active_ms > 0).then(|| timestamp(record.last_active_ms)),
            join_count: record.joins,
            call_count: record.calls,
            ..member_view(record, self.member_count, defaults)
        }
    }
}

/// Returns the view of a room for its members.
pub fn member_view(record: &Record, member_count: usize, defaults: &RoomDefaults) -> v1::Room {
    let settings = &record.settings;
    // The empty timeout does not apply to a room in use.
    let ends_at_ms = if member_count > 0 { settings.ends_at_ms } else { record.expires_at_ms };
    v1::Room {
        name: record.name.clone(),
        display_name: settings.display_name.clone(),
        max_members: settings.max_members.unwrap_or(defaults.max_members),
        passcode_required: settings.passcode_hash.is_some(),
        locked: settings.locked,
        created_at: Some(timestamp(record.created_at_ms)),
        expires_at: ends_at_ms.map(timestamp),
        empty_timeout: settings.empty_timeout_ms.and_then(|ms| Duration::from_millis(ms).try_into().ok()),
        labels: settings.labels.clone().into_iter().collect(),
        member_count: u32::try_from(member_count).unwrap_or(u32::MAX),
        duplicate_identity: settings.duplicate_identity,
        relay_only: settings.relay_only,
        etag: record.version.to_string(),
        ..v1::Room::default()
    }
}

fn timestamp(ms: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap_or(0),
    }
}
