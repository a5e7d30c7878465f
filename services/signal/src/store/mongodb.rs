//! Rooms in MongoDB: for rooms that outlive a machine, and for applications that have their data there already.
//!
//! Writes are acknowledged by a majority of the database's servers, reads are the primary's. Every call ends within
//! [`CALL_TIMEOUT`]. What was not acknowledged by then may have been done or not: it is [`Unavailable`], and asking again
//! is safe.

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

/// How long a call may take, with everything that it waits for.
const CALL_TIMEOUT: Duration = Duration::from_millis(1500);
/// Calls at the same time; more wait their turn, within their time. A call that is cut off costs its connection.
const MAX_CALLS: usize = 64;
/// How often a create snapshots again, when it and others come in each other's way or a connection breaks.
const CREATE_ATTEMPTS: usize = 4;
/// Rooms in one command of bookkeeping.
const BATCH: usize = 1000;
/// How long after its expiry a document may be deleted. Until then a room that is in use can have its expiry put off,
/// and clocks that differ do no harm.
const SWEEP_AFTER: Duration = Duration::from_secs(3600);
/// Code of a write that another one of the same `_id` came before.
const DUPLICATE_KEY: i32 = 11000;

/// Room records in MongoDB.
pub struct MongoStore {
    url: MongoUrl,
    /// Made at the first call: `mongodb+srv` asks the DNS, which may not answer when the server starts.
    client: OnceCell<Client>,
    calls: Semaphore,
    /// A std lock: nothing is awaited inside.
    breaker: Mutex<Breaker>,
    /// Whether the indexes are there and it was said what kind of MongoDB this is.
    greeted: AtomicBool,
}

impl MongoStore {
    /// A store that connects by itself, now or when the database is there. Fails where the URL asks for something that
    /// the driver cannot do, such as a key file that is not there.
    pub async fn open(url: MongoUrl) -> std::result::Result<Self, String> {
        let store = Self {
            client: OnceCell::new(),
            calls: Semaphore::new(MAX_CALLS),
            breaker: Mutex::default(),
            greeted: AtomicBool::new(false),
            url,
        };
        if !store.url.needs_dns() {
            store.database().await.map_err(|error| format!("cannot use --store {}: {}", store.url, error.kind))?;
        }
        Ok(store)
    }

    /// Makes a call, unless too many before it had no answer.
    async fn call<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Unavailable> {
        if !self.breaker().admits(Instant::now()) {
            debug!(what, "room store call refused: the database does not answer");
            return Err(Unavailable);
        }
        self.attempt(what, work).await
    }

    /// Makes a call.
    async fn attempt<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> std::result::Result<T, Unavailable> {
        let turn = async {
            let _turn = self.calls.acquire().await;
            work.await
        };
        let problem = match time::timeout(CALL_TIMEOUT, turn).await {
            Ok(Ok(result)) => {
                if self.breaker().answered() {
                    info!(store = %self.url, "room store is back");
                }
                return Ok(result);
            }
            // The database answered; what it holds makes no sense.
            Ok(Err(error)) if matches!(*error.kind, ErrorKind::Bson(_)) => {
                return Err(Unavailable::because(error.kind));
            }
            Ok(Err(error)) => error.kind.to_string(),
            Err(_) => format!("no answer within {CALL_TIMEOUT:?}"),
        };
        let (was_open, is_open) = self.breaker().failed(Instant::now());
        if was_open {
            debug!(what, problem, "room store call failed");
        } else {
            warn!(what, problem, "room store call failed");
        }
        if is_open && !was_open {
            warn!(store = %self.url, "room store does not answer: calls fail at once until it does");
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

    /// Says once what kind of MongoDB this is, and makes the indexes.
    async fn greet(&self) -> Result<()> {
        if self.greeted.load(Ordering::Relaxed) {
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
                "connected to a standalone MongoDB: rooms are lost with its disk, none can be created while it is away, \
                 and a change whose answer is lost is not tried again. A replica set of three has none of this"
            );
        }
        let expiry = IndexModel::builder()
            .keys(doc! { "expires_at": 1 })
            .options(IndexOptions::builder().name("expires_at_ttl".to_owned()).expire_after(SWEEP_AFTER).build())
            .build();
        let labels = IndexModel::builder()
            .keys(doc! { "labels": 1, "_id": 1 })
            .options(IndexOptions::builder().name("labels".to_owned()).build())
            .build();
        match self.rooms().await?.create_indexes([expiry, labels]).await {
            // It was refused, and would be again: everything works without, more slowly.
            Err(error) if matches!(*error.kind, ErrorKind::Command(_)) => {
                warn!(error = %error.kind, "indexes of the rooms cannot be made: expired rooms stay in the database, lists are slow");
            }
            made => drop(made?),
        }
        self.greeted.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn find(&self, name: &str) -> Result<Option<(Record, Option<Uuid>)>> {
        let found = self.rooms().await?.find_one(doc! { "_id": name }).await?;
        Ok(found.map(decode).transpose()?)
    }

    /// Adds a record, and is the same if it is done twice: the id of this creation stands in the document.
    async fn try_create(&self, record: &Record) -> Result<Created> {
        let rooms = self.rooms().await?;
        let creation = Uuid::new();
        let document = encode(record, creation)?;
        let mut failure = None;
        for _ in 0..CREATE_ATTEMPTS {
            // Replaces an expired document and inserts where there is none. Where there is one that is alive, that
            // insert is refused for its key.
            let mut expired = alive(now_ms());
            expired = doc! { "_id": &record.name, "$nor": [expired] };
            match rooms.replace_one(expired, &document).upsert(true).await {
                Ok(_) => return Ok(Created::New),
                Err(error) if is_duplicate(&error) => {}
                // It may have been done: the next round finds out.
                Err(error) if is_lost_connection(&error) => {
                    failure = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            match self.find(&record.name).await? {
                Some((_, Some(other))) if other == creation => {
                    // Mine, but it may not have reached the majority. A write waits for it, also one that changes nothing.
                    let mine = doc! { "_id": &record.name, "creation": creation };
                    rooms.update_one(mine, doc! { "$set": { "creation": creation } }).await?;
                    return Ok(Created::New);
                }
                Some((existing, _)) if !existing.is_expired(now_ms()) => {
                    return Ok(Created::Exists(Box::new(existing)));
                }
                // It has just ended.
                _ => {}
            }
        }
        Err(failure.unwrap_or_else(|| Error::custom("others created and deleted the room all the time".to_owned())))
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

    /// Writes, since a database that can only be read is of no use. Not held up by the breaker: this is what closes it.
    async fn check(&self) -> std::result::Result<(), Unavailable> {
        self.attempt("check", async {
            let health = self.database().await?.collection::<Document>("health");
            let written = health
                .update_one(doc! { "_id": "check" }, doc! { "$set": { "at": date(now_ms()) } })
                .upsert(true)
                .await;
            match written {
                // Another server made it at the same time.
                Err(error) if is_duplicate(&error) => {}
                written => drop(written?),
            }
            self.greet().await
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
                // One that cannot be read must not hide the others.
                match decode(found.deserialize_current()?) {
                    Ok((record, _)) => page.push(record),
                    Err(error) => warn!(%error, "skipped a room record"),
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
                // No version is as high as those that a number of the database cannot hold.
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
            let other = self.find(name.as_str()).await?.filter(|(record, _)| !record.is_expired(now));
            Ok(match other {
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

    /// Deletes nothing: the database does so by itself, by its index.
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
                            // Of what is not there, $min takes no notice.
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
            // The driver has no call for many updates that MongoDB below 8.0 knows.
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
