//! Room records in MongoDB, for rooms that must survive the loss of a machine and for applications that already use
//! MongoDB.
//!
//! Writes use `w=majority`, and reads go to the primary. Every call ends within [`CALL_TIMEOUT`]. A call without a
//! reply returns [`Unavailable`]: its result is unknown, and a retry is safe.

mod breaker;
mod document;
mod url;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use mongodb::{
    Client, Collection, Database, IndexModel,
    bson::{Document, Uuid, doc},
    error::{Error, ErrorKind, Result, WriteFailure},
    options::{IndexOptions, ReturnDocument},
};
use parking_lot::Mutex;
use signalbox_core::id::RoomName;
use tokio::{
    sync::{OnceCell, Semaphore},
    time,
};
use tracing::{debug, info, warn};

pub use self::url::MongoUrl;
use self::{
    breaker::Breaker,
    document::{alive, date, decode, encode, encode_settings},
    url::write_concern,
};
use super::{Created, Filter, Record, Settings, Store, Unavailable, Updated, Usage};
use crate::clock::now_ms;

/// Deadline of a store call, including the wait for a permit.
const CALL_TIMEOUT: Duration = Duration::from_millis(1500);
/// Maximum number of concurrent store calls. Further calls queue, because a call that times out in the driver costs its
/// connection.
const MAX_CALLS: usize = 64;
/// Attempts to create a record while other writes conflict or connections are lost.
const CREATE_ATTEMPTS: usize = 4;
/// Maximum number of rooms in one write-behind command.
const BATCH: usize = 1000;
/// Delay between the expiry of a document and its deletion by the TTL index. Meanwhile the server can still renew the
/// expiry of a room in use, and clock skew is harmless.
const TTL_DELAY: Duration = Duration::from_secs(3600);
/// MongoDB's error code for the insertion of an existing `_id`.
const DUPLICATE_KEY: i32 = 11000;

/// Room records in MongoDB.
pub struct MongoStore {
    url: MongoUrl,
    /// Created at the first call, because `mongodb+srv` needs DNS, which may be unavailable at startup.
    client: OnceCell<Client>,
    calls: Semaphore,
    /// A blocking lock, since no code awaits while it holds the lock.
    breaker: Mutex<Breaker>,
    /// Whether `initialize` has succeeded.
    is_initialized: AtomicBool,
}

impl MongoStore {
    /// Creates a store that connects in the background when the database is available. Fails if the driver cannot apply
    /// the URL, for example because a key file is missing.
    pub async fn open(url: MongoUrl) -> std::result::Result<Self, String> {
        let store = Self {
            client: OnceCell::new(),
            calls: Semaphore::new(MAX_CALLS),
            breaker: Mutex::default(),
            is_initialized: AtomicBool::new(false),
            url,
        };
        if !store.url.needs_dns() {
            store.database().await.map_err(|error| format!("cannot use --store {}: {}", store.url, error.kind))?;
        }
        Ok(store)
    }

    /// Makes a store call, unless the circuit breaker is open.
    async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Unavailable> {
        if !self.breaker().admits(Instant::now()) {
            debug!(call = name, "room store call rejected: the circuit breaker is open");
            return Err(Unavailable);
        }
        self.attempt(name, work).await
    }

