//! A member that works like a web page: it receives on one stream, sends with one `Send` call at a time, and keeps
//! messages until a response settles them. A moving member sometimes attaches its session to a native stream.

use std::{collections::VecDeque, future::Future, pin::Pin, time::Duration};

use prost::Message;
use rand::RngExt;
use signalbox_proto::{
    reason,
    v1::{
        Action, ClientMessage, Heartbeat, Leave, Resume, SendRequest, SendResponse, ServerMessage, Welcome,
        client_message::Body as ClientBody, server_message::Body as ServerBody, subscribe_request::Open,
    },
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior, timeout},
};

use crate::{
    history::Outcome,
    member::{Command, IN_FLIGHT, Next, OutgoingSignal, Participant, Phase, SessionRecorder, TICK},
    wire::{CallFailure, Connection, Transport, read_stream, send},
};

/// Limits of one `Send`: messages and bytes.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 200 * 1024;
/// Received messages that wait to be processed.
const RECEIVE_QUEUE: usize = 64;
/// Messages that may be processed before they are acknowledged.
const ACK_EVERY: u64 = 32;
/// Delays between attempts, in milliseconds.
const BACKOFF_MS: [u64; 5] = [0, 300, 1200, 2700, 4800];
/// How long a leave may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

type Sending = Pin<Box<dyn Future<Output = Result<(Connection, SendResponse), CallFailure>> + Send>>;

/// Runs sessions one after another until the end of the run.
pub async fn run_sessions(mut participant: Participant, moving: bool) {
    loop {
        participant.set_connected(false);
        match run_session(&mut participant, moving).await {
            Some(Next::Stop) => return,
            Some(Next::Rejoin) => participant.change_identity(),
            None => {}
        }
        let delay = participant.rejoin_delay();
        time::sleep(delay).await;
    }
}

/// Runs a session, if it can be opened.
pub async fn run_session(participant: &mut Participant, moving: bool) -> Option<Next> {
    Some(WebMember::join(participant, moving).await?.run(participant).await)
}

/// The stream of the session, read by a task that ends when this is dropped.
struct Listener {
    messages: mpsc::Receiver<Result<ServerMessage, CallFailure>>,
    _task: JoinSet<()>,
}

impl Listener {
    fn open(participant: &Participant, transport: Transport, open: Open, silence: Duration) -> Self {
        let (sender, messages) = mpsc::channel(RECEIVE_QUEUE);
        let mut task = JoinSet::new();
        task.spawn(read_stream(participant.addr, transport, open, silence, sender));
        Self { messages, _task: task }
    }

    /// The next message, or the end of the stream.
    async fn next(&mut self) -> Result<ServerMessage, CallFailure> {
        self.messages.recv().await.unwrap_or(Err(CallFailure::Lost))
    }
}

struct WebMember {
    recorder: SessionRecorder,
    moving: bool,
    token: String,
    heartbeat: Duration,
    listener: Option<Listener>,
    /// The end of a pause in reading.
    paused_until: Option<Instant>,
    /// Whether the session is attached to the current stream.
    is_attached: bool,
    /// When to open the next stream, and the number of failed attempts.
    reopen: Instant,
    attempts: usize,
    /// Highest sequence numbers processed and acknowledged.
    processed: u64,
    acked: u64,
    /// Unsettled messages, oldest first, with the addressee and number of signals.
    outbox: VecDeque<(ClientMessage, Option<(String, u64)>)>,
    last_seq: u64,
    connection: Option<Connection>,
    /// The call in progress, and its number of numbered messages.
    sending: Option<(usize, Sending)>,
    send_at: Instant,
    send_failures: usize,
    last_sent: Instant,
    leaving: Option<Instant>,
}

/// The reason for the end of the session.
struct SessionEnded(String);

impl WebMember {
    async fn join(participant: &Participant, moving: bool) -> Option<Self> {
        let transport = if moving { Transport::Exchange } else { Transport::Subscribe };
        let mut listener =
            Listener::open(participant, transport, Open::Join(participant.join()), Duration::from_secs(5));
        let first = timeout(Duration::from_secs(5), listener.next()).await.ok()?.ok()?;
        let seq = first.seq;
        let Some(ServerBody::Welcome(welcome)) = first.body else { return None };
        let Welcome { session_token, limits, .. } = &welcome;
        let heartbeat = limits.and_then(|limits| limits.heartbeat_interval?.try_into().ok());
        let now = Instant::now();
        Some(Self {
            recorder: SessionRecorder::open(participant, &welcome, true),
            moving,
            token: session_token.clone(),
            heartbeat: heartbeat.unwrap_or(Duration::from_secs(15)),
            listener: Some(listener),
            paused_until: None,
            is_attached: true,
            reopen: now,
            attempts: 0,
            processed: seq,
            acked: seq,
            outbox: VecDeque::new(),
            last_seq: 0,
            connection: None,
            sending: None,
            send_at: now,
            send_failures: 0,
            last_sent: now,
            leaving: None,
        })
    }

