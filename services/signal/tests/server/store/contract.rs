//! The contract of all stores.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{ending, map, record};
use crate::common::internals::{Created, Filter, GRACE, Record, Settings, Store, Updated, Usage, now_ms, room_name};

type Shared = Arc<dyn Store>;

/// Runs every case, each on a store of its own.
pub(crate) async fn check(open: impl AsyncFn(&'static str) -> Shared) {
    macro_rules! run {
        ($($case:ident),* $(,)?) => {$(
            let store = open(stringify!($case)).await;
            eprintln!(concat!("  ", stringify!($case)));
            tokio::spawn($case(store)).await.unwrap_or_else(|error| panic!("{}: {error}", stringify!($case)));
        )*};
    }
    run! {
        a_created_record_is_returned_unchanged,
        an_existing_record_is_not_replaced,
        an_expired_record_is_not_found,
        records_are_listed_by_name,
        records_are_listed_by_label,
        an_update_replaces_the_settings,
        an_update_checks_the_expected_version,
        an_update_restarts_the_empty_timeout,
        one_of_concurrent_creates_is_new,
        one_of_concurrent_updates_gets_each_version,
        a_deleted_record_is_not_found,
        records_in_use_are_renewed,
        counters_are_added_to,
        thousands_of_records_are_renewed_and_counted_at_once,
    }
}

/// Settings with all fields set, and with text that has a meaning in databases.
fn everything() -> Settings {
    let odd = "$ne.\u{1}\u{0}\"'{}😀 \u{202e}";
    Settings {
        display_name: format!("Ein Raum ü {odd}"),
        max_members: Some(u32::MAX),
        locked: true,
        passcode_hash: Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned()),
        relay_only: true,
        duplicate_identity: 3,
        empty_timeout_ms: Some(90_000),
        ends_at_ms: Some(now_ms() + 3_600_000),
        labels: map(&[
            ("team", "red".to_owned()),
            ("$where", "1 == 1".to_owned()),
            ("a.b", odd.to_owned()),
            ("", String::new()),
        ]),
        bans: map(&[("eve", 4_102_444_800_000), ("$set", 1), ("a.b", 2), (odd, 3)]),
    }
}

async fn get(store: &Shared, name: &str) -> Option<Record> {
    store.get(&room_name(name)).await.expect("a reply")
}

async fn create(store: &Shared, record: &Record) {
    assert_eq!(store.create(record.clone()).await.expect("a reply"), Created::New, "{}", record.name);
}

async fn names(store: &Shared, filter: Filter) -> Vec<String> {
    store.list(filter).await.expect("a reply").into_iter().map(|record| record.name).collect()
}

async fn a_created_record_is_returned_unchanged(store: Shared) {
    let plain = record("plain", "");
    let full = Record {
        version: 7,
        last_active_ms: 12,
        joins: 3,
        calls: 1 << 40,
        ..Record::new(&room_name(&"-_Zz09".repeat(10)), everything(), now_ms())
    };
    for record in [&plain, &full] {
        assert_eq!(get(&store, &record.name).await, None);
        create(&store, record).await;
        assert_eq!(get(&store, &record.name).await.as_ref(), Some(record));
    }
    // Times beyond any calendar are stored as the last one.
    let forever = Settings { empty_timeout_ms: Some(u64::MAX), ..Settings::default() };
    create(&store, &Record::new(&room_name("forever"), forever, now_ms())).await;
    store.renew_expiry(vec![room_name("forever")], GRACE).await.expect("a reply");
    let forever = get(&store, "forever").await.expect("it has not ended");
    assert!(forever.expires_at_ms.is_some_and(|at| at > now_ms() + (1 << 46)), "{forever:?}");
}

