//! The documents in MongoDB, and the indexes that find them.

use std::time::Duration;

use mongodb::{
    Collection, IndexModel,
    bson::{Bson, Document, doc},
};
use signalbox_testkit::{eventually, require};

use super::{ending, map, open, record};
use crate::common::{
    internals::{Created, Filter, GRACE, Record, Settings, Updated, Usage, now_ms, room_name},
    mongo::Mongo,
};

async fn document(rooms: &Collection<Document>, name: &str) -> Document {
    rooms.find_one(doc! { "_id": name }).await.unwrap().expect("it exists")
}

#[tokio::test]
async fn rooms_are_readable_documents() {
    let mongo = require!(Mongo::standalone().await);
    let store = open(&mongo.url("")).await;
    // The default name of the database is `signalbox`.
    let rooms = mongo.database("signalbox").await.collection::<Document>("rooms");
    let settings = Settings {
        display_name: "Stand-up".to_owned(),
        max_members: Some(8),
        empty_timeout_ms: Some(300_000),
        labels: map(&[("team", "red".to_owned())]),
        bans: map(&[("eve", 4_102_444_800_000)]),
        ..Settings::default()
    };
    store.create(Record::new(&room_name("demo"), settings, now_ms())).await.unwrap();
    let mut document = document(&rooms, "demo").await;
    for (field, kind) in [
        ("creation", "Uuid"),
        ("created_at", "Date"),
        ("updated_at", "Date"),
        ("idle_until", "Date"),
        ("expires_at", "Date"),
    ] {
        let value = document.remove(field).unwrap_or_else(|| panic!("{field} is missing"));
        let fits = match kind {
            "Date" => matches!(value, Bson::DateTime(_)),
            _ => matches!(value, Bson::Binary(_)),
        };
        assert!(fits, "{field}: {value}");
    }
    let until = mongodb::bson::DateTime::from_millis(4_102_444_800_000);
    let expected = doc! {
        "_id": "demo", "schema": 1_i64,
        "display_name": "Stand-up", "max_members": 8_i64, "locked": false, "passcode_hash": null, "relay_only": false,
        "duplicate_identity": 0, "empty_timeout_ms": 300_000_i64, "ends_at": null,
        "labels": [{ "k": "team", "v": "red" }], "bans": [{ "identity": "eve", "until": until }],
        "version": 1_i64, "last_active_at": null, "joins": 0_i64, "calls": 0_i64,
    };
    assert_eq!(document, expected);
}

#[tokio::test]
async fn fields_of_newer_versions_are_preserved() {
    let mongo = require!(Mongo::standalone().await);
    let store = open(&mongo.url("rooms")).await;
    let rooms = mongo.database("rooms").await.collection::<Document>("rooms");
    store.create(record("demo", "x")).await.unwrap();
    let newer = doc! { "schema": 99, "empty_timeout_ms": 90_000, "recording": { "bucket": "b", "days": [1, 2] } };
    rooms.update_one(doc! { "_id": "demo" }, doc! { "$set": newer.clone() }).await.unwrap();
    // As an operator may write it manually, with required fields only.
    let manual = doc! { "_id": "manual", "schema": 2, "version": 4, "created_at": mongodb::bson::DateTime::now(), "updated_at": mongodb::bson::DateTime::now() };
    rooms.insert_one(manual).await.unwrap();
    rooms.insert_one(doc! { "_id": "other", "of": "another program" }).await.unwrap();

    let read_back = store.get(&room_name("demo")).await.unwrap().expect("it is readable");
    assert_eq!((read_back.schema, read_back.settings.empty_timeout_ms), (99, Some(90_000)));
    let manual = store.get(&room_name("manual")).await.unwrap().expect("it is readable");
    assert_eq!((manual.version, manual.settings, manual.expires_at_ms), (4, Settings::default(), None));
    let listed = store.list(Filter { limit: 9, ..Filter::default() }).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|record| record.name).collect();
    assert_eq!(listed, ["demo", "manual"], "other documents do not hide rooms");
    assert!(store.get(&room_name("other")).await.is_err(), "its existence is unknown");

    let other = Settings { display_name: "y".to_owned(), empty_timeout_ms: Some(5), ..Settings::default() };
    assert!(matches!(store.update(&room_name("demo"), Some(1), other).await.unwrap(), Updated::Done(_)));
    store.renew_expiry(vec![room_name("demo")], GRACE).await.unwrap();
    store.add_usage(vec![Usage { name: room_name("demo"), joins: 1, calls: 0, last_active_ms: 1 }]).await.unwrap();
    let now = document(&rooms, "demo").await;
    assert_eq!(now.get("recording"), newer.get("recording"));
    assert_eq!((now.get_str("display_name"), now.get_i64("joins")).0.unwrap(), "y");
    assert_eq!(now.get_i64("joins").unwrap(), 1);
}

