//! Room records. Times are milliseconds since 1970, UTC.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_core::id::RoomName;

use super::Usage;

/// Schema version that this server writes. It also reads older records, and the known fields of newer records.
pub const SCHEMA: u32 = 1;
/// Time added to the empty timeout of a record, because the server may renew its expiry this late.
pub const GRACE: Duration = Duration::from_secs(60);

/// The record of a room: its settings, and the server's bookkeeping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Schema version; absent in the oldest records.
    #[serde(default)]
    pub schema: u32,
    /// The room's name, and the record's key.
    pub name: String,
    /// The settings that the application chose.
    #[serde(flatten)]
    pub settings: Settings,
    /// Version of the settings. Only a change of the settings increments it.
    pub version: u64,
    /// When the room was created.
    pub created_at_ms: u64,
    /// When the settings last changed.
    #[serde(default)]
    pub updated_at_ms: u64,

    // === bookkeeping: changes do not increment `version` ===
    /// When the record expires because the room is empty; absent = never. The server renews it while the room has
    /// members.
    #[serde(default)]
    pub idle_until_ms: Option<u64>,
    /// When the record expires: the earlier of `settings.ends_at_ms` and `idle_until_ms`; absent = never. An expired
    /// record counts as deleted.
    #[serde(default)]
    pub expires_at_ms: Option<u64>,
    /// When the room was last known to have a member; 0 = never.
    #[serde(default)]
    pub last_active_ms: u64,
    /// Number of sessions opened in the room. Written behind, so a crash may lose some.
    #[serde(default)]
    pub joins: u64,
    /// Number of peer connections that members reported as connected. Written behind, so a crash may lose some.
    #[serde(default)]
    pub calls: u64,
}

/// The settings of a room, chosen by the application. An update replaces all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Human-readable name of the room.
    #[serde(default)]
    pub display_name: String,
    /// Maximum number of members; absent = the server's default.
    #[serde(default)]
    pub max_members: Option<u32>,
    /// Whether the room rejects joins.
    #[serde(default)]
    pub locked: bool,
    /// Hash of the passcode for joins, as an argon2id PHC string; absent = no passcode.
    #[serde(default)]
    pub passcode_hash: Option<String>,
    /// Whether members may connect through TURN only. The server then removes all other ICE candidates.
    #[serde(default)]
    pub relay_only: bool,
    /// Number of the `DuplicateIdentity` value; 0 = REPLACE.
    #[serde(default)]
    pub duplicate_identity: i32,
    /// How long the store keeps the record of an empty room; absent = until deleted.
    #[serde(default)]
    pub empty_timeout_ms: Option<u64>,
    /// When the room ends, even if it has members; absent = never.
    #[serde(default)]
    pub ends_at_ms: Option<u64>,
    /// Labels that the application attaches to the room.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Banned identities, with the end of each ban.
    #[serde(default)]
    pub bans: BTreeMap<String, u64>,
}

impl Record {
    /// Creates the record of a new room.
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

    /// Replaces the settings and restarts the empty timeout.
    pub fn update(&mut self, settings: Settings, now_ms: u64) {
        self.idle_until_ms = settings.idle_until(now_ms, GRACE);
        self.expires_at_ms = settings.expiry(self.idle_until_ms);
        self.settings = settings;
        self.version += 1;
        self.updated_at_ms = now_ms;
    }

    /// Renews the expiry of a room in use.
    pub fn renew_expiry(&mut self, now_ms: u64, grace: Duration) {
        self.idle_until_ms = self.settings.idle_until(now_ms, grace);
        self.expires_at_ms = self.settings.expiry(self.idle_until_ms);
    }

    /// Adds usage to the counters, without overflow.
    pub fn add_usage(&mut self, usage: &Usage) {
        self.joins = self.joins.saturating_add(usage.joins);
        self.calls = self.calls.saturating_add(usage.calls);
        self.last_active_ms = self.last_active_ms.max(usage.last_active_ms);
    }

    /// Returns whether the record has expired and counts as deleted.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now_ms)
    }

    /// Returns whether the record has all of the given labels.
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.settings.labels.get(key) == Some(value))
    }

    /// Fills in the fields that records without a schema version lack.
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
    /// Returns when the record expires if the room stays empty from now on; `None` = never.
    pub(super) fn idle_until(&self, now_ms: u64, grace: Duration) -> Option<u64> {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.empty_timeout_ms.map(|timeout| now_ms.saturating_add(timeout).saturating_add(grace))
    }

    /// Returns when the record expires: the earlier of `ends_at_ms` and `idle_until_ms`.
    pub(super) fn expiry(&self, idle_until_ms: Option<u64>) -> Option<u64> {
        self.ends_at_ms.into_iter().chain(idle_until_ms).min()
    }
}
