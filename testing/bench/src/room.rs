//! A room full of members who read, and the load they make.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use signalbox_client::{Client, Event, Outcome, Sender, Session, Signal};
use signalbox_proto::v1::{Data, MemberLeft, client_message::Body};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    Result,
    members::{Shared, join},
    stopped::Slow,
    table::Times,
};

/// The room.
const ROOM: &str = "bench";
/// Bytes of the data that goes to all, and to one.
const TO_ALL_BYTES: usize = 1024;
const TO_ONE_BYTES: usize = 200;
/// Characters of an offer, which is like that of a browser with audio, video and a data channel.
const OFFER_BYTES: usize = 8 * 1024;
/// Load before the measuring begins.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);
/// A timer is late by up to 1 ms, and that is not the server's. What is said later than this was held up, and counts
/// from when it was due.
const LATE: Duration = Duration::from_millis(2);
/// How long the last signals may take to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Signals a second, and for how long.
pub(crate) struct Load {
    pub(crate) to_all: u32,
    pub(crate) to_one: u32,
    pub(crate) to_slow: u32,
    pub(crate) time: Duration,
}

/// What came of what was said.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    arrived: AtomicU64,
    accepted: AtomicU64,
    mailbox_full: AtomicU64,
}

impl Usage {
    /// How many offers to the slow member were accepted, and refused because its mailbox was full.
    pub(crate) fn offers(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.mailbox_full.load(Ordering::Relaxed))
    }

    fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted => self.accepted.fetch_add(1, Ordering::Relaxed),
            Outcome::Undelivered(reports) if reports.iter().any(|report| report.reason == "MAILBOX_FULL") => {
                self.mailbox_full.fetch_add(1, Ordering::Relaxed)
            }
            // Nobody was there just then.
            Outcome::Undelivered(_) | Outcome::Unknown => 0,
        };
    }
}

/// The room and its readers.
pub(crate) struct Room {
    readers: Vec<(String, Sender)>,
    tasks: JoinSet<Result<Heard>>,
    stop: watch::Sender<bool>,
    left: Option<mpsc::UnboundedReceiver<MemberLeft>>,
    slow: watch::Sender<String>,
    tally: Arc<Usage>,
    clock: Instant,
    measured: Arc<AtomicU64>,
}

/// What one reader heard, once measuring had begun.
#[derive(Default)]
struct Heard {
    to_all: Times,
    to_one: Times,
}

impl Room {
    /// Lets everybody join.
    pub(crate) async fn fill(url: &str, readers: u32, connections: u32) -> Result<Self> {
        let shared = Shared::new(url, connections as usize)?;
        let (told, left) = mpsc::unbounded_channel();
        let mut told = Some(told);
        let mut room = Self {
            readers: Vec::new(),
            tasks: JoinSet::new(),
            stop: watch::Sender::new(false),
            left: Some(left),
            slow: watch::Sender::default(),
            tally: Arc::default(),
            clock: Instant::now(),
            measured: Arc::new(AtomicU64::new(u64::MAX)),
        };
        for index in 0..readers as usize {
            let session = join(shared.client(index), ROOM).await?;
            room.readers.push((session.member_id(), session.sender()));
            let reader = Reader {
                session,
                clock: room.clock,
                measured: room.measured.clone(),
                tally: room.tally.clone(),
                // The first tells who left.
                left: told.take(),
            };
            room.tasks.spawn(reader.read(room.stop.subscribe()));
        }
        Ok(room)
    }