#[tokio::test]
async fn an_expired_room_in_the_database_is_not_found() {
    let mongo = require!(Mongo::standalone().await);
    let store = open(&mongo.url("rooms")).await;
    let rooms = mongo.database("rooms").await.collection::<Document>("rooms");
    store.create(ending("swept", -3_601_000)).await.unwrap();
    store.create(ending("demo", -1)).await.unwrap();
    // The TTL index deletes rooms that ended an hour ago, since clocks may differ.
    eventually(Duration::from_secs(20), "the TTL index deletes a room", async || {
        rooms.find_one(doc! { "_id": "swept" }).await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(document(&rooms, "demo").await.get_i64("version").unwrap(), 1);
    assert_eq!(store.get(&room_name("demo")).await.unwrap(), None);
    assert_eq!(store.list(Filter { limit: 9, ..Filter::default() }).await.unwrap(), []);
    assert_eq!(store.create(record("demo", "new")).await.unwrap(), Created::New);
    assert_eq!(document(&rooms, "demo").await.get_str("display_name").unwrap(), "new");
}

#[tokio::test]
async fn rooms_are_found_by_indexes() {
    let mongo = require!(Mongo::standalone().await);
    let store = open(&mongo.url("rooms")).await;
    store.create(record("demo", "")).await.unwrap();
    let database = mongo.database("rooms").await;
    let rooms = database.collection::<Document>("rooms");
    let mut indexes = Vec::new();
    let mut found = rooms.list_indexes().await.unwrap();
    while found.advance().await.unwrap() {
        let IndexModel { keys, options, .. } = found.deserialize_current().unwrap();
        indexes.push((keys, options.and_then(|options| options.expire_after)));
    }
    let hour = Some(Duration::from_secs(3600));
    let expected =
        [(doc! { "_id": 1 }, None), (doc! { "expires_at": 1 }, hour), (doc! { "labels": 1, "_id": 1 }, None)];
    assert_eq!(indexes, expected);

    // The plans of the queries of the store, from the profiler of the database.
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    let labels = map(&[("team", "red".to_owned())]);
    store.list(Filter { labels, limit: 9, after: Some("a".to_owned()) }).await.unwrap();
    store.list(Filter { limit: 9, ..Filter::default() }).await.unwrap();
    store.get(&room_name("demo")).await.unwrap();
    store.update(&room_name("demo"), Some(1), Settings::default()).await.unwrap();
    store.renew_expiry(vec![room_name("demo")], GRACE).await.unwrap();
    store.delete(&room_name("demo")).await.unwrap();
    database.run_command(doc! { "profile": 0 }).await.unwrap();
    let mut plans = Vec::new();
    let mut entries =
        database.collection::<Document>("system.profile").find(doc! { "ns": "rooms.rooms" }).await.unwrap();
    while entries.advance().await.unwrap() {
        let entry = entries.deserialize_current().unwrap();
        plans.push(entry.get_str("planSummary").unwrap_or("none").to_owned());
    }
    assert!(plans.len() >= 6, "{plans:?}");
    assert!(plans[0].contains("labels: 1"), "{plans:?}");
    assert!(plans.iter().all(|plan| plan.starts_with("IXSCAN") || plan.starts_with("IDHACK")), "{plans:?}");
}
