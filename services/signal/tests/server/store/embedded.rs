//! The embedded store, and records of other versions.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};
use serde_json::{Value, json};

use super::{map, open, record};
use crate::common::internals::{Filter, GRACE, Record, SCHEMA, Settings, Updated, Usage, now_ms, room_name};

const ROOMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rooms");

fn database(folder: &Path) -> Database {
    Database::create(folder.join("rooms.redb")).expect("the database is closed")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let database = database(folder);
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ROOMS).unwrap().insert(name, bytes).unwrap();
    transaction.commit().unwrap();
}

fn read(folder: &Path, name: &str) -> Value {
    let rooms = database(folder).begin_read().unwrap().open_table(ROOMS).unwrap();
    let found = rooms.get(name).unwrap().expect("it exists");
    serde_json::from_slice(found.value()).unwrap()
}

#[tokio::test]
async fn records_without_a_schema_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let expires_at_ms = now_ms() + 60_000;
    let first = json!({
        "name": "demo", "max_members": 7, "locked": true, "duplicate_identity": 2, "empty_timeout_ms": 90_000,
        "labels": { "team": "red" }, "created_at_ms": 5, "expires_at_ms": expires_at_ms, "version": 3,
    });
    write(folder.path(), "demo", first.to_string().as_bytes());
    write(
        folder.path(),
        "bare",
        br#"{"name":"bare","locked":false,"duplicate_identity":1,"created_at_ms":1,"version":1}"#,
    );

    let store = open(&format!("redb:{}", folder.path().display())).await;
    let settings = Settings {
        max_members: Some(7),
        locked: true,
        duplicate_identity: 2,
        empty_timeout_ms: Some(90_000),
        labels: map(&[("team", "red".to_owned())]),
        ..Settings::default()
    };
    let expected = Record {
        schema: SCHEMA,
        version: 3,
        idle_until_ms: Some(expires_at_ms),
        expires_at_ms: Some(expires_at_ms),
        ..Record::new(&room_name("demo"), settings, 5)
    };
    assert_eq!(store.get(&room_name("demo")).await.unwrap(), Some(expected));
    let bare = Record::new(&room_name("bare"), Settings { duplicate_identity: 1, ..Settings::default() }, 1);
    assert_eq!(store.get(&room_name("bare")).await.unwrap(), Some(bare));
}

#[tokio::test]
async fn fields_of_newer_versions_are_preserved() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("redb:{}", folder.path().display());
    let mut newer = serde_json::to_value(record("demo", "x")).unwrap();
    newer["schema"] = json!(99);
    newer["empty_timeout_ms"] = json!(90_000);
    newer["recording"] = json!({ "bucket": "b", "days": [1, 2] });
    write(folder.path(), "demo", newer.to_string().as_bytes());

    let store = open(&url).await;
    let read_back = store.get(&room_name("demo")).await.unwrap().expect("it is readable");
    assert_eq!((read_back.schema, read_back.settings.display_name.as_str()), (99, "x"));
    let other = Settings { display_name: "y".to_owned(), empty_timeout_ms: Some(5), ..Settings::default() };
    assert!(matches!(store.update(&room_name("demo"), Some(1), other).await.unwrap(), Updated::Done(_)));
    store.renew_expiry(vec![room_name("demo")], GRACE).await.unwrap();
    store.add_usage(vec![Usage { name: room_name("demo"), joins: 1, calls: 0, last_active_ms: 1 }]).await.unwrap();
    drop(store);
    let now = read(folder.path(), "demo");
    assert_eq!(now["recording"], newer["recording"]);
    assert_eq!((&now["schema"], &now["display_name"], &now["joins"]), (&json!(99), &json!("y"), &json!(1)));

    // A new room of that name does not have them.
    let store = open(&url).await;
    store.delete(&room_name("demo")).await.unwrap();
    store.create(record("demo", "new")).await.unwrap();
    drop(store);
    assert_eq!(read(folder.path(), "demo").get("recording"), None);
}

#[tokio::test]
async fn an_unreadable_record_does_not_hide_others() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b", b"not JSON");
    let store = open(&format!("redb:{}", folder.path().display())).await;
    for name in ["a", "c"] {
        store.create(record(name, "")).await.unwrap();
    }
    let listed = store.list(Filter { limit: 9, ..Filter::default() }).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert!(store.get(&room_name("b")).await.is_err(), "its existence is unknown");
}
