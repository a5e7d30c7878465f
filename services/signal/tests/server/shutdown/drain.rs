//! Drain under load: everything that was accepted is delivered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;
use signalbox_proto::v1::{
    ClientMessage, Data, Join, ServerMessage, client_message::Body as ClientBody, server_message::Body as ServerBody,
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
/// Accepted messages after which the server is stopped.
const ENOUGH: u64 = 50_000;

struct Member {
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: Streaming<ServerMessage>,
}

impl Member {
    async fn join(channel: Channel, room: String) -> Self {
        let (outgoing, messages) = mpsc::channel(2 * WINDOW as usize);
        let join = ClientBody::Join(Join { room, ..Join::default() });
        outgoing.send(ClientMessage { body: Some(join), ..ClientMessage::default() }).await.unwrap();
        let stream = SignalClient::new(channel).exchange(ReceiverStream::new(messages)).await.unwrap();
        let mut incoming = stream.into_inner();
        assert!(matches!(incoming.message().await.unwrap().unwrap().body, Some(ServerBody::Welcome(_))));
        Self { outgoing, incoming }
    }

    /// Sends messages until the stream ends; returns how many were accepted.
    async fn send_all(mut self, accepted_by_all: Arc<AtomicU64>, enough: mpsc::Sender<()>) -> u64 {
        let (mut sent, mut acked) = (0, 0);
        loop {
            while sent < acked + WINDOW {
                sent += 1;
                let data = ClientBody::Data(Data { topic: sent.to_string(), ..Data::default() });
                let message = ClientMessage { seq: sent, body: Some(data), ..ClientMessage::default() };
                if self.outgoing.send(message).await.is_err() {
                    break;
                }
            }
            let Ok(Some(message)) = self.incoming.message().await else { return acked };
            assert!(!matches!(message.body, Some(ServerBody::Undelivered(_))), "{message:?}");
            if message.ack > acked {
                let before = accepted_by_all.fetch_add(message.ack - acked, Ordering::Relaxed);
                acked = message.ack;
                if before >= ENOUGH {
                    // One is enough.
                    let _ = enough.try_send(());
                }
            }
        }
    }

    /// Reads until the stream ends; returns how many messages arrived, all in order.
    async fn receive_all(mut self) -> u64 {
        let mut received = 0;
        while let Ok(Some(message)) = self.incoming.message().await {
            if let Some(ServerBody::Data(data)) = message.body {
                received += 1;
                assert_eq!(data.topic, received.to_string(), "in order, each once");
            }
        }
        received
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_sessions_receive_everything_that_was_accepted() {
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
            let receiver = Member::join(channel.clone(), room.clone()).await;
            let sender = Member::join(channel.clone(), room).await;
            joined.push((sender, receiver));
        }
    }
    let mut pairs = JoinSet::new();
    for (sender, receiver) in joined {
        let (accepted_by_all, enough) = (accepted_by_all.clone(), enough.clone());
        pairs.spawn(async move { tokio::join!(sender.send_all(accepted_by_all, enough), receiver.receive_all()) });
    }
    is_enough.recv().await.expect("they send");

    let asked = Instant::now();
    program.signal(Signal::TERM);
    let (mut accepted, mut received) = (0, 0);
    while let Some(pair) = within(Duration::from_secs(60), pairs.join_next()).await {
        let (pair_accepted, pair_received) = pair.unwrap();
        assert!(pair_received >= pair_accepted, "{pair_accepted} accepted, {pair_received} received");
        accepted += pair_accepted;
        received += pair_received;
    }
    let (status, log) = program.end().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("sessions=5000"), "{log}");
    // The drain timeout and the time to exit.
    assert!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
    assert!(accepted >= ENOUGH, "{accepted}");
    eprintln!("{accepted} accepted, {received} received, the server ended after {:?}", asked.elapsed());
}
