//! Two members who come in through the tunnel, one of whom talks to the other all the time.

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

use super::parts::{BACK, DEADLINE, Link, within};

/// Below what a session may send on average.
const PACE: Duration = Duration::from_millis(40);
const TOPIC: &str = "talk";
const END: &str = "end";

/// What the listener has heard.
#[derive(Debug, Clone, Default)]
struct Heard {
    texts: Vec<String>,
    /// Times that the connection came back.
    resumed: usize,
    /// Sessions that were lost.
    gone: usize,
}

pub(crate) struct Talk {
    stop: oneshot::Sender<()>,
    talking: JoinHandle<Vec<(String, Receipt)>>,
    heard: watch::Receiver<Heard>,
    _talker: JoinHandle<()>,
}

impl Talk {
    pub(crate) async fn start(link: &Link) -> Self {
        let client = Client::new(&link.origin).unwrap().with_token(link.token.clone());
        let join = || Join { room: link.room.clone(), ..Join::default() };
        let mut listener = within(DEADLINE, client.join(join())).await.unwrap();
        let mut talker = within(DEADLINE, client.join(join())).await.unwrap();
        let to = listener.member_id();
        let sender = talker.sender();
        let _talker = tokio::spawn(async move { while talker.next().await.is_some() {} });

        let (hear, heard) = watch::channel(Heard::default());
        tokio::spawn(async move {
            while let Some(event) = listener.next().await {
                hear.send_modify(|heard| match event {
                    Event::Signal(received) => match received.body {
                        Body::Data(data) if data.topic == TOPIC => heard.texts.push(data.text),
                        // The share itself may say something.
                        Body::Data(_) => {}
                        other => panic!("{other:?}"),
                    },
                    Event::Resumed(_) => heard.resumed += 1,
                    Event::Rejoined(_) | Event::Ended(_) => heard.gone += 1,
                    _ => {}
                });
            }
        });
        let (stop, mut stopped) = oneshot::channel();
        let talking = tokio::spawn(async move {
            let mut said = Vec::new();
            let mut tick = interval(PACE);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for n in 0_u32.. {
                let is_end = tokio::select! { _ = &mut stopped => true, _ = tick.tick() => false };
                let text = if is_end { END.to_owned() } else { n.to_string() };
                let data = Data { topic: TOPIC.to_owned(), text: text.clone(), ..Data::default() };
                said.push((text, sender.send(Signal::data(to.clone(), data)).await));
                if is_end {
                    break;
                }
            }
            said
        });
        let mut talk = Self { stop, talking, heard, _talker };
        talk.hears_more().await;
        talk
    }

    /// Waits until some more of what is said has come through.
    pub(crate) async fn hears_more(&mut self) {
        let count = self.heard.borrow().texts.len();
        within(BACK, self.heard.wait_for(|heard| heard.texts.len() >= count + 5)).await.unwrap();
    }

    /// How often the listener has been back in its session.
    pub(crate) fn resumed(&self) -> usize {
        self.heard.borrow().resumed
    }

    /// Ends it, and holds what was heard against what was said: all of it, once, in order, in the same session.
    pub(crate) async fn end_with_nothing_lost(mut self) {
        self.stop.send(()).unwrap();
        let said = within(BACK, self.talking).await.unwrap();
        let heard = within(BACK, self.heard.wait_for(|heard| heard.texts.last().is_some_and(|text| text == END)));
        let heard = heard.await.unwrap().clone();
        let mut texts = Vec::new();
        for (text, receipt) in said {
            assert_eq!(within(DEADLINE, receipt.outcome()).await, Outcome::Accepted, "{text}");
            texts.push(text);
        }
        assert_eq!(heard.texts, texts);
        assert_eq!(heard.gone, 0);
    }
}
