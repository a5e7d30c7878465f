//! A live room in which two members talk all the time.

use std::time::{Duration, Instant};

use signalbox_proto::v1::server_message::Body;
use tokio::{sync::oneshot, task::JoinHandle, time};

use crate::common::{DEADLINE, TestServer, body, native::Member, say, within};

/// Less than the rate that a member may send at.
const PACE: Duration = Duration::from_millis(25);
/// Far more than a signal takes, and less than a call to a database that does not answer.
const PROMPT: Duration = Duration::from_secs(1);

/// Two members who send each other numbered signals in turn.
pub(crate) struct Live {
    room: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<u64>,
}

impl Live {
    /// Makes the room and starts.
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

    /// Somebody else comes and goes, which needs no database either.
    pub(crate) async fn join_and_leave(&self, server: &TestServer) {
        let start = Instant::now();
        let eve = Member::join(server, &self.room).await;
        assert!(start.elapsed() < PROMPT, "joining took {:?}", start.elapsed());
        eve.say("", say::leave()).await;
    }

    /// Stops; every signal has arrived, in time and in order, and there were many.
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("they talk");
        let sent = within(DEADLINE, self.task).await.expect("every signal arrives");
        assert!(sent > 20, "only {sent} signals were sent");
    }
}

/// One signal that must arrive, and be the next one that does.
async fn pass(from: &mut Member, to: &mut Member, number: u64) {
    from.say(&to.id, say::data(&number.to_string())).await;
    loop {
        let message = to.event().await;
        match &message.body {
            Some(Body::Data(data)) => {
                assert_eq!((message.from, data.text.as_str()), (from.id.clone(), number.to_string().as_str()));
                return;
            }
            Some(Body::Undelivered(undelivered)) => panic!("{undelivered:?}"),
            // Somebody comes and goes, or the server says that it is there.
            _ => {}
        }
    }
}
