//! Where room records are kept. Never on the path of a signal: a store is asked when a room is created, when the first
//! member joins it, when its settings change, and for bookkeeping.

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

/// What came of creating a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// There was one of that name: this.
    Exists(Box<Record>),
}

/// What came of changing a record's settings.
#[derive(Debug, PartialEq, Eq)]
pub enum Updated {
    /// They are changed; the record as it is now.
    Done(Box<Record>),
    /// The record's version is not the one that was expected: this is how it is.
    Conflict(Box<Record>),
    /// There is none of that name.
    Missing,
}

/// Which records to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those whose name comes after this, in the order of its bytes.
    pub after: Option<String>,
    /// Only those that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// How many at the most.
    pub limit: usize,
}

/// What happened in a room since its record was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The room.
    pub name: RoomName,
    /// Sessions that were opened.
    pub joins: u64,
    /// Peer connections that were reported as connected.
    pub calls: u64,
    /// When somebody was last known to be in it.
    pub last_active_ms: u64,
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

    /// Records by name, ascending, without the expired ones.
    async fn list(&self, filter: Filter) -> Result<Vec<Record>, Unavailable>;

    /// Replaces the settings of the record of that name, unless it has another version than the expected one. The
    /// empty timeout counts anew from now.
    async fn update(
        &self,
        name: &RoomName,
        expected_version: Option<u64>,
        settings: Settings,
    ) -> Result<Updated, Unavailable>;

    /// Deletes a record; says whether there was one.
    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable>;

    /// Puts off the end of records of rooms in use, each by its own empty timeout and `grace`, also where it has passed,
    /// and may delete those that have expired. Says how many were deleted.
    async fn renew_expiry(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable>;

    /// Adds to the counters of the records that are there. Some of it may be lost, or counted twice, when it fails.
    async fn add_usage(&self, usages: Vec<Usage>) -> Result<(), Unavailable>;
}

/// Where to keep the records, as given on the command line. Shown without credentials.
#[derive(Debug, Clone)]
pub enum StoreUrl {
    /// `redb:PATH`: the embedded store, in that folder.
    Embedded(PathBuf),
    /// `mongodb://...` or `mongodb+srv://...`: a MongoDB.
    Mongo(Box<MongoUrl>),
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("redb", path)) if !path.is_empty() => Ok(Self::Embedded(path.into())),
            Some(("mongodb" | "mongodb+srv", _)) => Ok(Self::Mongo(Box::new(MongoUrl::parse(text)?))),
            _ => Err("expected redb:PATH, a folder for the embedded store, or mongodb://HOST/DATABASE".to_owned()),
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
    /// Opens the store. A MongoDB that is away is none of its business: the store connects when it is there.
    pub async fn open(&self) -> Result<Arc<dyn Store>, String> {
        match self {
            Self::Embedded(path) => Ok(Arc::new(EmbeddedStore::open(path.clone()).await?)),
            Self::Mongo(url) => Ok(Arc::new(MongoStore::open(MongoUrl::clone(url)).await?)),
        }
    }
}