    /// Makes a store call, even if the circuit breaker is open.
    async fn attempt<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Unavailable> {
        let call = async {
            let _permit = self.calls.acquire().await;
            work.await
        };
        let error = match time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(result)) => {
                if self.breaker().answered() {
                    info!(store = %self.url, "room store available again");
                }
                return Ok(result);
            }
            // A malformed document is not an outage, so the breaker ignores it.
            Ok(Err(error)) if matches!(*error.kind, ErrorKind::Bson(_)) => {
                return Err(Unavailable::because(error.kind));
            }
            Ok(Err(error)) => error.kind.to_string(),
            Err(_) => format!("no answer within {CALL_TIMEOUT:?}"),
        };
        let (was_open, is_open) = self.breaker().failed(Instant::now());
        if was_open {
            debug!(call = name, error, "room store call failed");
        } else {
            warn!(call = name, error, "room store call failed");
        }
        if is_open && !was_open {
            warn!(store = %self.url, "room store unavailable: calls fail at once until it answers again");
        }
        Err(Unavailable)
    }

    fn breaker(&self) -> parking_lot::MutexGuard<'_, Breaker> {
        self.breaker.lock()
    }

    async fn database(&self) -> Result<Database> {
        let client = self.client.get_or_try_init(async || Client::with_options(self.url.options().await?)).await?;
        Ok(client.database(self.url.database()))
    }

    async fn rooms(&self) -> Result<Collection<Document>> {
        Ok(self.database().await?.collection("rooms"))
    }

    /// Logs the kind of deployment and creates the indexes. Does nothing after the first success.
    async fn initialize(&self) -> Result<()> {
        if self.is_initialized.load(Ordering::Relaxed) {
            return Ok(());
        }
        let hello = self.database().await?.run_command(doc! { "hello": 1 }).await?;
        if let Ok(replica_set) = hello.get_str("setName") {
            info!(store = %self.url, replica_set, "connected to MongoDB");
        } else if hello.get_str("msg").is_ok_and(|kind| kind == "isdbgrid") {
            info!(store = %self.url, "connected to a sharded MongoDB");
        } else {
            warn!(
                store = %self.url,
                "connected to a standalone MongoDB: rooms are lost with its disk, none can be created while it is down, \
                 and a change whose reply is lost is not retried. Use a replica set of three to avoid this"
            );
        }
        let expiry = IndexModel::builder()
            .keys(doc! { "expires_at": 1 })
            .options(IndexOptions::builder().name("expires_at_ttl".to_owned()).expire_after(TTL_DELAY).build())
            .build();
        let labels = IndexModel::builder()
            .keys(doc! { "labels": 1, "_id": 1 })
            .options(IndexOptions::builder().name("labels".to_owned()).build())
            .build();
        match self.rooms().await?.create_indexes([expiry, labels]).await {
            // MongoDB rejected the command and would reject a retry. Without indexes the store works, but more slowly.
            Err(error) if matches!(*error.kind, ErrorKind::Command(_)) => {
                warn!(error = %error.kind, "cannot create room indexes: expired rooms stay in the database, and lists are slow");
            }
            created => drop(created?),
        }
        self.is_initialized.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn find(&self, name: &str) -> Result<Option<(Record, Option<Uuid>)>> {
        let found = self.rooms().await?.find_one(doc! { "_id": name }).await?;
        Ok(found.map(decode).transpose()?)
    }

    /// Creates a record. Retries within this call are idempotent, since the document contains the id of the call.
    async fn try_create(&self, record: &Record) -> Result<Created> {
        let rooms = self.rooms().await?;
        let creation = Uuid::new();
        let document = encode(record, creation)?;
        let mut failure = None;
        for _ in 0..CREATE_ATTEMPTS {
            // The upsert replaces an expired document or inserts a new one. If an unexpired document exists, the insert
            // fails with a duplicate key.
            let expired = doc! { "_id": &record.name, "$nor": [alive(now_ms())] };
            match rooms.replace_one(expired, &document).upsert(true).await {
                Ok(_) => return Ok(Created::New),
                Err(error) if is_duplicate(&error) => {}
                // The write may have succeeded before the connection was lost. The next attempt detects it by the
                // creation id.
                Err(error) if is_lost_connection(&error) => {
                    failure = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            match self.find(&record.name).await? {
                Some((_, Some(other))) if other == creation => {
                    // An earlier attempt of this call inserted the document, perhaps not on a majority yet. A no-op
                    // update waits for the majority.
                    let own = doc! { "_id": &record.name, "creation": creation };
                    rooms.update_one(own, doc! { "$set": { "creation": creation } }).await?;
                    return Ok(Created::New);
                }
                Some((existing, _)) if !existing.is_expired(now_ms()) => {
                    return Ok(Created::Exists(Box::new(existing)));
                }
                // The conflicting document has expired or was deleted, so the next attempt may succeed.
                _ => {}
            }
        }
        Err(failure.unwrap_or_else(|| Error::custom("every attempt met a conflicting create or delete".to_owned())))
    }
}

fn is_duplicate(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE_KEY,
        ErrorKind::Command(error) => error.code == DUPLICATE_KEY,
        _ => false,
    }
}

fn is_lost_connection(error: &Error) -> bool {
    matches!(*error.kind, ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. })
}

