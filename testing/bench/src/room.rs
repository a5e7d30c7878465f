//! A room of members that read, and their load.

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
/// Load before the measurement.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);
/// Timers are late by up to 1 ms, which is not counted. A signal that is later than this was delayed by the load, and
/// its time counts from when it was due.
const LATE: Duration = Duration::from_millis(2);
/// How long the last signals may take.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Signals per second, and the duration.
pub(crate) struct Load {
    pub(crate) to_all: u32,
    pub(crate) to_one: u32,
    pub(crate) to_slow: u32,
    pub(crate) time: Duration,
}

/// Counts of signals.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    arrived: AtomicU64,
    accepted: AtomicU64,
    mailbox_full: AtomicU64,
}

impl Tally {
    /// Numbers of offers to the slow member that were accepted, and refused with MAILBOX_FULL.
    pub(crate) fn offers(&self) -> (u64, u64) {
        (self.accepted.load(Ordering::Relaxed), self.mailbox_full.load(Ordering::Relaxed))
    }

    fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted => self.accepted.fetch_add(1, Ordering::Relaxed),
            Outcome::Undelivered(reports) if reports.iter().any(|report| report.reason == "MAILBOX_FULL") => {
                self.mailbox_full.fetch_add(1, Ordering::Relaxed)
            }
            // There was no slow member at that time.
            Outcome::Undelivered(_) | Outcome::Unknown => 0,
        };
    }
}

/// The room and its readers.
pub(crate) struct Room {
    readers: Vec<(String, Sender)>,
    tasks: JoinSet<Result<Measured>>,
    stop: watch::Sender<bool>,
    left: Option<mpsc::UnboundedReceiver<MemberLeft>>,
    slow: watch::Sender<String>,
    tally: Arc<Tally>,
    clock: Instant,
    measured: Arc<AtomicU64>,
}

/// The times that a reader measured.
#[derive(Default)]
struct Measured {
    to_all: Times,
    to_one: Times,
}

impl Room {
    /// Joins all readers.
    pub(crate) async fn fill(url: &str, readers: u32, connections: u32) -> Result<Self> {
        let shared = Shared::new(url, connections as usize)?;
        let (sender, left) = mpsc::unbounded_channel();
        let mut sender = Some(sender);
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
                // The first one forwards leaves.
                left: sender.take(),
            };
            room.tasks.spawn(reader.read(room.stop.subscribe()));
        }
        Ok(room)
    }

    /// Adds a member that reads, on its own connection.
    pub(crate) async fn keep_reading(&mut self, url: &str) -> Result<Slow> {
        let mut session = join(&Client::new(url)?, ROOM).await?;
        self.slow.send_replace(session.member_id());
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = session.next() => match event {
                        Some(Event::Suspended | Event::Rejoined(_) | Event::Ended(_)) | None => {
                            return Err("the member that reads lost its connection".into());
                        }
                        Some(_) => {}
                    },
                    _ = &mut stopped => return Ok(Vec::new()),
                }
            }
        });
        Ok(Slow { task, stop })
    }

    /// Adds a member that has stopped reading. When its session ends, another one joins.
    pub(crate) fn stop_reading(&mut self, url: &str) -> Slow {
        let left = self.left.take().expect("there is one slow member");
        Slow::stop_reading(url.to_owned(), ROOM.to_owned(), None, self.slow.clone(), left)
    }

    /// Sends the load, and waits until all of it has arrived.
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
            // All pairs in turn.
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

    /// Counts of signals.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        self.tally.clone()
    }

    /// Ends the readers; returns the times from sending to receiving, of signals to all and to one.
    pub(crate) async fn leave(mut self) -> Result<(Times, Times)> {
        self.stop.send_replace(true);
        let mut all = Measured::default();
        while let Some(measured) = self.tasks.join_next().await {
            let measured = measured??;
            all.to_all.append(measured.to_all);
            all.to_one.append(measured.to_one);
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
    /// Signals sent from then on count.
    measured: Arc<AtomicU64>,
    tally: Arc<Tally>,
    left: Option<mpsc::UnboundedSender<MemberLeft>>,
}

impl Reader {
    async fn read(mut self, mut stop: watch::Receiver<bool>) -> Result<Measured> {
        let mut measured = Measured::default();
        loop {
            let event = tokio::select! {
                event = self.session.next() => event,
                _ = stop.wait_for(|stop| *stop) => return Ok(measured),
            };
            match event {
                Some(Event::Signal(signal)) => {
                    if let Body::Data(data) = signal.body {
                        self.receive(&data, &mut measured);
                    }
                }
                Some(Event::MemberLeft(left)) => drop(self.left.as_ref().map(|sender| sender.send(left))),
                Some(Event::Suspended | Event::Rejoined(_) | Event::Ended(_)) | None => {
                    return Err("a member that reads lost its connection".into());
                }
                Some(_) => {}
            }
        }
    }

    fn receive(&self, data: &Data, measured: &mut Measured) {
        let Some(sent) = data.payload.first_chunk().copied().map(u64::from_be_bytes) else { return };
        let now = nanos(self.clock.elapsed());
        self.tally.arrived.fetch_add(1, Ordering::Relaxed);
        if sent < self.measured.load(Ordering::Relaxed) {
            return;
        }
        let times = if data.topic == "all" { &mut measured.to_all } else { &mut measured.to_one };
        times.add(Duration::from_nanos(now.saturating_sub(sent)));
    }
}

/// Calls `send` at a rate per second, with a count and the time of sending; returns the number of calls.
async fn pace(rate: u32, start: Instant, end: Instant, send: impl AsyncFn(usize, Instant)) -> u64 {
    let mut count: u32 = 0;
    loop {
        let due = start + Duration::from_secs(1).mul_f64(f64::from(count) / f64::from(rate));
        if due >= end {
            return count.into();
        }
        sleep_until(due).await;
        let now = Instant::now();
        send(count as usize, if now - due > LATE { due } else { now }).await;
        count += 1;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
