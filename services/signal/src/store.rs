//! The store of room records. No signal waits for it: the server calls it when a room is created, when its first member
//! joins, when its settings change, and for write-behind.

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
    /// A record with that name exists.
    Exists(Box<Record>),
}

/// The result of updating a record's settings.
#[derive(Debug, PartialEq, Eq)]
pub enum Updated {
    /// The updated record.
    Done(Box<Record>),
    /// The current record, whose version is not the expected one.
    Conflict(Box<Record>),
    /// No record has that name.
    Missing,
}

/// Selects records for a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only names after this one, in byte order.
    pub after: Option<String>,
    /// Only records that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Maximum number of records.
    pub limit: usize,
}

/// The usage of a room since its record was last updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The room.
    pub name: RoomName,
    /// Sessions opened.
    pub joins: u64,
    /// Peer connections reported as connected.
    pub calls: u64,
    /// When the room was last known to have a member.
    pub last_active_ms: u64,
}

/// The call failed, or its result is unknown. The server's log has the cause.
#[derive(Debug)]
pub struct Unavailable;

impl Unavailable {
    /// Logs the cause of a failed call.
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
    /// The kind of store, for display.
    fn kind(&self) -> &'static str;

    /// Checks that the store is available.
    async fn check(&self) -> Result<(), Unavailable>;

    /// Creates a record, unless one with that name exists. It replaces an expired one.
    async fn create(&self, record: Record) -> Result<Created, Unavailable>;

    /// Returns the record with that name, unless it has expired.
    async fn get(&self, name: &RoomName) -> Result<Option<Record>, Unavailable>;

    /// Returns records that have not expired, in ascending order of their names.
    async fn list(&self, filter: Filter) -> Result<Vec<Record>, Unavailable>;

    /// Replaces the settings of a record, unless its version is not the expected one. The empty timeout starts again.
    async fn update(
        &self,
        name: &RoomName,
        expected_version: Option<u64>,
        settings: Settings,
    ) -> Result<Updated, Unavailable>;

    /// Deletes a record. Returns whether one existed that had not expired.
    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable>;

    /// Extends the expiry of records of rooms in use to their empty timeout and `grace` from now, even if they have
    /// expired. May delete other expired records, and returns how many.
    async fn renew_expiry(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable>;

    /// Adds usage to the counters of existing records. After a failure, some of it may be lost or counted twice.
    async fn add_usage(&self, usages: Vec<Usage>) -> Result<(), Unavailable>;
}

/// Where the records are stored, as given on the command line. Displayed without credentials.
#[derive(Debug, Clone)]
pub enum StoreUrl {
    /// `redb:PATH`: the embedded store in that folder.
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
    /// Opens the store. It does not wait for MongoDB: that store connects when the database is available.
    pub async fn open(&self) -> Result<Arc<dyn Store>, String> {
        match self {
            Self::Embedded(path) => Ok(Arc::new(EmbeddedStore::open(path.clone()).await?)),
            Self::Mongo(url) => Ok(Arc::new(MongoStore::open(MongoUrl::clone(url)).await?)),
        }
    }
}
