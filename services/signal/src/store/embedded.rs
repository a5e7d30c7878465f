//! The embedded store: one redb file in a folder. It needs no setup, but only one server can use it.

mod database_file;

use std::{fs, ops::Bound, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableHandle};
use serde_json::{Map, Value};
use signalbox_core::id::RoomName;
use tracing::warn;

use self::database_file::DatabaseFile;
use super::{Created, Filter, Record, Settings, Store, Unavailable, Updated, Usage};
use crate::clock::now_ms;

/// Maps room names to records in JSON, which keeps records of newer versions readable.
const ROOMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rooms");

type Rooms<'t> = Table<'t, &'static str, &'static [u8]>;

/// Room records in a redb file.
pub struct EmbeddedStore {
    file: Arc<DatabaseFile>,
}

impl EmbeddedStore {
    /// Opens the store in a folder, and creates the folder and the file if missing. redb locks the file, so only one
    /// server can open it.
    pub async fn open(folder: PathBuf) -> Result<Self, String> {
        let open = move || {
            let fail =
                |error: &dyn std::fmt::Display| format!("cannot open the store in {}: {error}", folder.display());
            fs::create_dir_all(&folder).map_err(|error| fail(&error))?;
            let file = DatabaseFile::open(folder.join("rooms.redb")).map_err(|error| fail(&error))?;
            file.with(|database| {
                let begin = database.begin_write()?;
                begin.open_table(ROOMS)?;
                Ok(begin.commit()?)
            })
            .map_err(|error| fail(&error))?;
            Ok(Self { file: Arc::new(file) })
        };
        run(open).await.unwrap_or_else(|Unavailable| Err("cannot open the store: its task failed".to_owned()))
    }

    /// Runs `work` on a blocking thread, since a commit waits for the disk.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let file = self.file.clone();
        run(move || file.with(work)).await?.map_err(Unavailable::because)
    }

    /// Runs `work` in a write transaction, which an error rolls back.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Rooms<'_>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let result = work(&mut transaction.open_table(ROOMS)?)?;
            transaction.commit()?;
            Ok(result)
        })
        .await
    }
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unavailable> {
    tokio::task::spawn_blocking(work).await.map_err(Unavailable::because)
}

fn decode(bytes: &[u8]) -> Result<Record, redb::Error> {
    serde_json::from_slice(bytes)
        .map(Record::complete)
        .map_err(|error| redb::Error::Corrupted(format!("unreadable record in table {}: {error}", ROOMS.name())))
}

fn read(rooms: &impl ReadableTable<&'static str, &'static [u8]>, name: &str) -> Result<Option<Record>, redb::Error> {
    rooms.get(name)?.map(|found| decode(found.value())).transpose()
}

/// Writes a record. Keeps unknown fields of the stored record, so that a downgrade does not lose what a newer version
/// added.
fn write(rooms: &mut Rooms<'_>, record: &Record) -> Result<(), redb::Error> {
    let name = record.name.as_str();
    let old = rooms.get(name)?.and_then(|old| serde_json::from_slice::<Map<String, Value>>(old.value()).ok());
    let mut whole = old.unwrap_or_default();
    let Ok(Value::Object(known)) = serde_json::to_value(record) else {
        unreachable!("a record is a struct with string keys only, so its JSON form is an object");
    };
    whole.extend(known);
    let bytes = serde_json::to_vec(&whole).expect("a map with string keys has a JSON form");
    rooms.insert(name, bytes.as_slice())?;
    Ok(())
}

#[async_trait]
impl Store for EmbeddedStore {
    fn kind(&self) -> &'static str {
        "redb"
    }

    async fn check(&self) -> Result<(), Unavailable> {
        if self.file.has_failed() {
            let file = self.file.clone();
            run(move || file.probe()).await?.map_err(Unavailable::because)?;
            // A write has failed since the last check. Report it once, even though the probe has succeeded.
            return Err(Unavailable);
        }
        self.with(|database| Ok(database.begin_read()?.open_table(ROOMS).map(drop)?)).await
    }

    async fn create(&self, record: Record) -> Result<Created, Unavailable> {
        self.change(move |rooms| {
            if let Some(existing) = read(rooms, &record.name)?.filter(|old| !old.is_expired(now_ms())) {
                return Ok(Created::Exists(Box::new(existing)));
            }
            rooms.remove(record.name.as_str())?;
            write(rooms, &record)?;
            Ok(Created::New)
        })
        .await
    }

    async fn get(&self, name: &RoomName) -> Result<Option<Record>, Unavailable> {
        let name = name.clone();
        self.with(move |database| {
            let rooms = database.begin_read()?.open_table(ROOMS)?;
            Ok(read(&rooms, name.as_str())?.filter(|record| !record.is_expired(now_ms())))
        })
        .await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Record>, Unavailable> {
        self.with(move |database| {
            let rooms = database.begin_read()?.open_table(ROOMS)?;
            let now = now_ms();
            let from = filter.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut page = Vec::new();
            for row in rooms.range::<&str>((from, Bound::Unbounded))? {
                if page.len() == filter.limit {
                    break;
                }
                let (_, row) = row?;
                // An unreadable record must not make the whole list fail.
                let Ok(record) = decode(row.value()).inspect_err(|error| warn!(%error, "room record skipped")) else {
                    continue;
                };
                if !record.is_expired(now) && record.has_labels(&filter.labels) {
                    page.push(record);
                }
            }
            Ok(page)
        })
        .await
    }

    async fn update(
        &self,
        name: &RoomName,
        expected_version: Option<u64>,
        settings: Settings,
    ) -> Result<Updated, Unavailable> {
        let name = name.clone();
        self.change(move |rooms| {
            let now = now_ms();
            let Some(mut record) = read(rooms, name.as_str())?.filter(|record| !record.is_expired(now)) else {
                return Ok(Updated::Missing);
            };
            if expected_version.is_some_and(|expected| expected != record.version) {
                return Ok(Updated::Conflict(Box::new(record)));
            }
            record.update(settings, now);
            write(rooms, &record)?;
            Ok(Updated::Done(Box::new(record)))
        })
        .await
    }

    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable> {
        let name = name.clone();
        self.change(move |rooms| {
            let old = rooms.remove(name.as_str())?.map(|old| decode(old.value())).transpose()?;
            Ok(old.is_some_and(|old| !old.is_expired(now_ms())))
        })
        .await
    }

    async fn renew_expiry(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable> {
        self.change(move |rooms| {
            let now = now_ms();
            for name in &in_use {
                let record = read(rooms, name.as_str())?;
                if let Some(mut record) = record.filter(|record| record.settings.empty_timeout_ms.is_some()) {
                    record.renew_expiry(now, grace);
                    write(rooms, &record)?;
                }
            }
            let mut expired = Vec::new();
            for row in rooms.iter()? {
                let (name, row) = row?;
                if decode(row.value()).is_ok_and(|record| record.is_expired(now)) {
                    expired.push(name.value().to_owned());
                }
            }
            for name in &expired {
                rooms.remove(name.as_str())?;
            }
            Ok(expired.len())
        })
        .await
    }

    async fn add_usage(&self, usages: Vec<Usage>) -> Result<(), Unavailable> {
        self.change(move |rooms| {
            for usage in &usages {
                if let Some(mut record) = read(rooms, usage.name.as_str())? {
                    record.add_usage(usage);
                    write(rooms, &record)?;
                }
            }
            Ok(())
        })
        .await
    }
}