#[async_trait]
impl Store for MongoStore {
    fn kind(&self) -> &'static str {
        "mongodb"
    }

    /// Writes a document, since the server cannot use a read-only database. Bypasses the circuit breaker, because this
    /// check closes it.
    async fn check(&self) -> std::result::Result<(), Unavailable> {
        self.attempt("check", async {
            let health = self.database().await?.collection::<Document>("health");
            let written = health
                .update_one(doc! { "_id": "check" }, doc! { "$set": { "at": date(now_ms()) } })
                .upsert(true)
                .await;
            match written {
                // A concurrent check inserted the document first.
                Err(error) if is_duplicate(&error) => {}
                written => drop(written?),
            }
            self.initialize().await
        })
        .await
    }

    async fn create(&self, record: Record) -> std::result::Result<Created, Unavailable> {
        self.call("create", self.try_create(&record)).await
    }

    async fn get(&self, name: &RoomName) -> std::result::Result<Option<Record>, Unavailable> {
        let found = self.call("get", self.find(name.as_str())).await?;
        Ok(found.map(|(record, _)| record).filter(|record| !record.is_expired(now_ms())))
    }

    async fn list(&self, filter: Filter) -> std::result::Result<Vec<Record>, Unavailable> {
        let mut query = alive(now_ms());
        if let Some(after) = &filter.after {
            query.insert("_id", doc! { "$gt": after });
        }
        if !filter.labels.is_empty() {
            let labels: Vec<_> = filter.labels.iter().map(|(k, v)| doc! { "k": k, "v": v }).collect();
            query.insert("labels", doc! { "$all": labels });
        }
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        self.call("list", async {
            let mut found = self.rooms().await?.find(query).sort(doc! { "_id": 1 }).limit(limit).await?;
            let mut page = Vec::new();
            while found.advance().await? {
                // An unreadable record must not make the whole list fail.
                match decode(found.deserialize_current()?) {
                    Ok((record, _)) => page.push(record),
                    Err(error) => warn!(%error, "room record skipped"),
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
    ) -> std::result::Result<Updated, Unavailable> {
        let now = now_ms();
        self.call("update", async {
            let mut current = alive(now);
            current.insert("_id", name.as_str());
            if let Some(version) = expected_version {
                // BSON has no unsigned integers. -1 represents a version above `i64::MAX`, which no record has.
                current.insert("version", i64::try_from(version).unwrap_or(-1));
            }
            let mut set = encode_settings(&settings)?;
            let idle_until = settings.idle_until(now, super::GRACE);
            set.insert("updated_at", date(now));
            set.insert("idle_until", idle_until.map(date));
            set.insert("expires_at", settings.expiry(idle_until).map(date));
            let change = doc! { "$set": set, "$inc": { "version": 1_i64 } };
            let rooms = self.rooms().await?;
            let updated = rooms.find_one_and_update(current, change).return_document(ReturnDocument::After).await?;
            if let Some(updated) = updated {
                return Ok(Updated::Done(Box::new(decode(updated)?.0)));
            }
            let existing = self.find(name.as_str()).await?.filter(|(record, _)| !record.is_expired(now));
            Ok(match existing {
                Some((record, _)) if expected_version.is_some() => Updated::Conflict(Box::new(record)),
                _ => Updated::Missing,
            })
        })
        .await
    }

    async fn delete(&self, name: &RoomName) -> std::result::Result<bool, Unavailable> {
        let deleted = self.call("delete", async {
            let deleted = self.rooms().await?.find_one_and_delete(doc! { "_id": name.as_str() }).await?;
            Ok(deleted.map(decode).transpose()?)
        });
        Ok(deleted.await?.is_some_and(|(record, _)| !record.is_expired(now_ms())))
    }

    /// Always returns 0, because the TTL index deletes expired documents.
    async fn renew_expiry(&self, in_use: Vec<RoomName>, grace: Duration) -> std::result::Result<usize, Unavailable> {
        for batch in in_use.chunks(BATCH) {
            let names: Vec<_> = batch.iter().map(RoomName::as_str).collect();
            let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
            let idle_until = doc! { "$add": [date(now_ms()), "$empty_timeout_ms", grace] };
            self.call("renew_expiry", async {
                let rooms = self.rooms().await?;
                rooms
                    .update_many(
                        doc! { "_id": { "$in": names }, "empty_timeout_ms": { "$ne": null } },
                        vec![
                            doc! { "$set": { "idle_until": idle_until } },
                            // `$min` ignores missing fields, so a room without `ends_at` expires at `idle_until`.
                            doc! { "$set": { "expires_at": { "$min": ["$idle_until", "$ends_at"] } } },
                        ],
                    )
                    .await
            })
            .await?;
        }
        Ok(0)
    }

    async fn add_usage(&self, usages: Vec<Usage>) -> std::result::Result<(), Unavailable> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for batch in usages.chunks(BATCH) {
            let updates: Vec<_> = batch
                .iter()
                .map(|usage| {
                    let counters = doc! { "joins": number(usage.joins), "calls": number(usage.calls) };
                    let change = doc! { "$inc": counters, "$max": { "last_active_at": date(usage.last_active_ms) } };
                    doc! { "q": { "_id": usage.name.as_str() }, "u": change }
                })
                .collect();
            // The driver's `bulk_write` needs MongoDB 8.0, so this sends an `update` command.
            let command = doc! {
                "update": "rooms",
                "updates": updates,
                "ordered": false,
                "writeConcern": mongodb::bson::serialize_to_bson(&write_concern()).map_err(Unavailable::because)?,
            };
            self.call("add_usage", async { self.database().await?.run_command(command).await }).await?;
        }
        Ok(())
    }
}