async fn an_existing_record_is_not_replaced(store: Shared) {
    let first = Record::new(&room_name("demo"), everything(), now_ms());
    create(&store, &first).await;
    let second = store.create(record("demo", "second")).await.expect("a reply");
    assert_eq!(second, Created::Exists(Box::new(first.clone())));
    assert_eq!(get(&store, "demo").await, Some(first));
    // Every character of a name counts.
    for other in ["Demo", "demo-", "dem"] {
        create(&store, &record(other, "other")).await;
    }
}

async fn an_expired_record_is_not_found(store: Shared) {
    create(&store, &ending("expired", -1)).await;
    create(&store, &ending("ends", 60_000)).await;
    create(&store, &record("stays", "")).await;
    assert_eq!(get(&store, "expired").await, None);
    assert_eq!(names(&store, Filter { limit: 9, ..Filter::default() }).await, ["ends", "stays"]);
    let update = store.update(&room_name("expired"), None, Settings::default()).await.expect("a reply");
    assert_eq!(update, Updated::Missing);
    assert_eq!(
        store.update(&room_name("expired"), Some(1), Settings::default()).await.expect("a reply"),
        Updated::Missing
    );
    assert!(!store.delete(&room_name("expired")).await.expect("a reply"), "it had expired");

    // Its name is free, and the new record has nothing of it.
    create(&store, &ending("again", -1)).await;
    store
        .add_usage(vec![Usage { name: room_name("again"), joins: 5, calls: 5, last_active_ms: 5 }])
        .await
        .expect("a reply");
    let new = record("again", "new");
    create(&store, &new).await;
    assert_eq!(get(&store, "again").await, Some(new));
}

async fn records_are_listed_by_name(store: Shared) {
    let page = |after: &str, limit| Filter { after: Some(after.to_owned()), limit, ..Filter::default() };
    assert!(names(&store, Filter { limit: 9, ..Filter::default() }).await.is_empty());
    // In the order of bytes.
    let sorted = ["-", "0", "A", "B", "_", "a", "aa", "b"];
    for name in ["b", "A", "aa", "_", "0", "-", "B", "a"] {
        create(&store, &record(name, "")).await;
    }
    create(&store, &ending("Ab", -1)).await;
    assert_eq!(names(&store, Filter { limit: 9, ..Filter::default() }).await, sorted);
    assert_eq!(names(&store, Filter { limit: 3, ..Filter::default() }).await, sorted[..3]);
    assert_eq!(names(&store, page("A", 2)).await, ["B", "_"]);
    // The name before a page need not exist.
    assert_eq!(names(&store, page("Aa", 2)).await, ["B", "_"]);
    assert_eq!(names(&store, page("aa", 9)).await, ["b"]);
    assert!(names(&store, page("b", 9)).await.is_empty());
    let listed = store.list(page("_", 1)).await.expect("a reply");
    assert_eq!(listed, [get(&store, "a").await.expect("it exists")]);
}

async fn records_are_listed_by_label(store: Shared) {
    let odd = "$where.\u{0}😀";
    for (name, labels) in [
        ("a", map(&[("team", "red"), ("floor", "1")])),
        ("b", map(&[("team", "red")])),
        ("c", map(&[("team", "blue"), ("floor", "1"), (odd, odd)])),
        ("d", map(&[("teams", "red"), ("a.b", "1"), ("red", "team")])),
        ("e", map(&[])),
    ] {
        let labels = labels.into_iter().map(|(k, v)| (k, v.to_owned())).collect();
        create(&store, &Record::new(&room_name(name), Settings { labels, ..Settings::default() }, now_ms())).await;
    }
    let of = |labels: &[(&str, &str)]| Filter {
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        limit: 9,
        after: None,
    };
    for (labels, found) in [
        (&[("team", "red")][..], &["a", "b"][..]),
        (&[("team", "red"), ("floor", "1")], &["a"]),
        (&[("floor", "1")], &["a", "c"]),
        (&[("team", "red"), ("floor", "2")], &[]),
        (&[("team", "")], &[]),
        (&[("a.b", "1")], &["d"]),
        (&[(odd, odd)], &["c"]),
        (&[("$gt", "")], &[]),
        (&[("", "")], &[]),
    ] {
        assert_eq!(names(&store, of(labels)).await, found, "{labels:?}");
    }
    assert_eq!(names(&store, Filter { limit: 1, ..of(&[("team", "red")]) }).await, ["a"]);
    assert_eq!(names(&store, Filter { after: Some("a".to_owned()), ..of(&[("team", "red")]) }).await, ["b"]);
    // A removed label is not found.
    store.update(&room_name("b"), None, Settings::default()).await.expect("a reply");
    assert_eq!(names(&store, of(&[("team", "red")])).await, ["a"]);
}

