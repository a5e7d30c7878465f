//! Where room records are kept. Never on the path of a signal: a store is asked when a room is created, when the first
//! member joins it, when its settings change, and for bookkeeping.

mod embedded;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tracing::warn;

pub use self::embedded::EmbeddedStore;
use crate::{error::Error, room::id::RoomName};

/// What is stored of a room. Times are milliseconds since 1970, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The room's name, and the record's key.
    pub name: String,
    /// Shown to people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Seats; absent = the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_members: Option<u32>,
    /// Nobody new may join.
    #[serde(default)]
    pub locked: bool,
    /// `DuplicateIdentity`, by number.
    #[serde(default)]
    pub duplicate_identity: i32,
    /// How long the record is kept when nobody is in the room; absent = until deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_timeout_ms: Option<u64>,
    /// For the application.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When the room was created.
    pub created_at_ms: u64,
    /// When the record ends unless it is used; absent = never. A record past it counts as gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Rises with every change of the settings.
    pub version: u64,
}

impl Record {
    /// Whether the record counts as gone.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at| at <= now_ms)
    }
}

/// What came of creating a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// There was one of that name: this.
    Exists(Record),
}

/// The store did not do it, or it is not known whether it did. What went wrong is in the server's log.
#[derive(Debug)]
pub struct Unavailable;

impl Unavailable {
    /// Logs what went wrong.
    pub fn because(error: impl fmt::Display) -> Self {
        warn!(%error, "room store failed");
        Self
    }
}

impl From<Unavailable> for Error {
    fn from(Unavailable: Unavailable) -> Self {
        Self::StoreUnavailable
    }
}

/// A place for room records.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What kind of store it is, for people.
    fn kind(&self) -> &'static str;

    /// Whether the store can be reached.
    async fn check(&self) -> Result<(), Unavailable>;

    /// Adds a record, in the place of an expired one, unless there is one of that name.
    async fn create(&self, record: Record) -> Result<Created, Unavailable>;

    /// The record of that name, unless it has expired.
    async fn get(&self, name: &RoomName) -> Result<Option<Record>, Unavailable>;

    /// The records that come after a name, ascending, without the expired ones.
    async fn list(&self, after: Option<String>, limit: usize) -> Result<Vec<Record>, Unavailable>;

    /// Deletes a record; says whether there was one.
    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable>;

    /// Puts off the expiry of records that have one, each by its own empty timeout and `grace`, and deletes those that
    /// have expired. Says how many were deleted.
    async fn keep(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable>;
}

/// Where to keep the records, as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `redb:PATH`: the embedded store, in that folder.
    Embedded(PathBuf),
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("redb", path)) if !path.is_empty() => Ok(Self::Embedded(path.into())),
            _ => Err("expected redb:PATH, a folder for the embedded store".to_owned()),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(path) => write!(f, "redb:{}", path.display()),
        }
    }
}

impl StoreUrl {
    /// Opens the store.
    pub async fn open(&self) -> Result<Arc<dyn Store>, String> {
        match self {
            Self::Embedded(path) => Ok(Arc::new(EmbeddedStore::open(path.clone()).await?)),
        }
    }
}

/// Milliseconds since 1970, UTC.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
