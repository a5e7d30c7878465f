//! A member on the native client library, which resumes and resends.

use std::{collections::VecDeque, future::Future, net::SocketAddr, pin::Pin, time::Duration};

use futures_util::{StreamExt, stream::FuturesOrdered};
use signalbox_client::{Client, Error, Event, Outcome, Session, Signal};
use signalbox_proto::v1::client_message::Body;
use tokio::time::{self, Instant, MissedTickBehavior, sleep_until, timeout};
use tonic::transport::Endpoint;

use crate::{
    history,
    member::{Command, IN_FLIGHT, Next, OutgoingSignal, Participant, Phase, SessionRecorder, TICK},
};

/// How long a leave may take before the connection is dropped.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);
/// The HTTP/2 window. With a larger one the server would notice late that a client does not read.
const WINDOW: u32 = 64 * 1024;

type Receipts = FuturesOrdered<Pin<Box<dyn Future<Output = Outcome> + Send>>>;

/// Runs sessions one after another until the end of the run.
pub async fn run_sessions(mut participant: Participant) {
    loop {
        participant.set_connected(false);
        match run_session(&mut participant).await {
            Ok(Next::Stop) => return,
            Ok(Next::Rejoin) => participant.change_identity(),
            Err(_) if *participant.phase.borrow() == Phase::Finish => return,
            // Refused, reset, or the server is down: join again.
            Err(_) => {}
        }
        let delay = participant.rejoin_delay();
        time::sleep(delay).await;
    }
}

/// Runs a session until it ends, including rejoins by the library.
pub async fn run_session(participant: &mut Participant) -> Result<Next, Error> {
    let session = client(participant.addr)?.join(participant.join()).await?;
    let recorder = SessionRecorder::open(participant, &session.welcome(), false);
    let (receipts, open, settled) = (Receipts::new(), VecDeque::new(), VecDeque::new());
    let member = NativeMember { session, recorder, paused_until: None, receipts, open, settled };
    Ok(member.run(participant).await)
}

fn client(addr: SocketAddr) -> Result<Client, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}"))
        .map_err(|error| Error::Address(error.to_string()))?
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true);
    Ok(Client::with_endpoint(endpoint))
}

struct NativeMember {
    session: Session,
    recorder: SessionRecorder,
    /// The end of a pause in reading.
    paused_until: Option<Instant>,
    receipts: Receipts,
    /// The signals of the receipts, oldest first.
    open: VecDeque<(String, u64)>,
    /// Outcomes of the first of these, not recorded yet.
    settled: VecDeque<Outcome>,
}

impl NativeMember {
    async fn run(mut self, participant: &mut Participant) -> Next {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        participant.set_connected(true);
        loop {
            tokio::select! {
                // Events first, since outcomes of a new session come after its event.
                biased;
                event = self.session.next(), if self.paused_until.is_none() => {
                    if !self.handle(event, participant) {
                        return Next::Rejoin;
                    }
                }
                () = sleep_until(self.paused_until.unwrap_or_else(Instant::now)), if self.paused_until.is_some() => {
                    self.paused_until = None;
                    self.recorder.reads_again();
                    // The next event may contradict this.
                    participant.set_connected(true);
                }
                () = std::future::ready(()), if !self.settled.is_empty() => {
                    let open = self.open.drain(..self.settled.len());
                    for (outcome, (to, number)) in self.settled.drain(..).zip(open) {
                        record(&self.recorder, outcome, to, number);
                    }
                }
                Some(settled) = self.receipts.next() => self.settled.push_back(settled),
                Ok(()) = participant.phase.changed() => {
                    if *participant.phase.borrow() == Phase::Finish {
                        self.recorder.finish();
                        return Next::Stop;
                    }
                }
                Some(command) = participant.commands.recv() => match command {
                    Command::Burst(count, to, size) => {
                        if self.recorder.knows(&to) {
                            self.send(participant, count, Some((&to, size))).await;
                        }
                    }
                    Command::StopReading(time) => {
                        self.paused_until = Some(Instant::now() + time);
                        self.recorder.suspended();
                        participant.set_connected(false);
                    }
                    Command::SwitchNetwork => {}
                    Command::Kill => return Next::Rejoin,
                    Command::Leave => {
                        self.leave().await;
                        return Next::Rejoin;
                    }
                },
                _ = tick.tick(), if participant.is_under_load() => {
                    let count = participant.signals_in_tick();
                    self.send(participant, count, None).await;
                }
            }
        }
    }