async fn an_update_replaces_the_settings(store: Shared) {
    let new = Record::new(&room_name("demo"), everything(), now_ms());
    let old = Record { created_at_ms: 1_000, joins: 3, calls: 2, last_active_ms: 9, ..new };
    create(&store, &old).await;
    let before = now_ms();
    let other = Settings { display_name: "other".to_owned(), bans: map(&[("mallory", 7)]), ..Settings::default() };
    let Updated::Done(new) = store.update(&room_name("demo"), None, other.clone()).await.expect("a reply") else {
        panic!("it exists");
    };
    assert_eq!(new.settings, other, "all settings are replaced");
    assert!((before..=now_ms()).contains(&new.updated_at_ms));
    let bookkeeping = (new.version, new.created_at_ms, new.joins, new.calls, new.last_active_ms);
    assert_eq!(bookkeeping, (old.version + 1, 1_000, 3, 2, 9));
    assert_eq!((new.idle_until_ms, new.expires_at_ms), (None, None), "it does not end");
    assert_eq!(get(&store, "demo").await, Some(*new));
    let Updated::Done(full) = store.update(&room_name("demo"), None, everything()).await.expect("a reply") else {
        panic!("it exists");
    };
    assert_eq!((full.settings.labels.clone(), full.settings.bans.clone()), (everything().labels, everything().bans));
    assert_eq!(full.version, old.version + 2);
    assert_eq!(get(&store, "demo").await, Some(*full));
    assert_eq!(store.update(&room_name("nowhere"), None, everything()).await.expect("a reply"), Updated::Missing);
    assert_eq!(get(&store, "nowhere").await, None, "an update creates no record");
}

async fn an_update_checks_the_expected_version(store: Shared) {
    create(&store, &record("demo", "first")).await;
    let named = |name: &str| Settings { display_name: name.to_owned(), ..Settings::default() };
    for wrong in [0, 2, u64::MAX] {
        let update = store.update(&room_name("demo"), Some(wrong), named("wrong")).await.expect("a reply");
        let Updated::Conflict(current) = update else { panic!("version {wrong}: {update:?}") };
        assert_eq!((current.version, current.settings.display_name.as_str()), (1, "first"));
    }
    let done = store.update(&room_name("demo"), Some(1), named("second")).await.expect("a reply");
    assert!(matches!(&done, Updated::Done(record) if record.version == 2), "{done:?}");
    let late = store.update(&room_name("demo"), Some(1), named("late")).await.expect("a reply");
    assert!(matches!(&late, Updated::Conflict(record) if record.settings.display_name == "second"), "{late:?}");
    assert_eq!(store.update(&room_name("nowhere"), Some(1), named("x")).await.expect("a reply"), Updated::Missing);
}

