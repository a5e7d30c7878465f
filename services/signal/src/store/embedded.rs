//! The embedded store: one redb file in a folder of the server's. Needs no set-up; for one server.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};

use tracing::warn;

use super::{Created, Record, Store, Unavailable, now_ms};
use crate::room::id::RoomName;

/// Name → record, as JSON: a record that a newer version wrote stays readable.
const ROOMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rooms");

/// Room records in a redb file.
pub struct EmbeddedStore {
    database: Arc<Database>,
}

impl EmbeddedStore {
    /// Opens the store in a folder, making both where they are missing. Only one server at a time can have it open.
    pub async fn open(folder: PathBuf) -> Result<Self, String> {
        let open = move || {
            let fail =
                |error: &dyn std::fmt::Display| format!("cannot open the store in {}: {error}", folder.display());
            fs::create_dir_all(&folder).map_err(|error| fail(&error))?;
            let database = Database::create(folder.join("rooms.redb")).map_err(|error| fail(&error))?;
            let begin = database.begin_write().map_err(|error| fail(&error))?;
            begin.open_table(ROOMS).map_err(|error| fail(&error))?;
            begin.commit().map_err(|error| fail(&error))?;
            Ok(Self { database: Arc::new(database) })
        };
        run(open).await.unwrap_or_else(|Unavailable| Err("the store's task failed".to_owned()))
    }

    /// Runs `work` where blocking is allowed: a commit waits for the disk.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let database = self.database.clone();
        run(move || work(&database)).await?.map_err(Unavailable::because)
    }
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unavailable> {
    tokio::task::spawn_blocking(work).await.map_err(Unavailable::because)
}

fn decode(bytes: &[u8]) -> Result<Record, redb::Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| redb::Error::Corrupted(format!("a record of {} is unreadable: {error}", ROOMS.name())))
}

fn encode(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record has string keys only, so it has a JSON form")
}

#[async_trait]
impl Store for EmbeddedStore {
    fn kind(&self) -> &'static str {
        "redb"
    }

    async fn check(&self) -> Result<(), Unavailable> {
        self.with(|database| Ok(database.begin_read()?.open_table(ROOMS).map(drop)?)).await
    }

    async fn create(&self, record: Record) -> Result<Created, Unavailable> {
        self.with(move |database| {
            let write = database.begin_write()?;
            {
                let mut rooms = write.open_table(ROOMS)?;
                let existing = rooms.get(record.name.as_str())?.map(|old| decode(old.value())).transpose()?;
                if let Some(existing) = existing.filter(|old| !old.is_expired(now_ms())) {
                    return Ok(Created::Exists(existing));
                }
                rooms.insert(record.name.as_str(), encode(&record).as_slice())?;
            }
            write.commit()?;
            Ok(Created::New)
        })
        .await
    }

    async fn get(&self, name: &RoomName) -> Result<Option<Record>, Unavailable> {
        let name = name.clone();
        self.with(move |database| {
            let rooms = database.begin_read()?.open_table(ROOMS)?;
            let record = rooms.get(name.as_str())?.map(|found| decode(found.value())).transpose()?;
            Ok(record.filter(|record| !record.is_expired(now_ms())))
        })
        .await
    }

    async fn list(&self, after: Option<String>, limit: usize) -> Result<Vec<Record>, Unavailable> {
        self.with(move |database| {
            let rooms = database.begin_read()?.open_table(ROOMS)?;
            let now = now_ms();
            let mut page = Vec::new();
            for row in rooms.range(after.as_deref().unwrap_or_default()..)? {
                let (name, record) = row?;
                if page.len() == limit {
                    break;
                }
                // One that cannot be read must not hide the others.
                let Ok(record) = decode(record.value()).inspect_err(|error| warn!(%error, "skipped a room record"))
                else {
                    continue;
                };
                if after.as_deref() != Some(name.value()) && !record.is_expired(now) {
                    page.push(record);
                }
            }
            Ok(page)
        })
        .await
    }

    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable> {
        let name = name.clone();
        self.with(move |database| {
            let write = database.begin_write()?;
            let existed = {
                let mut rooms = write.open_table(ROOMS)?;
                let old = rooms.remove(name.as_str())?.map(|old| decode(old.value())).transpose()?;
                old.is_some_and(|old| !old.is_expired(now_ms()))
            };
            write.commit()?;
            Ok(existed)
        })
        .await
    }

    async fn keep(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable> {
        self.with(move |database| {
            let now = now_ms();
            let write = database.begin_write()?;
            let expired = {
                let mut rooms = write.open_table(ROOMS)?;
                for name in &in_use {
                    let record = rooms.get(name.as_str())?.map(|found| decode(found.value())).transpose()?;
                    if let Some((mut record, timeout)) = record.and_then(|r| r.empty_timeout_ms.map(|t| (r, t))) {
                        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
                        record.expires_at_ms = Some(now.saturating_add(timeout).saturating_add(grace));
                        rooms.insert(name.as_str(), encode(&record).as_slice())?;
                    }
                }
                let mut expired = Vec::new();
                for row in rooms.iter()? {
                    let (name, record) = row?;
                    if decode(record.value()).is_ok_and(|record| record.is_expired(now)) {
                        expired.push(name.value().to_owned());
                    }
                }
                for name in &expired {
                    rooms.remove(name.as_str())?;
                }
                expired.len()
            };
            write.commit()?;
            Ok(expired)
        })
        .await
    }
}
