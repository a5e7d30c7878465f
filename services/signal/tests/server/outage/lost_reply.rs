//! The database does what it was asked, and the answer is lost on the way.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mongodb::bson::{Document, doc};
use signalbox_core::id::RoomName;
use signalbox_server::{
    clock::now_ms,
    store::{Created, Record, Settings, StoreUrl, Updated},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::watch::{REFUSED_WITHIN, Watch};
use crate::common::{TestServer, assert_error, mongo::Mongo};

/// Passes everything on between a server and its database, but for the answer to one request that it is told of: then
/// the connection breaks in its place.
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

    /// Cuts the answer to the next request that holds `text`.
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
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(read @ 1..) = read else { return };
                let found = needle.lock().unwrap().take_if(|n| asked[..read].windows(n.len()).any(|part| part == n)).is_some();
                if server.write_all(&asked[..read]).await.is_err() {
                    return;
                }
                if found {
                    // It is done once the answer comes, which nobody gets to see.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(read @ 1..) = read else { return };
                if client.write_all(&answered[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name, "name").unwrap()
}

async fn a_lost_answer_is_found_out(mongo: &Mongo, retries_updates: bool) {
    let cutter = Cutter::start(mongo.nodes[0].address()).await;
    let store = cutter.url().parse::<StoreUrl>().unwrap().open().await.unwrap();
    store.check().await.expect("it is there");
    let rooms = mongo.database("rooms").await.collection::<Document>("rooms");

    // The creator is told that it made the room, once, and everybody else that it exists.
    let mine =
        Record::new(&room("created"), Settings { display_name: "mine".to_owned(), ..Settings::default() }, now_ms());
    cutter.cut("created");
    assert_eq!(store.create(mine.clone()).await.expect("it is found out"), Created::New);
    assert!(cutter.has_cut());
    let other = Record::new(&room("created"), Settings::default(), now_ms());
    assert_eq!(store.create(other).await.expect("an answer"), Created::Exists(Box::new(mine.clone())));
    assert_eq!(rooms.count_documents(doc! {}).await.unwrap(), 1);

    // The same in the place of a room that had ended.
    let ended = Record::new(&room("again"), Settings { ends_at_ms: Some(1), ..Settings::default() }, now_ms());
    store.create(ended).await.expect("an answer");
    cutter.cut("again");
    let again = Record { name: "again".to_owned(), ..mine.clone() };
    assert_eq!(store.create(again).await.expect("it is found out"), Created::New);
    assert!(cutter.has_cut());

    // An update is done once. Who tries again is the driver; where it cannot, what came of it is not known.
    cutter.cut("created");
    let updated = store.update(&room("created"), Some(1), Settings::default()).await;
    assert!(cutter.has_cut());
    match updated {
        Ok(Updated::Done(record)) => assert!(retries_updates && record.version == 2),
        Err(_) => assert!(!retries_updates),
        other => panic!("{other:?}"),
    }
    let record = store.get(&room("created")).await.expect("an answer").expect("it is there");
    assert_eq!((record.version, record.settings), (2, Settings::default()));

    // A read that lost its answer is made again.
    cutter.cut("created");
    assert!(store.get(&room("created")).await.expect("it is found out").is_some());
    assert!(cutter.has_cut());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_replica_set_is_found_out() {
    let Some(mongo) = Mongo::replica_set(1).await else { return };
    a_lost_answer_is_found_out(&mongo, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_of_a_standalone_is_found_out() {
    let Some(mongo) = Mongo::standalone().await else { return };
    a_lost_answer_is_found_out(&mongo, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_to_have_failed_is_not_said_to_have() {
    let Some(mongo) = Mongo::replica_set(1).await else { return };
    let server = TestServer::start_on(&mongo.url("rooms"), &[]).await;
    let watch = Watch::start(server.addr).await;
    let fail = async |data: Document| {
        mongo.nodes[0].admin(doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data }).await
    };
    // The connection breaks before it is done: the driver tries again, and nobody notices.
    fail(doc! { "failCommands": ["update"], "closeConnection": true, "namespace": "rooms.rooms" }).await;
    watch.create("broken").await.expect("it is tried again");
    // It is done, but the majority has not said so in time: it may be lost again.
    let late = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out" };
    fail(doc! { "failCommands": ["update"], "writeConcernError": late, "namespace": "rooms.rooms" }).await;
    let status = watch.create("late").await.expect_err("it is not known");
    assert_error(&status, tonic::Code::Unavailable, "STORE_UNAVAILABLE");
    let status = watch.create("late").await.expect_err("now it is");
    assert_error(&status, tonic::Code::AlreadyExists, "ROOM_EXISTS");
    // It takes longer than anybody waits.
    let block =
        doc! { "failCommands": ["update"], "blockConnection": true, "blockTimeMS": 3000, "namespace": "rooms.rooms" };
    fail(block).await;
    let start = Instant::now();
    let status = watch.create("slow").await.expect_err("it is not known");
    assert_error(&status, tonic::Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(start.elapsed() < REFUSED_WITHIN && start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
    watch.create("next").await.expect("others do not wait for it");
    server.stop().await;
}