async fn an_update_restarts_the_empty_timeout(store: Shared) {
    let timeout = |ms, ends_at_ms| Settings { empty_timeout_ms: ms, ends_at_ms, ..Settings::default() };
    let grace = u64::try_from(GRACE.as_millis()).unwrap();
    // Its last use was long ago, and it still has a minute.
    let mut old = Record::new(&room_name("demo"), timeout(Some(60_000), None), now_ms() - grace);
    assert!(old.expires_at_ms.is_some_and(|at| at > now_ms()));
    create(&store, &old).await;
    for (settings, expected) in [
        (timeout(Some(50_000), None), Some(50_000 + grace)),
        (timeout(None, None), None),
        (timeout(None, Some(now_ms() + 3_600_000)), Some(3_600_000)),
        (timeout(Some(50_000), Some(now_ms() + 20_000)), Some(20_000)),
        (timeout(Some(5_000), Some(now_ms() + 3_600_000)), Some(5_000 + grace)),
    ] {
        let before = now_ms();
        let update = store.update(&room_name("demo"), Some(old.version), settings.clone()).await.expect("a reply");
        let Updated::Done(new) = update else { panic!("{update:?}") };
        let left = new.expires_at_ms.map(|at| at - before);
        let close = left.zip(expected).is_none_or(|(left, expected)| left.abs_diff(expected) < 5_000);
        assert!(left.is_some() == expected.is_some() && close, "{settings:?}: {left:?} instead of {expected:?}");
        old = *new;
    }
}

async fn one_of_concurrent_creates_is_new(store: Shared) {
    for round in 0..5 {
        let name = format!("room-{round}");
        if round > 2 {
            create(&store, &ending(&name, -1)).await;
        }
        let mut tasks = JoinSet::new();
        for n in 0..20 {
            let (store, record) = (store.clone(), record(&name, &n.to_string()));
            tasks.spawn(async move { (record.clone(), store.create(record).await.expect("a reply")) });
        }
        let results = tasks.join_all().await;
        let new: Vec<_> = results.iter().filter(|(_, created)| *created == Created::New).collect();
        assert_eq!(new.len(), 1, "{name} was created {} times", new.len());
        for (_, created) in &results {
            let exists = Created::Exists(Box::new(new[0].0.clone()));
            assert!(*created == Created::New || *created == exists, "{created:?}");
        }
    }
}

async fn one_of_concurrent_updates_gets_each_version(store: Shared) {
    create(&store, &record("demo", "")).await;
    // Each task adds its own ban, and retries until it succeeds.
    let mut tasks = JoinSet::new();
    for n in 0..8u64 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut won = Vec::new();
            while won.is_empty() {
                let current = get(&store, "demo").await.expect("it exists");
                let mut settings = current.settings;
                settings.bans.insert(n.to_string(), n);
                match store.update(&room_name("demo"), Some(current.version), settings).await.expect("a reply") {
                    Updated::Done(new) => won.push(new.version),
                    Updated::Conflict(newer) => assert!(newer.version > current.version),
                    Updated::Missing => panic!("it exists"),
                }
            }
            won
        });
    }
    let versions: BTreeSet<u64> = tasks.join_all().await.concat().into_iter().collect();
    assert_eq!(versions, (2..10).collect(), "each version has one winner");
    assert_eq!(get(&store, "demo").await.expect("it exists").settings.bans.len(), 8, "no update was lost");
}

async fn a_deleted_record_is_not_found(store: Shared) {
    assert!(!store.delete(&room_name("demo")).await.expect("a reply"));
    create(&store, &record("demo", "first")).await;
    create(&store, &record("other", "")).await;
    assert!(store.delete(&room_name("demo")).await.expect("a reply"));
    assert!(!store.delete(&room_name("demo")).await.expect("a reply"));
    assert_eq!(get(&store, "demo").await, None);
    create(&store, &record("demo", "second")).await;
    assert_eq!(names(&store, Filter { limit: 9, ..Filter::default() }).await, ["demo", "other"]);
}