    async fn run(mut self, participant: &mut Participant) -> Next {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        participant.set_connected(true);
        let over = loop {
            let received = async {
                match &mut self.listener {
                    Some(listener) if self.paused_until.is_none() => listener.next().await,
                    _ => std::future::pending().await,
                }
            };
            let sent = async {
                match &mut self.sending {
                    Some((_, sending)) => sending.await,
                    None => std::future::pending().await,
                }
            };
            let step = tokio::select! {
                received = received => self.handle(received, participant),
                sent = sent => self.sent(sent),
                Ok(()) = participant.phase.changed() => {
                    if *participant.phase.borrow() == Phase::Finish {
                        self.recorder.finish();
                        return Next::Stop;
                    }
                    Ok(())
                }
                Some(command) = participant.commands.recv() => match command {
                    Command::Kill => return Next::Rejoin,
                    Command::Burst(count, to, size) => {
                        if self.recorder.knows(&to) {
                            self.send_signals(participant, count, Some((&to, size)));
                        }
                        Ok(())
                    }
                    Command::SwitchNetwork => {
                        self.switch_network(participant);
                        Ok(())
                    }
                    Command::StopReading(time) => {
                        self.paused_until = Some(Instant::now() + time);
                        self.recorder.suspended();
                        participant.set_connected(false);
                        Ok(())
                    }
                    Command::Leave => {
                        self.recorder.over("LEFT");
                        self.add(ClientBody::Leave(Leave::default()), None, String::new());
                        self.leaving = Some(Instant::now() + LEAVE_TIMEOUT);
                        // Messages after the leave are ignored.
                        self.listener = None;
                        Ok(())
                    }
                },
                _ = tick.tick() => self.tick(participant),
            };
            if let Err(SessionEnded(reason)) = step {
                break reason;
            }
        };
        if self.leaving.is_none() {
            self.recorder.over(&over);
        }
        for (to, number) in self.outbox.drain(..).filter_map(|(_, signal)| signal) {
            self.recorder.settled(to, number, Outcome::Unknown);
        }
        Next::Rejoin
    }

    fn tick(&mut self, participant: &mut Participant) -> Result<(), SessionEnded> {
        let now = Instant::now();
        if self.paused_until.take_if(|until| *until <= now).is_some() {
            self.recorder.reads_again();
            // The next message may contradict this.
            participant.set_connected(self.is_attached);
        }
        match self.leaving {
            Some(deadline) if now >= deadline => return Err(SessionEnded("LEFT".to_owned())),
            Some(_) => {}
            None => {
                if self.listener.is_none() && now >= self.reopen {
                    self.open(participant);
                }
                if participant.is_under_load() {
                    let count = participant.signals_in_tick();
                    self.send_signals(participant, count, None);
                }
            }
        }
        self.send(participant);
        Ok(())
    }

    fn open(&mut self, participant: &mut Participant) {
        let native = self.moving && participant.rng.random_bool(0.5);
        let transport = if native { Transport::Exchange } else { Transport::Subscribe };
        let open = Open::Resume(Resume { session_token: self.token.clone(), after_seq: self.processed });
        let silence = 2 * self.heartbeat + Duration::from_secs(5);
        self.listener = Some(Listener::open(participant, transport, open, silence));
    }

    fn send_signals(&mut self, participant: &mut Participant, count: usize, to: Option<(&str, usize)>) {
        // A session without a stream may send. The number of unsettled messages is bounded.
        for _ in 0..count.min(IN_FLIGHT.saturating_sub(self.outbox.len())) {
            let picked = if to.is_none() { self.recorder.pick_addressee(&mut participant.rng) } else { None };
            let Some((to, size)) = to.or(picked.as_deref().map(|to| (to, 0))) else { return };
            let OutgoingSignal { to, number, body } = self.recorder.new_signal(to, size, &mut participant.rng);
            self.add(body, Some((to.clone(), number)), to);
        }
    }

    fn add(&mut self, body: ClientBody, signal: Option<(String, u64)>, to: String) {
        self.last_seq += 1;
        let message = ClientMessage { seq: self.last_seq, to, body: Some(body), ..ClientMessage::default() };
        self.outbox.push_back((message, signal));
    }

    /// Starts the next call, if one is due.
    fn send(&mut self, participant: &Participant) {
        let now = Instant::now();
        let is_due = self.processed >= self.acked + ACK_EVERY || now >= self.last_sent + self.heartbeat.mul_f64(0.7);
        if self.sending.is_some() || now < self.send_at || (self.outbox.is_empty() && !is_due) {
            return;
        }
        let mut bytes = 0;
        let fitting = self.outbox.iter().map(|(message, _)| message).take(BATCH).take_while(|message| {
            bytes += message.encoded_len();
            bytes <= BATCH_BYTES
        });
        let mut messages: Vec<_> = fitting.cloned().collect();
        let count = messages.len();
        if messages.is_empty() {
            messages
                .push(ClientMessage { body: Some(ClientBody::Heartbeat(Heartbeat {})), ..ClientMessage::default() });
        }
        if let Some(first) = messages.first_mut() {
            first.ack = self.processed;
        }
        self.acked = self.processed;
        self.last_sent = now;
        let batch = SendRequest { session_token: self.token.clone(), messages };
        self.sending = Some((count, Box::pin(send(participant.addr, self.connection.take(), batch))));
    }

