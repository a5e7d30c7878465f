//! The embedded store and the records of other versions.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};
use serde_json::{Value, json};
use signalbox_server::{
    clock::now_ms,
    store::{Filter, GRACE, Record, SCHEMA, Settings, Updated, Usage},
};

use super::{map, open, record, room};

const ROOMS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rooms");

fn database(folder: &Path) -> Database {
    Database::create(folder.join("rooms.redb")).expect("nobody has it open")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let database = database(folder);
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ROOMS).unwrap().insert(name, bytes).unwrap();
    transaction.commit().unwrap();
}

fn read(folder: &Path, name: &str) -> Value {
    let rooms = database(folder).begin_read().unwrap().open_table(ROOMS).unwrap();
    let found = rooms.get(name).unwrap().expect("it is there");
    serde_json::from_slice(found.value()).unwrap()
}

#[tokio::test]
async fn records_of_the_first_form_are_read() {
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
        ..Record::new(&room("demo"), settings, 5)
    };
    assert_eq!(store.get(&room("demo")).await.unwrap(), Some(expected));
    let bare = Record::new(&room("bare"), Settings { duplicate_identity: 1, ..Settings::default() }, 1);
    assert_eq!(store.get(&room("bare")).await.unwrap(), Some(bare));
}

#[tokio::test]
async fn what_a_newer_version_has_added_stays() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("redb:{}", folder.path().display());
    let mut newer = serde_json::to_value(record("demo", "x")).unwrap();
    newer["schema"] = json!(99);
    newer["empty_timeout_ms"] = json!(90_000);
    newer["recording"] = json!({ "bucket": "b", "days": [1, 2] });
    write(folder.path(), "demo", newer.to_string().as_bytes());

    let store = open(&url).await;
    let read_back = store.get(&room("demo")).await.unwrap().expect("it is readable");
    assert_eq!((read_back.schema, read_back.settings.display_name.as_str()), (99, "x"));
    let other = Settings { display_name: "y".to_owned(), empty_timeout_ms: Some(5), ..Settings::default() };
    assert!(matches!(store.update(&room("demo"), Some(1), other).await.unwrap(), Updated::Done(_)));
    store.renew_expiry(vec![room("demo")], GRACE).await.unwrap();
    store.add_usage(vec![Usage { name: room("demo"), joins: 1, calls: 0, last_active_ms: 1 }]).await.unwrap();
    drop(store);
    let now = read(folder.path(), "demo");
    assert_eq!(now["recording"], newer["recording"]);
    assert_eq!((&now["schema"], &now["display_name"], &now["joins"]), (&json!(99), &json!("y"), &json!(1)));

    // A new room of that name has nothing of it.
    let store = open(&url).await;
    store.delete(&room("demo")).await.unwrap();
    store.create(record("demo", "new")).await.unwrap();
    drop(store);
    assert_eq!(read(folder.path(), "demo").get("recording"), None);
}

#[tokio::test]
async fn an_unreadable_record_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b", b"not JSON");
    let store = open(&format!("redb:{}", folder.path().display())).await;
    for name in ["a", "c"] {
        store.create(record(name, "")).await.unwrap();
    }
    let listed = store.list(Filter { limit: 9, ..Filter::default() }).await.unwrap();
    assert_eq!(listed.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert!(store.get(&room("b")).await.is_err(), "whether it is there is not known");
}
