//! A live room in which two members exchange signals all the time.

use std::time::{Duration, Instant};

use signalbox_proto::v1::server_message::Body as ServerBody;
use tokio::{sync::oneshot, task::JoinHandle, time};

use crate::common::{DEADLINE, TestServer, body, messages, native::Member, within};

/// Time between signals, which is below the rate limit.
const PACE: Duration = Duration::from_millis(25);
/// Far more than a signal takes, and less than a call to a hanging database.
const PROMPT: Duration = Duration::from_secs(1);

/// Two members that send each other numbered signals in turn.
pub(crate) struct Live {
    room: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<u64>,
}

impl Live {
    /// Joins the room and starts.
    pub(crate) async fn start(server: &TestServer, room: &str) -> Self {
        let mut ada = Member::join(server, room).await;
        let mut bob = Member::join(server, room).await;
        body!(ada.event().await, MemberJoined);
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut pace = time::interval(PACE);
            let mut sent = 0;
            while stopped.try_recv().is_err() {
                pace.tick().await;
                sent += 1;
                let start = Instant::now();
                pass(&mut ada, &mut bob, sent).await;
                pass(&mut bob, &mut ada, sent).await;
                assert!(start.elapsed() < PROMPT, "signal {sent} there and back took {:?}", start.elapsed());
            }
            sent
        });
        Self { room: room.to_owned(), stop, task }
    }

    /// Joins and leaves with a third member, which does not need the database.
    pub(crate) async fn join_and_leave(&self, server: &TestServer) {
        let start = Instant::now();
        let eve = Member::join(server, &self.room).await;
        assert!(start.elapsed() < PROMPT, "joining took {:?}", start.elapsed());
        eve.send("", messages::leave()).await;
    }

    /// Stops. Every signal has arrived, in time and in order.
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("they are running");
        let sent = within(DEADLINE, self.task).await.expect("every signal arrives");
        assert!(sent > 20, "only {sent} signals were sent");
    }
}

/// Sends a signal, which must be the next one that arrives.
async fn pass(from: &mut Member, to: &mut Member, number: u64) {
    from.send(&to.id, messages::data(&number.to_string())).await;
    loop {
        let message = to.event().await;
        match &message.body {
            Some(ServerBody::Data(data)) => {
                assert_eq!((message.from, data.text.as_str()), (from.id.clone(), number.to_string().as_str()));
                return;
            }
            Some(ServerBody::Undelivered(undelivered)) => panic!("{undelivered:?}"),
            // Changes of the roster, and heartbeats.
            _ => {}
        }
    }
}
