//! Room records as documents of the collection `rooms`. Labels and bans are arrays, because keys that clients choose
//! must not become field names.

use mongodb::bson::{self, DateTime, Document, Uuid, doc};
use serde::{Deserialize, Serialize};

use crate::store::{Record, Settings};

/// 9999-12-31T23:59:59.999Z, the last date that tools display reliably. The encoder clamps later times to this date, so
/// that the sum of two times does not overflow.
const LAST_MS: u64 = 253_402_300_799_999;

/// The MongoDB document of a room.
#[derive(Serialize, Deserialize)]
struct RoomDocument {
    #[serde(rename = "_id")]
    name: String,
    schema: u32,
    /// Identifies the call that created the document, so that a retry after a lost reply recognizes its own write.
    #[serde(default)]
    creation: Option<Uuid>,
    #[serde(flatten)]
    settings: SettingsDocument,
    version: u64,
    created_at: DateTime,
    updated_at: DateTime,
    #[serde(default)]
    idle_until: Option<DateTime>,
    #[serde(default)]
    expires_at: Option<DateTime>,
    #[serde(default)]
    last_active_at: Option<DateTime>,
    #[serde(default)]
    joins: u64,
    #[serde(default)]
    calls: u64,
}

#[derive(Serialize, Deserialize)]
struct SettingsDocument {
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    max_members: Option<u32>,
    #[serde(default)]
    locked: bool,
    #[serde(default)]
    passcode_hash: Option<String>,
    #[serde(default)]
    relay_only: bool,
    #[serde(default)]
    duplicate_identity: i32,
    #[serde(default)]
    empty_timeout_ms: Option<u64>,
    #[serde(default)]
    ends_at: Option<DateTime>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    bans: Vec<Ban>,
}

#[derive(Serialize, Deserialize)]
struct Label {
    k: String,
    v: String,
}

#[derive(Serialize, Deserialize)]
struct Ban {
    identity: String,
    until: DateTime,
}

/// Encodes a new record, with the id of the call that creates it.
pub(super) fn encode(record: &Record, creation: Uuid) -> bson::error::Result<Document> {
    bson::serialize_to_document(&RoomDocument {
        name: record.name.clone(),
        schema: record.schema,
        creation: Some(creation),
        settings: settings(&record.settings),
        version: record.version,
        created_at: date(record.created_at_ms),
        updated_at: date(record.updated_at_ms),
        idle_until: record.idle_until_ms.map(date),
        expires_at: record.expires_at_ms.map(date),
        last_active_at: Some(record.last_active_ms).filter(|ms| *ms > 0).map(date),
        joins: record.joins,
        calls: record.calls,
    })
}

/// Encodes the fields that an update of the settings replaces. Fields of newer versions stay unchanged.
pub(super) fn encode_settings(new: &Settings) -> bson::error::Result<Document> {
    bson::serialize_to_document(&settings(new))
}

fn settings(settings: &Settings) -> SettingsDocument {
    SettingsDocument {
        display_name: settings.display_name.clone(),
        max_members: settings.max_members,
        locked: settings.locked,
        passcode_hash: settings.passcode_hash.clone(),
        relay_only: settings.relay_only,
        duplicate_identity: settings.duplicate_identity,
        empty_timeout_ms: settings.empty_timeout_ms.map(|ms| ms.min(LAST_MS)),
        ends_at: settings.ends_at_ms.map(date),
        labels: settings.labels.iter().map(|(k, v)| Label { k: k.clone(), v: v.clone() }).collect(),
        bans: settings
            .bans
            .iter()
            .map(|(identity, until)| Ban { identity: identity.clone(), until: date(*until) })
            .collect(),
    }
}

/// Decodes a document into its record and the id of the call that created it.
pub(super) fn decode(document: Document) -> bson::error::Result<(Record, Option<Uuid>)> {
    let room: RoomDocument = bson::deserialize_from_document(document)?;
    let settings = Settings {
        display_name: room.settings.display_name,
        max_members: room.settings.max_members,
        locked: room.settings.locked,
        passcode_hash: room.settings.passcode_hash,
        relay_only: room.settings.relay_only,
        duplicate_identity: room.settings.duplicate_identity,
        empty_timeout_ms: room.settings.empty_timeout_ms,
        ends_at_ms: room.settings.ends_at.map(millis),
        labels: room.settings.labels.into_iter().map(|label| (label.k, label.v)).collect(),
        bans: room.settings.bans.into_iter().map(|ban| (ban.identity, millis(ban.until))).collect(),
    };
    let record = Record {
        schema: room.schema,
        name: room.name,
        settings,
        version: room.version,
        created_at_ms: millis(room.created_at),
        updated_at_ms: millis(room.updated_at),
        idle_until_ms: room.idle_until.map(millis),
        expires_at_ms: room.expires_at.map(millis),
        last_active_ms: room.last_active_at.map_or(0, millis),
        joins: room.joins,
        calls: room.calls,
    };
    Ok((record, room.creation))
}

/// Converts milliseconds since 1970 into a BSON date.
pub(super) fn date(ms: u64) -> DateTime {
    DateTime::from_millis(i64::try_from(ms.min(LAST_MS)).unwrap_or(i64::MAX))
}

fn millis(date: DateTime) -> u64 {
    u64::try_from(date.timestamp_millis()).unwrap_or(0)
}

/// Returns a query for unexpired documents. `$not` also matches documents without `expires_at`, which never expire.
pub(super) fn alive(now_ms: u64) -> Document {
    doc! { "expires_at": { "$not": { "$lte": date(now_ms) } } }
}
