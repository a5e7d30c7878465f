//! The store of room records. It is not on the path of a signal: the server calls it when a room is created, when its
//! first member joins, when its settings change, and for write-behind.

mod embedded;
mod mongodb;
mod record;

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use signalbox_core::id::RoomName;
use tracing::warn;

pub use self::{
    embedded::EmbeddedStore,
    mongodb::{MongoStore, MongoUrl},
    record::{GRACE, Record, SCHEMA, Settings},
};
use crate::error::Error;

/// The result of creating a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// The record was created.
    New,
    /// A record with this name already exists.
    Exists(Box<Record>),
}

/// The result of updating a record's settings.
#[derive(Debug, PartialEq, Eq)]
pub enum Updated {
    /// The update succeeded. Holds the updated record.
    Done(Box<Record>),
    /// The version check failed. Holds the current record.
    Conflict(Box<Record>),
    /// No record has this name.
    Missing,
}

/// Selects the records that [`Store::list`] returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Excludes names up to and including this one, in byte order.
    pub after: Option<String>,
    /// Labels that a record must have, with their values.
    pub labels: BTreeMap<String, String>,
    /// Maximum number of records.
    pub limit: usize,
}

/// The usage of a room since the last update of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Name of the room.
    pub name: RoomName,
    /// Number of sessions opened.
    pub joins: u64,
    /// Number of peer connections that members reported as connected.
    pub calls: u64,
    /// Latest known time at which the room had a member.
    pub last_active_ms: u64,
}

/// A store call failed, or its result is unknown. The log has the cause.
#[derive(Debug)]
pub struct Unavailable;

impl Unavailable {
    /// Logs the cause of a failed store call.
    pub fn because(error: impl fmt::Display) -> Self {
        warn!(%error, "room store call failed");
        Self
    }
}

impl From<Unavailable> for Error {
    fn from(Unavailable: Unavailable) -> Self {
        Self::StoreUnavailable
    }
}

/// A store of room records.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Returns the kind of store, for display.
    fn kind(&self) -> &'static str;

    /// Checks that the store is available.
    async fn check(&self) -> Result<(), Unavailable>;

    /// Creates a record, unless an unexpired record with its name exists.
    async fn create(&self, record: Record) -> Result<Created, Unavailable>;

    /// Returns a record, or `None` if it does not exist or has expired.
    async fn get(&self, name: &RoomName) -> Result<Option<Record>, Unavailable>;

    /// Returns the unexpired records that match a filter, in ascending order of their names.
    async fn list(&self, filter: Filter) -> Result<Vec<Record>, Unavailable>;

    /// Replaces the settings of a record and restarts its empty timeout, unless its version differs from
    /// `expected_version`.
    async fn update(
        &self,
        name: &RoomName,
        expected_version: Option<u64>,
        settings: Settings,
    ) -> Result<Updated, Unavailable>;

    /// Deletes a record. Returns whether an unexpired record existed.
    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable>;

    /// Renews the records of rooms in use, even expired ones, so that each expires after its empty timeout plus
    /// `grace`. May delete other expired records, and returns how many it deleted.
    async fn renew_expiry(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable>;

    /// Adds usage to the counters of existing records. If the call fails, some usage may be lost or counted twice.
    async fn add_usage(&self, usages: Vec<Usage>) -> Result<(), Unavailable>;
}

/// Location of the room records, parsed from `--store`. Its display form omits credentials.
#[derive(Debug, Clone)]
pub enum StoreUrl {
    /// `redb:PATH`: the embedded store in the folder PATH.
    Embedded(PathBuf),
    /// `mongodb://...` or `mongodb+srv://...`: a MongoDB database.
    Mongo(Box<MongoUrl>),
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("redb", path)) if !path.is_empty() => Ok(Self::Embedded(path.into())),
            Some(("mongodb" | "mongodb+srv", _)) => Ok(Self::Mongo(Box::new(MongoUrl::parse(text)?))),
            _ => Err("use redb:PATH (a folder for the embedded store) or mongodb://HOST/DATABASE".to_owned()),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(path) => write!(f, "redb:{}", path.display()),
            Self::Mongo(url) => url.fmt(f),
        }
    }
}

impl StoreUrl {
    /// Opens the store. A MongoDB store opens without a connection, and connects when the database is available.
    pub async fn open(&self) -> Result<Arc<dyn Store>, String> {
        match self {
            Self::Embedded(path) => Ok(Arc::new(EmbeddedStore::open(path.clone()).await?)),
            Self::Mongo(url) => Ok(Arc::new(MongoStore::open(MongoUrl::clone(url)).await?)),
        }
    }
}