    /// Handles the outcome of a call.
    fn sent(&mut self, sent: Result<(Connection, SendResponse), CallFailure>) -> Result<(), SessionEnded> {
        let (count, _) = self.sending.take().unwrap_or_else(|| (0, Box::pin(std::future::pending())));
        let (connection, response) = match sent {
            Ok(sent) => sent,
            Err(fail) => return self.send_failed(fail),
        };
        self.connection = Some(connection);
        self.send_failures = 0;
        for _ in 0..count {
            if self.outbox.front().is_none_or(|(message, _)| message.seq > response.ack) {
                break;
            }
            let Some((message, signal)) = self.outbox.pop_front() else { break };
            let Some((to, number)) = signal else {
                return Err(SessionEnded("LEFT".to_owned()));
            };
            let reports = response.undelivered.iter().filter(|report| report.client_seq == message.seq);
            self.recorder.acknowledged(to, number, reports.cloned().collect());
        }
        Ok(())
    }

    fn send_failed(&mut self, fail: CallFailure) -> Result<(), SessionEnded> {
        match fail {
            CallFailure::Refused(_, reason) if reason != reason::DRAINING => Err(SessionEnded(reason)),
            CallFailure::Lost | CallFailure::Refused(..) => {
                self.send_at = Instant::now() + backoff(self.send_failures);
                self.send_failures += 1;
                Ok(())
            }
        }
    }

    fn handle(
        &mut self,
        received: Result<ServerMessage, CallFailure>,
        participant: &Participant,
    ) -> Result<(), SessionEnded> {
        let ServerMessage { seq, from, body, .. } = match received {
            Ok(message) => message,
            Err(fail) => return self.lost(fail, participant),
        };
        if seq != 0 && seq <= self.processed && !matches!(body, Some(ServerBody::Resumed(_))) {
            return Ok(()); // It was processed before.
        }
        match body {
            Some(ServerBody::Resumed(resumed)) => {
                self.is_attached = true;
                self.attempts = 0;
                participant.set_connected(true);
                self.recorder.resumed(&resumed.members);
                return Ok(());
            }
            Some(ServerBody::MemberJoined(joined)) => {
                joined.member.into_iter().for_each(|member| self.recorder.joined(member));
            }
            Some(ServerBody::MemberLeft(left)) => self.recorder.left(left.member_id.clone(), left.reason()),
            Some(ServerBody::Offer(sdp)) => self.recorder.received(from, &ClientBody::Offer(sdp)),
            Some(ServerBody::Answer(sdp)) => self.recorder.received(from, &ClientBody::Answer(sdp)),
            Some(ServerBody::Candidate(candidate)) => self.recorder.received(from, &ClientBody::Candidate(candidate)),
            Some(ServerBody::Data(data)) => self.recorder.received(from, &ClientBody::Data(data)),
            Some(ServerBody::GoAway(go_away)) => {
                let after = go_away.retry_after.and_then(|after| after.try_into().ok()).unwrap_or_default();
                match go_away.action() {
                    Action::Rejoin => return Err(SessionEnded(go_away.reason)),
                    Action::Resume => self.reopen = Instant::now() + after,
                    // The status of the stream has the reason.
                    Action::Stop | Action::Unspecified => {}
                }
            }
            _ => {}
        }
        self.processed = self.processed.max(seq);
        Ok(())
    }

    /// Resends unsettled messages on new connections, as after a change of networks.
    fn switch_network(&mut self, participant: &Participant) {
        let now = Instant::now();
        (self.sending, self.connection, self.send_at) = (None, None, now);
        (self.listener, self.reopen, self.attempts) = (None, now, 0);
        self.detached(participant);
    }

    /// The stream ended.
    fn lost(&mut self, fail: CallFailure, participant: &Participant) -> Result<(), SessionEnded> {
        self.listener = None;
        if let CallFailure::Refused(_, reason) = fail
            // Only this client has the token, so its own delayed attempt has fenced the stream.
            && ![reason::DRAINING, reason::HEARTBEAT_TIMEOUT, reason::SEQ_GAP, reason::FENCED].contains(&&*reason)
        {
            return Err(SessionEnded(reason));
        }
        self.detached(participant);
        self.reopen = self.reopen.max(Instant::now() + backoff(self.attempts));
        self.attempts += 1;
        Ok(())
    }

    /// The session is not attached to a stream any more.
    fn detached(&mut self, participant: &Participant) {
        if self.is_attached {
            self.is_attached = false;
            participant.set_connected(false);
            self.recorder.suspended();
        }
    }
}

fn backoff(attempts: usize) -> Duration {
    Duration::from_millis(BACKOFF_MS[attempts.min(BACKOFF_MS.len() - 1)])
}
