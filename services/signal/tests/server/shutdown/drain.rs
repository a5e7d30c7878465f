//! Stopping under load: whatever was accepted is delivered, to everybody who reads.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;
use signalbox_proto::v1::{
    ClientMessage, Data, Join, ServerMessage, client_message::Body as Said, server_message::Body,
    signal_client::SignalClient,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::common::{connect, program::Program, within};

const SESSIONS: usize = 5000;
const SESSIONS_PER_CONNECTION: usize = 200;
/// Messages that a sender has in flight.
const WINDOW: u64 = 8;
/// Accepted messages after which the server is told to stop.
const ENOUGH: u64 = 50_000;

struct Member {
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: Streaming<ServerMessage>,
}

impl Member {
    async fn join(channel: Channel, room: String) -> Self {
        let (outgoing, messages) = mpsc::channel(2 * WINDOW as usize);
        let join = Said::Join(Join { room, ..Join::default() });
        outgoing.send(ClientMessage { body: Some(join), ..ClientMessage::default() }).await.unwrap();
        let stream = SignalClient::new(channel).exchange(ReceiverStream::new(messages)).await.unwrap();
        let mut incoming = stream.into_inner();
        assert!(matches!(incoming.message().await.unwrap().unwrap().body, Some(Body::Welcome(_))));
        Self { outgoing, incoming }
    }

    /// Says one thing after the other until it is sent away; returns how many of them were accepted.
    async fn talk(mut self, accepted_by_all: Arc<AtomicU64>, enough: mpsc::Sender<()>) -> u64 {
        let (mut said, mut acked) = (0, 0);
        loop {
            while said < acked + WINDOW {
                said += 1;
                let data = Said::Data(Data { topic: said.to_string(), ..Data::default() });
                let message = ClientMessage { seq: said, body: Some(data), ..ClientMessage::default() };
                if self.outgoing.send(message).await.is_err() {
                    break;
                }
            }
            let Ok(Some(message)) = self.incoming.message().await else { return acked };
            assert!(!matches!(message.body, Some(Body::Undelivered(_))), "{message:?}");
            if message.ack > acked {
                let before = accepted_by_all.fetch_add(message.ack - acked, Ordering::Relaxed);
                acked = message.ack;
                if before >= ENOUGH {
                    // Once is enough, too.
                    let _ = enough.try_send(());
                }
            }
        }
    }

    /// Reads until it is sent away; returns how many messages came, all in order.
    async fn listen(mut self) -> u64 {
        let mut heard = 0;
        while let Ok(Some(message)) = self.incoming.message().await {
            if let Some(Body::Data(data)) = message.body {
                heard += 1;
                assert_eq!(data.topic, heard.to_string(), "in order, each once");
            }
        }
        heard
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_sessions_get_everything_that_was_accepted() {
    let streams = SESSIONS_PER_CONNECTION.to_string();
    let program = Program::start(&[
        "--max-streams",
        &streams,
        "--max-signals-per-second",
        "1000000",
        "--signal-burst",
        "1000000",
    ])
    .await;
    let accepted_by_all = Arc::new(AtomicU64::new(0));
    let (enough, mut is_enough) = mpsc::channel(1);
    let mut joined = Vec::new();
    for connection in 0..SESSIONS / SESSIONS_PER_CONNECTION {
        let channel = connect(program.addr).await;
        for pair in 0..SESSIONS_PER_CONNECTION / 2 {
            let room = format!("room-{connection}-{pair}");
            let listener = Member::join(channel.clone(), room.clone()).await;
            let talker = Member::join(channel.clone(), room).await;
            joined.push((talker, listener));
        }
    }
    let mut pairs = JoinSet::new();
    for (talker, listener) in joined {
        let (accepted_by_all, enough) = (accepted_by_all.clone(), enough.clone());
        pairs.spawn(async move { tokio::join!(talker.talk(accepted_by_all, enough), listener.listen()) });
    }
    is_enough.recv().await.expect("they talk");

    let asked = Instant::now();
    program.signal(Signal::TERM);
    let (mut accepted, mut heard) = (0, 0);
    while let Some(pair) = within(Duration::from_secs(60), pairs.join_next()).await {
        let (pair_accepted, pair_heard) = pair.unwrap();
        assert!(pair_heard >= pair_accepted, "{pair_accepted} accepted, {pair_heard} heard");
        accepted += pair_accepted;
        heard += pair_heard;
    }
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("sessions=5000"), "{log}");
    // The drain timeout, and the time to end.
    assert!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
    assert!(accepted >= ENOUGH, "{accepted}");
    eprintln!("{accepted} accepted, {heard} heard, everybody was away after {:?}", asked.elapsed());
}
