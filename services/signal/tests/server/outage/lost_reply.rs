//! The database executes a request, and its reply is lost.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mongodb::bson::{Document, doc};
use signalbox_testkit::require;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::watch::{REFUSED_WITHIN, Watch};
use crate::common::{
    TestServer, assert_error,
    internals::{Created, Record, Settings, StoreUrl, Updated, now_ms, room_name},
    mongo::Mongo,
};

/// A proxy between a server and its database that can drop the connection instead of one reply.
struct Cutter {
    addr: SocketAddr,
    needle: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Cutter {
    async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cutter = Self { addr: listener.local_addr().unwrap(), needle: Arc::default() };
        let needle = cutter.needle.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.unwrap();
                tokio::spawn(pass(client, server, needle.clone()));
            }
        });
        cutter
    }

    /// Drops the reply to the next request that contains `text`.
    fn cut(&self, text: &str) {
        *self.needle.lock().unwrap() = Some(text.into());
    }

    fn has_cut(&self) -> bool {
        self.needle.lock().unwrap().is_none()
    }

    fn url(&self) -> String {
        format!("mongodb://{}/rooms?directConnection=true", self.addr)
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, needle: Arc<Mutex<Option<Vec<u8>>>>) {
    let (mut request, mut reply) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(read @ 1..) = read else { return };
                let found = needle.lock().unwrap().take_if(|n| request[..read].windows(n.len()).any(|part| part == n)).is_some();
                if server.write_all(&request[..read]).await.is_err() {
                    return;
                }
                if found {
                    // With the reply the request is done.
                    let _ = server.read(&mut reply).await;
                    return;
                }
            }
            read = server.read(&mut reply) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&reply[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn check_lost_replies(mongo: &Mongo, retries_updates: bool) {
    let cutter = Cutter::start(mongo.nodes[0].address()).await;
    let store = cutter.url().parse::<StoreUrl>().unwrap().open().await.unwrap();
    store.check().await.expect("the database is reachable");
    let rooms = mongo.database("rooms").await.collection::<Document>("rooms");

    // The creator learns that it created the room, others that it exists.
    let mine = Record::new(
        &room_name("created"),
        Settings { display_name: "mine".to_owned(), ..Settings::default() },
        now_ms(),
    );
    cutter.cut("created");
    assert_eq!(store.create(mine.clone()).await.expect("the outcome is determined"), Created::New);
    assert!(cutter.has_cut());
    let other = Record::new(&room_name("created"), Settings::default(), now_ms());
    assert_eq!(store.create(other).await.expect("a reply"), Created::Exists(Box::new(mine.clone())));
    assert_eq!(rooms.count_documents(doc! {}).await.unwrap(), 1);

    // The same when it replaces an expired room.
    let ended = Record::new(&room_name("again"), Settings { ends_at_ms: Some(1), ..Settings::default() }, now_ms());
    store.create(ended).await.expect("a reply");
    cutter.cut("again");
    let again = Record { name: "again".to_owned(), ..mine.clone() };
    assert_eq!(store.create(again).await.expect("the outcome is determined"), Created::New);
    assert!(cutter.has_cut());

    // An update is done once. The driver retries it on a replica set; on a standalone server the outcome is unknown.
    cutter.cut("created");
    let updated = store.update(&room_name("created"), Some(1), Settings::default()).await;
    assert!(cutter.has_cut());
    match updated {
        Ok(Updated::Done(record)) => assert!(retries_updates && record.version == 2),
        Err(_) => assert!(!retries_updates),
        other => panic!("{other:?}"),
    }
    let record = store.get(&room_name("created")).await.expect("a reply").expect("it exists");
    assert_eq!((record.version, record.settings), (2, Settings::default()));

    // A read is retried.
    cutter.cut("created");
    assert!(store.get(&room_name("created")).await.expect("the outcome is determined").is_some());
    assert!(cutter.has_cut());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_of_a_replica_set_is_resolved() {
    let mongo = require!(Mongo::replica_set(1).await);
    check_lost_replies(&mongo, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_of_a_standalone_server_is_resolved() {
    let mongo = require!(Mongo::standalone().await);
    check_lost_replies(&mongo, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_not_reported_as_failed() {
    let mongo = require!(Mongo::replica_set(1).await);
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let watch = Watch::start(server.addr).await;
    let fail = async |data: Document| {
        mongo.nodes[0].admin(doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data }).await
    };
    // The connection breaks before the write: the driver retries it.
    fail(doc! { "failCommands": ["update"], "closeConnection": true, "namespace": "rooms.rooms" }).await;
    watch.create("broken").await.expect("it is retried");
    // It is written, but the majority has not confirmed it in time, so it may be rolled back.
    let late = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out" };
    fail(doc! { "failCommands": ["update"], "writeConcernError": late, "namespace": "rooms.rooms" }).await;
    let status = watch.create("late").await.expect_err("the outcome is unknown");
    assert_error(&status, tonic::Code::Unavailable, "STORE_UNAVAILABLE");
    let status = watch.create("late").await.expect_err("now it exists");
    assert_error(&status, tonic::Code::AlreadyExists, "ROOM_EXISTS");
    // It takes longer than the server waits.
    let block =
        doc! { "failCommands": ["update"], "blockConnection": true, "blockTimeMS": 3000, "namespace": "rooms.rooms" };
    fail(block).await;
    let start = Instant::now();
    let status = watch.create("slow").await.expect_err("the outcome is unknown");
    assert_error(&status, tonic::Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(start.elapsed() < REFUSED_WITHIN && start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
    watch.create("next").await.expect("other calls do not wait for it");
    server.stop().await;
}
