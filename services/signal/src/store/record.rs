//! What is stored of a room. Times are milliseconds since 1970, UTC.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_core::id::RoomName;

use super::Usage;

/// Form of the records that this version writes. It reads older ones, and what it knows of newer ones.
pub const SCHEMA: u32 = 1;
/// How much longer than its empty timeout a record is kept: its expiry is put off at most this late.
pub const GRACE: Duration = Duration::from_secs(60);

/// What is stored of a room: its settings, and what the server keeps of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Form of the record; absent in those from before there was a number.
    #[serde(default)]
    pub schema: u32,
    /// The room's name, and the record's key.
    pub name: String,
    /// What the application chose.
    #[serde(flatten)]
    pub settings: Settings,
    /// Rises with every change of the settings, and with nothing else.
    pub version: u64,
    /// When the room was created.
    pub created_at_ms: u64,
    /// When the settings changed last.
    #[serde(default)]
    pub updated_at_ms: u64,

    // === bookkeeping: changes without a new version ===
    /// When the record ends because nobody is in the room; put off while somebody is. Absent = never.
    #[serde(default)]
    pub idle_until_ms: Option<u64>,
    /// When the record ends: the earlier of `settings.ends_at_ms` and `idle_until_ms`; absent = never. A record past it
    /// counts as gone.
    #[serde(default)]
    pub expires_at_ms: Option<u64>,
    /// When somebody was last known to be in the room; 0 = never.
    #[serde(default)]
    pub last_active_ms: u64,
    /// Sessions that were opened in the room. Counted from time to time: a crash may lose some.
    #[serde(default)]
    pub joins: u64,
    /// Peer connections that members reported as connected. Counted as `joins` are.
    #[serde(default)]
    pub calls: u64,
}

/// What the application chose for a room. An update replaces all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Shown to people.
    #[serde(default)]
    pub display_name: String,
    /// Seats; absent = the server's default.
    #[serde(default)]
    pub max_members: Option<u32>,
    /// Nobody new may join.
    #[serde(default)]
    pub locked: bool,
    /// What joining needs, as an argon2id hash in PHC form; absent = nothing.
    #[serde(default)]
    pub passcode_hash: Option<String>,
    /// Only candidates of a TURN server are let through.
    #[serde(default)]
    pub relay_only: bool,
    /// `DuplicateIdentity`, by number; 0 = REPLACE.
    #[serde(default)]
    pub duplicate_identity: i32,
    /// How long the record is kept when nobody is in the room; absent = until deleted.
    #[serde(default)]
    pub empty_timeout_ms: Option<u64>,
    /// When the room ends, whoever is in it; absent = never.
    #[serde(default)]
    pub ends_at_ms: Option<u64>,
    /// For the application.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Identities that may not join, and until when.
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

    /// Replaces the settings. The empty timeout counts anew from now.
    pub fn update(&mut self, settings: Settings, now_ms: u64) {
        self.idle_until_ms = settings.idle_until(now_ms, GRACE);
        self.expires_at_ms = settings.expiry(self.idle_until_ms);
        self.settings = settings;
        self.version += 1;
        self.updated_at_ms = now_ms;
    }

    /// Puts off the end of a room that somebody is in.
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

    /// Whether the record counts as gone.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now_ms)
    }

    /// Whether the record has all of these labels.
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.settings.labels.get(key) == Some(value))
    }

    /// Fills in what records of the first form, which had no number, do not say.
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
    /// When the record of a room that is used now ends, unless it is used again.
    pub(super) fn idle_until(&self, now_ms: u64, grace: Duration) -> Option<u64> {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.empty_timeout_ms.map(|timeout| now_ms.saturating_add(timeout).saturating_add(grace))
    }

    /// When the record ends.
    pub(super) fn expiry(&self, idle_until_ms: Option<u64>) -> Option<u64> {
        self.ends_at_ms.into_iter().chain(idle_until_ms).min()
    }
}
