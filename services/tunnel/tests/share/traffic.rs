//! Two members that join through the tunnel; one sends to the other continuously.

use std::time::Duration;

use signalbox_client::{
    Client, Event, Outcome, Receipt, Signal,
    v1::{Data, Join, client_message::Body},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::harness::{BACK, DEADLINE, Link, within};

/// Stays below the rate limit of a session.
const SEND_INTERVAL: Duration = Duration::from_millis(40);
const TOPIC: &str = "traffic";
const LAST: &str = "last";

/// What the receiver has received.
#[derive(Debug, Clone, Default)]
struct Received {
    texts: Vec<String>,
    resumes: usize,
    lost_sessions: usize,
}

pub(crate) struct Traffic {
    stop: oneshot::Sender<()>,
    sending: JoinHandle<Vec<(String, Receipt)>>,
    received: watch::Receiver<Received>,
    _sender_events: JoinHandle<()>,
}

impl Traffic {
    pub(crate) async fn start(link: &Link) -> Self {
        let client = Client::new(&link.origin).unwrap().with_token(link.token.clone());
        let join = || Join { room: link.room.clone(), ..Join::default() };
        let mut receiver_session = within(DEADLINE, client.join(join())).await.unwrap();
        let mut sender_session = within(DEADLINE, client.join(join())).await.unwrap();
        let to = receiver_session.member_id();
        let sender = sender_session.sender();
        let _sender_events = tokio::spawn(async move { while sender_session.next().await.is_some() {} });

        let (updates, received) = watch::channel(Received::default());
        tokio::spawn(async move {
            while let Some(event) = receiver_session.next().await {
                updates.send_modify(|received| match event {
                    Event::Signal(signal) => match signal.body {
                        Body::Data(data) if data.topic == TOPIC => received.texts.push(data.text),
                        // The share itself may announce an address.
                        Body::Data(_) => {}
                        other => panic!("{other:?}"),
                    },
                    Event::Resumed(_) => received.resumes += 1,
                    Event::Rejoined(_) | Event::Ended(_) => received.lost_sessions += 1,
                    _ => {}
                });
            }
        });
        let (stop, mut stopped) = oneshot::channel();
        let sending = tokio::spawn(async move {
            let mut sent = Vec::new();
            let mut tick = interval(SEND_INTERVAL);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for n in 0_u32.. {
                let is_last = tokio::select! { _ = &mut stopped => true, _ = tick.tick() => false };
                let text = if is_last { LAST.to_owned() } else { n.to_string() };
                let data = Data { topic: TOPIC.to_owned(), text: text.clone(), ..Data::default() };
                sent.push((text, sender.send(Signal::data(to.clone(), data)).await));
                if is_last {
                    break;
                }
            }
            sent
        });
        let mut traffic = Self { stop, sending, received, _sender_events };
        traffic.continues().await;
        traffic
    }

    /// Waits until more messages arrive.
    pub(crate) async fn continues(&mut self) {
        let count = self.received.borrow().texts.len();
        within(BACK, self.received.wait_for(|received| received.texts.len() >= count + 5)).await.unwrap();
    }

    /// How often the receiver has resumed its session.
    pub(crate) fn resumes(&self) -> usize {
        self.received.borrow().resumes
    }

    /// Stops sending. Asserts that every message arrived once, in order, in the same session.
    pub(crate) async fn finish_without_loss(mut self) {
        self.stop.send(()).unwrap();
        let sent = within(BACK, self.sending).await.unwrap();
        let has_last = |received: &Received| received.texts.last().is_some_and(|text| text == LAST);
        let received = within(BACK, self.received.wait_for(has_last)).await.unwrap().clone();
        let mut texts = Vec::new();
        for (text, receipt) in sent {
            assert_eq!(within(DEADLINE, receipt.outcome()).await, Outcome::Accepted, "{text}");
            texts.push(text);
        }
        assert_eq!(received.texts, texts);
        assert_eq!(received.lost_sessions, 0);
    }
}