async fn records_in_use_are_renewed(store: Shared) {
    let with = |name: &str, empty_timeout_ms, ends_in_ms: Option<u64>| {
        let ends_at_ms = ends_in_ms.map(|ms| now_ms() + ms);
        Record::new(
            &room_name(name),
            Settings { empty_timeout_ms, ends_at_ms, ..Settings::default() },
            now_ms() - 100_000,
        )
    };
    let lapsed = with("lapsed", Some(1_000), None);
    assert!(lapsed.is_expired(now_ms()));
    for record in [
        &with("idle", Some(90_000), None),
        &with("used", Some(90_000), None),
        &with("forever", None, None),
        &with("ends", Some(90_000), Some(10_000)),
        &lapsed,
        &with("lapsed-idle", Some(1_000), None),
    ] {
        create(&store, record).await;
    }
    let before: Vec<_> = store.list(Filter { limit: 9, ..Filter::default() }).await.expect("a reply");
    let grace = Duration::from_secs(7);
    let start = now_ms();
    let in_use = ["used", "forever", "ends", "lapsed", "nowhere"].map(room_name).to_vec();
    store.renew_expiry(in_use, grace).await.expect("a reply");

    let after = |name: &str| before.iter().find(|record| record.name == name).cloned();
    assert_eq!(get(&store, "idle").await, after("idle"));
    assert_eq!(get(&store, "forever").await, after("forever"));
    assert_eq!(get(&store, "nowhere").await, None, "no record is created");
    assert_eq!(get(&store, "lapsed-idle").await, None);
    let until = |record: &Record| record.idle_until_ms.map(|at| at - start);
    let used = get(&store, "used").await.expect("it exists");
    assert!(until(&used).is_some_and(|left| (97_000..100_000).contains(&left)), "{used:?}");
    assert_eq!((used.expires_at_ms, used.version), (used.idle_until_ms, 1));
    // It is in use, so it counts as if it had never lapsed.
    let lapsed = get(&store, "lapsed").await.expect("it is renewed");
    assert!(until(&lapsed).is_some_and(|left| (8_000..11_000).contains(&left)), "{lapsed:?}");
    // Use does not extend the end that the application has set.
    let ends = get(&store, "ends").await.expect("it exists");
    assert_eq!(ends.expires_at_ms, ends.settings.ends_at_ms);
    assert!(ends.idle_until_ms > ends.expires_at_ms);
}

async fn counters_are_added_to(store: Shared) {
    let tally =
        |name: &str, joins, calls, last_active_ms| Usage { name: room_name(name), joins, calls, last_active_ms };
    create(&store, &record("demo", "x")).await;
    create(&store, &record("other", "x")).await;
    let before = get(&store, "demo").await.expect("it exists");
    store.add_usage(vec![]).await.expect("a reply");
    store.add_usage(vec![tally("demo", 2, 1, 50), tally("nowhere", 1, 1, 1)]).await.expect("a reply");
    store.add_usage(vec![tally("demo", 3, 0, 40)]).await.expect("a reply");
    let after = get(&store, "demo").await.expect("it exists");
    assert_eq!(after, Record { joins: 5, calls: 1, last_active_ms: 50, ..before });
    assert_eq!(get(&store, "nowhere").await, None, "no record is created");
    assert_eq!(get(&store, "other").await.expect("it exists").joins, 0);
}

async fn thousands_of_records_are_renewed_and_counted_at_once(store: Shared) {
    // More than one command can hold.
    let all: Vec<_> = (0..2_500).map(|n| room_name(&format!("room-{n}"))).collect();
    let here = [0, 999, 1_000, 1_999, 2_000, 2_499].map(|n| all[n].clone());
    for name in &here {
        let settings = Settings { empty_timeout_ms: Some(1_000), ..Settings::default() };
        // Expired, but recently, so that a database has not deleted it.
        create(&store, &Record::new(name, settings, now_ms() - 100_000)).await;
    }
    store.renew_expiry(all.clone(), GRACE).await.expect("a reply");
    let usages = all.into_iter().map(|name| Usage { name, joins: 1, calls: 2, last_active_ms: 3 }).collect();
    store.add_usage(usages).await.expect("a reply");
    for name in &here {
        let record = store.get(name).await.expect("a reply").expect("it is renewed");
        assert_eq!((record.joins, record.calls, record.last_active_ms), (1, 2, 3));
    }
    assert_eq!(names(&store, Filter { limit: 9, ..Filter::default() }).await.len(), here.len());
}