    /// Sends signals, fewer than `count` if too many are unsettled. So `send` of the library never blocks, which would
    /// deadlock with a library that waits for its events to be read.
    async fn send(&mut self, participant: &mut Participant, count: usize, to: Option<(&str, usize)>) {
        for _ in 0..count.min(IN_FLIGHT.saturating_sub(self.open.len())) {
            let picked = if to.is_none() { self.recorder.pick_addressee(&mut participant.rng) } else { None };
            let Some((to, size)) = to.or(picked.as_deref().map(|to| (to, 0))) else { return };
            let OutgoingSignal { to, number, body } = self.recorder.new_signal(to, size, &mut participant.rng);
            let receipt = self.session.send(signal(&to, body)).await;
            self.receipts.push_back(Box::pin(receipt.outcome()));
            self.open.push_back((to, number));
        }
    }

    /// Handles an event. False: the session has ended.
    fn handle(&mut self, event: Option<Event>, participant: &Participant) -> bool {
        match event {
            Some(Event::MemberJoined(member)) => self.recorder.joined(member),
            Some(Event::MemberLeft(left)) => self.recorder.left(left.member_id.clone(), left.reason()),
            Some(Event::Signal(signal)) => self.recorder.received(signal.from, &signal.body),
            Some(Event::Suspended) => {
                participant.set_connected(false);
                self.recorder.suspended();
            }
            Some(Event::Resumed(members)) => {
                participant.set_connected(true);
                self.recorder.resumed(&members);
            }
            Some(Event::Rejoined(welcome)) => {
                self.end("SESSION_GONE");
                self.recorder = SessionRecorder::open(participant, &welcome, false);
                participant.set_connected(true);
            }
            Some(Event::Ended(error)) => {
                self.end(if error.reason().is_empty() { "ENDED" } else { error.reason() });
                return false;
            }
            None => {
                self.end("ENDED");
                return false;
            }
            Some(Event::MemberUpdated(_) | Event::IceServers(_)) => {}
        }
        true
    }

    /// The session ended. Later outcomes do not belong to it, since the library sends the unsettled signals in the next
    /// session.
    fn end(&mut self, reason: &str) {
        self.recorder.over(reason);
        self.settled.clear();
        self.receipts = Receipts::new();
        for (to, number) in self.open.drain(..) {
            self.recorder.settled(to, number, history::Outcome::Unknown);
        }
    }

    async fn leave(self) {
        let Self { session, recorder, receipts, open, settled, .. } = self;
        recorder.over("LEFT");
        let leave = async {
            session.leave().await;
            // By then all of them are settled, or stay unknown.
            let mut outcomes = futures_util::stream::iter(settled).chain(receipts);
            for (to, number) in open {
                let outcome = outcomes.next().await.unwrap_or(Outcome::Unknown);
                record(&recorder, outcome, to, number);
            }
        };
        // After the timeout the connection is dropped.
        drop(timeout(LEAVE_TIMEOUT, leave).await);
    }
}

fn signal(to: &str, body: Body) -> Signal {
    match body {
        Body::Offer(sdp) => Signal::offer(to, sdp.sdp),
        Body::Answer(sdp) => Signal::answer(to, sdp.sdp),
        Body::Candidate(candidate) => Signal::candidate(to, candidate),
        Body::Data(data) => Signal::data(to, data),
        _ => Signal::data(to, signalbox_proto::v1::Data::default()),
    }
}

/// Records the outcome of a signal.
fn record(recorder: &SessionRecorder, outcome: Outcome, to: String, number: u64) {
    match outcome {
        Outcome::Accepted => recorder.acknowledged(to, number, Vec::new()),
        Outcome::Undelivered(reports) => recorder.acknowledged(to, number, reports),
        Outcome::Unknown => recorder.settled(to, number, history::Outcome::Unknown),
    }
}