    /// One more member, who reads like the others, on a connection of its own.
    pub(crate) async fn keep_reading(&mut self, url: &str) -> Result<Slow> {
        let mut session = join(&Client::new(url)?, ROOM).await?;
        self.slow.send_replace(session.member_id());
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = session.next() => match event {
                        Some(Event::Suspended | Event::Rejoined(_) | Event::Ended(_)) | None => {
                            return Err("the member who reads lost its connection".into());
                        }
                        Some(_) => {}
                    },
                    _ = &mut stopped => return Ok(Vec::new()),
                }
            }
        });
        Ok(Slow { task, stop })
    }

    /// One more member who has stopped reading, at any time: once it has been ended, another.
    pub(crate) fn stop_reading(&mut self, url: &str) -> Slow {
        let left = self.left.take().expect("there is one slow member");
        Slow::stop_reading(url.to_owned(), ROOM.to_owned(), None, self.slow.clone(), left)
    }

    /// Makes the load, and waits until all of it has arrived.
    pub(crate) async fn load(&mut self, load: &Load) -> Result<()> {
        let start = Instant::now();
        let measured = start + WARM_UP;
        self.measured.store(self.stamp(measured), Ordering::Relaxed);
        let end = measured + load.time;
        let readers = self.readers.len();
        let reader = |index: usize| &self.readers[index % readers];
        let to_all = pace(load.to_all, start, end, async |index, at| {
            let data = self.data("all", TO_ALL_BYTES, at);
            drop(reader(index).1.send(Signal::data("", data)).await);
        });
        let to_one = pace(load.to_one, start, end, async |index, at| {
            // Somebody else each time, over all pairs.
            let to = index + 1 + index / readers % (readers - 1);
            let data = self.data("one", TO_ONE_BYTES, at);
            drop(reader(index).1.send(Signal::data(reader(to).0.clone(), data)).await);
        });
        let sdp = "x".repeat(OFFER_BYTES);
        let to_slow = pace(load.to_slow, start, end, async |index, _| {
            let to = self.slow.borrow().clone();
            if to.is_empty() {
                return;
            }
            let receipt = reader(index).1.send(Signal::offer(to, sdp.clone())).await;
            let tally = self.tally.clone();
            tokio::spawn(async move { tally.count(&receipt.outcome().await) });
        });
        let (to_all, to_one, _) = tokio::join!(to_all, to_one, to_slow);
        let expected = to_all * (readers as u64 - 1) + to_one;
        let arrival = async {
            while self.tally.arrived.load(Ordering::Relaxed) < expected {
                sleep_until(Instant::now() + Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(ARRIVAL_TIMEOUT, arrival).await;
        let arrived = self.tally.arrived.load(Ordering::Relaxed);
        if in_time.is_err() || arrived != expected {
            return Err(format!("{arrived} signals arrived at readers instead of {expected}").into());
        }
        Ok(())
    }

    /// What came of what was said.
    pub(crate) fn add_usage(&self) -> Arc<Usage> {
        self.tally.clone()
    }

    /// Ends it. The times from saying something to hearing it: said to all, and to one.
    pub(crate) async fn leave(mut self) -> Result<(Times, Times)> {
        self.stop.send_replace(true);
        let mut all = Heard::default();
        while let Some(heard) = self.tasks.join_next().await {
            let heard = heard??;
            all.to_all.append(heard.to_all);
            all.to_one.append(heard.to_one);
        }
        Ok((all.to_all, all.to_one))
    }

    fn data(&self, topic: &str, bytes: usize, at: Instant) -> Data {
        let mut payload = self.stamp(at).to_be_bytes().to_vec();
        payload.resize(bytes, 0);
        Data { topic: topic.to_owned(), payload: payload.into(), ..Data::default() }
    }

    fn stamp(&self, at: Instant) -> u64 {
        nanos(at - self.clock)
    }
}

struct Reader {
    session: Session,
    clock: Instant,
    /// What was said from then on counts.
    measured: Arc<AtomicU64>,
    tally: Arc<Usage>,
    left: Option<mpsc::UnboundedSender<MemberLeft>>,
}

impl Reader {
    async fn read(mut self, mut stop: watch::Receiver<bool>) -> Result<Heard> {
        let mut heard = Heard::default();
        loop {
            let event = tokio::select! {
                event = self.session.next() => event,
                _ = stop.wait_for(|stop| *stop) => return Ok(heard),
            };
            match event {
                Some(Event::Signal(signal)) => {
                    if let Body::Data(data) = signal.body {
                        self.hear(&data, &mut heard);
                    }
                }
                Some(Event::MemberLeft(left)) => drop(self.left.as_ref().map(|told| told.send(left))),
                Some(Event::Suspended | Event::Rejoined(_) | Event::Ended(_)) | None => {
                    return Err("a member who reads lost its connection".into());
                }
                Some(_) => {}
            }
        }
    }

    fn hear(&self, data: &Data, heard: &mut Heard) {
        let Some(said) = data.payload.first_chunk().copied().map(u64::from_be_bytes) else { return };
        let now = nanos(self.clock.elapsed());
        self.tally.arrived.fetch_add(1, Ordering::Relaxed);
        if said < self.measured.load(Ordering::Relaxed) {
            return;
        }
        let times = if data.topic == "all" { &mut heard.to_all } else { &mut heard.to_one };
        times.add(Duration::from_nanos(now.saturating_sub(said)));
    }
}

/// Calls `say` so often a second, with a count and the time from which its way counts; returns how often.
async fn pace(rate: u32, start: Instant, end: Instant, say: impl AsyncFn(usize, Instant)) -> u64 {
    let mut count: u32 = 0;
    loop {
        let due = start + Duration::from_secs(1).mul_f64(f64::from(count) / f64::from(rate));
        if due >= end {
            return count.into();
        }
        sleep_until(due).await;
        let now = Instant::now();
        say(count as usize, if now - due > LATE { due } else { now }).await;
        count += 1;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
