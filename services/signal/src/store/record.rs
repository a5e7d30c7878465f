//! Room records. Times are milliseconds since 1970, UTC.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_core::id::RoomName;

use super::Usage;

/// Schema version of the records that this server writes. It reads older records, and the known fields of newer ones.
pub const SCHEMA: u32 = 1;
/// How much longer than its empty timeout a record is kept, since its expiry is renewed at most this late.
pub const GRACE: Duration = Duration::from_secs(60);

/// The record of a room: its settings, and the server's bookkeeping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Schema version. Absent in the oldest records.
    #[serde(default)]
    pub schema: u32,
    /// The room's name, and the record's key.
    pub name: String,
    /// The settings that the application chose.
    #[serde(flatten)]
    pub settings: Settings,
    /// Incremented by every change of the settings, and by nothing else.
    pub version: u64,
    /// When the room was created.
    pub created_at_ms: u64,
    /// When the settings last changed.
    #[serde(default)]
    pub updated_at_ms: u64,

    // === bookkeeping: changes without a new version ===
    /// When the record expires because the room is empty. Renewed while the room has members. Absent = never.
    #[serde(default)]
    pub idle_until_ms: Option<u64>,
    /// When the record expires: the earlier of `settings.ends_at_ms` and `idle_until_ms`. Absent = never. An expired
    /// record counts as deleted.
    #[serde(default)]
    pub expires_at_ms: Option<u64>,
    /// When the room was last known to have a member; 0 = never.
    #[serde(default)]
    pub last_active_ms: u64,
    /// Sessions opened in the room. Written behind: a crash may lose some.
    #[serde(default)]
    pub joins: u64,
    /// Peer connections that members reported as connected. Written behind like `joins`.
    #[serde(default)]
    pub calls: u64,
}

/// The settings of a room, chosen by the application. An update replaces all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Name for display.
    #[serde(default)]
    pub display_name: String,
    /// Maximum number of members; absent = the server's default.
    #[serde(default)]
    pub max_members: Option<u32>,
    /// Whether joins are rejected.
    #[serde(default)]
    pub locked: bool,
    /// Passcode for joins, as an argon2id hash in PHC format; absent = none.
    #[serde(default)]
    pub passcode_hash: Option<String>,
    /// Whether only candidates of TURN servers pass.
    #[serde(default)]
    pub relay_only: bool,
    /// `DuplicateIdentity`, by number; 0 = REPLACE.
    #[serde(default)]
    pub duplicate_identity: i32,
    /// How long the record of an empty room is kept; absent = until deleted.
    #[serde(default)]
    pub empty_timeout_ms: Option<u64>,
    /// When the room ends, even if it has members; absent = never.
    #[serde(default)]
    pub ends_at_ms: Option<u64>,
    /// Labels for the application's own use.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Banned identities, and when each ban ends.
    #[serde(default)]
    pub bans: BTreeMap<String, u64>,
}

impl Record {
    /// The record of a new room.
    pub fn new(name: &RoomName, settings: Settings, now_ms: u64) -> Self {
        let idle_until_ms = settings.idle_until(now_ms, GRACE);
        Self {
            schema: SCHEMA,
            name: name.to_string(),
            version: 1,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            idle_until_ms,
            expires_at_ms: settings.expiry(idle_until_ms),
            last_active_ms: 0,
            joins: 0,
            calls: 0,
            settings,
        }
    }

    /// Replaces the settings. The empty timeout starts again.
    pub fn update(&mut self, settings: Settings, now_ms: u64) {
        self.idle_until_ms = settings.idle_until(now_ms, GRACE);
        self.expires_at_ms = settings.expiry(self.idle_until_ms);
        self.settings = settings;
        self.version += 1;
        self.updated_at_ms = now_ms;
    }

    /// Extends the expiry of a room in use.
    pub fn renew_expiry(&mut self, now_ms: u64, grace: Duration) {
        self.idle_until_ms = self.settings.idle_until(now_ms, grace);
        self.expires_at_ms = self.settings.expiry(self.idle_until_ms);
    }

    /// Adds to the counters.
    pub fn add_usage(&mut self, usage: &Usage) {
        self.joins = self.joins.saturating_add(usage.joins);
        self.calls = self.calls.saturating_add(usage.calls);
        self.last_active_ms = self.last_active_ms.max(usage.last_active_ms);
    }

    /// Whether the record counts as deleted.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now_ms)
    }

    /// Whether the record has all of these labels.
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.settings.labels.get(key) == Some(value))
    }

    /// Fills in fields that are missing in the oldest records (those without a schema version).
    pub(super) fn complete(mut self) -> Self {
        if self.schema == 0 {
            self.schema = SCHEMA;
            self.updated_at_ms = self.created_at_ms;
            self.idle_until_ms = self.expires_at_ms;
        }
        self
    }
}

impl Settings {
    /// When the record of a room that is in use now expires, unless the room is used again.
    pub(super) fn idle_until(&self, now_ms: u64, grace: Duration) -> Option<u64> {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.empty_timeout_ms.map(|timeout| now_ms.saturating_add(timeout).saturating_add(grace))
    }

    /// When the record expires.
    pub(super) fn expiry(&self, idle_until_ms: Option<u64>) -> Option<u64> {
        self.ends_at_ms.into_iter().chain(idle_until_ms).min()
    }
}
