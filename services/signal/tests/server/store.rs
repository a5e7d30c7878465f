//! The room stores. One contract holds for all of them: the same cases run against the embedded store, a MongoDB of one
//! server, and a replica set of three.

mod contract;
mod credentials;
mod embedded;
mod mongodb;
mod names;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::common::mongo::Mongo;
use signalbox_core::id::RoomName;
use signalbox_server::{
    clock::now_ms,
    store::{Record, Settings, Store, StoreUrl},
};

/// Opens a store as the program does.
async fn open(url: &str) -> Arc<dyn Store> {
    let store = url.parse::<StoreUrl>().unwrap().open().await.unwrap();
    // What the first answer takes of a database that was just started is not what is tested.
    let ready = async {
        while store.check().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    crate::common::within(2 * crate::common::DEADLINE, ready).await;
    store
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name, "name").unwrap()
}

/// A new room's record that differs from others by its display name.
fn record(name: &str, display_name: &str) -> Record {
    let settings = Settings { display_name: display_name.to_owned(), ..Settings::default() };
    Record::new(&room(name), settings, now_ms())
}

/// A record that ends so many milliseconds from now, or did before now.
fn ending(name: &str, in_ms: i64) -> Record {
    let ends_at_ms = Some(now_ms().checked_add_signed(in_ms).unwrap());
    Record::new(&room(name), Settings { ends_at_ms, ..Settings::default() }, now_ms())
}

fn map<V: Clone>(entries: &[(&str, V)]) -> BTreeMap<String, V> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract::check(async |case| open(&format!("redb:{}", folder.path().join(case).display())).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_mongodb_keeps_the_contract() {
    let Some(mongo) = Mongo::standalone().await else { return };
    contract::check(async |case| open(&mongo.url(case)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_set_keeps_the_contract() {
    let Some(mongo) = Mongo::replica_set(3).await else { return };
    contract::check(async |case| open(&mongo.url(case)).await).await;
}
