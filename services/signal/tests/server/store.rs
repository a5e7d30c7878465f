//! The room stores. The same contract is checked for the embedded store, a standalone MongoDB, a replica set of three,
//! and the store in memory that other tests use.

mod contract;
mod credentials;
mod embedded;
mod mongodb;
mod names;

use std::{collections::BTreeMap, sync::Arc};

use crate::common::{
    DEADLINE,
    internals::{Record, Settings, Store, StoreUrl, now_ms, room_name},
    mongo::Mongo,
};
use signalbox_testkit::{MemoryStore, eventually, require};

/// Opens a store as the program does.
async fn open(url: &str) -> Arc<dyn Store> {
    let store = url.parse::<StoreUrl>().unwrap().open().await.unwrap();
    // The first reply of a database that was just started may take long, which is not what is tested.
    eventually(2 * DEADLINE, "the store is reachable", async || store.check().await.ok()).await;
    store
}

/// A record of a new room with a display name.
fn record(name: &str, display_name: &str) -> Record {
    let settings = Settings { display_name: display_name.to_owned(), ..Settings::default() };
    Record::new(&room_name(name), settings, now_ms())
}

/// A record that ends `in_ms` from now.
fn ending(name: &str, in_ms: i64) -> Record {
    let ends_at_ms = Some(now_ms().checked_add_signed(in_ms).unwrap());
    Record::new(&room_name(name), Settings { ends_at_ms, ..Settings::default() }, now_ms())
}

fn map<V: Clone>(entries: &[(&str, V)]) -> BTreeMap<String, V> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_fulfils_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::check(async |case| open(&format!("redb:{}", folder.path().join(case).display())).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_mongodb_fulfils_the_contract() {
    let mongo = require!(Mongo::standalone().await);
    contract::check(async |case| open(&mongo.url(case)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_set_fulfils_the_contract() {
    let mongo = require!(Mongo::replica_set(3).await);
    contract::check(async |case| open(&mongo.url(case)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_memory_fulfils_the_contract() {
    contract::check(async |_| Arc::new(MemoryStore::default()) as Arc<dyn Store>).await;
}
