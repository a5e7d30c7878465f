//! A member as a web page is one: hears on one stream, says things with `Send`, one call at a time, and keeps what it
//! said until a response settles it. A moving member also lets a native stream carry its session now and then.

use std::{collections::VecDeque, future::Future, pin::Pin, time::Duration};

use prost::Message;
use rand::RngExt;
use signalbox_proto::{
    reason,
    v1::{
        Action, ClientMessage, Heartbeat, Leave, Resume, SendRequest, SendResponse, ServerMessage, Welcome,
        client_message::Body as Say, server_message::Body, subscribe_request::Open,
    },
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior, timeout},
};

use crate::{
    history::Outcome,
    member::{Book, IN_FLIGHT, Next, Order, Phase, Place, Said, TICK},
    wire::{Carrier, Connection, Fail, listen, send},
};

/// Messages in one `Send`, and their bytes.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 200 * 1024;
/// Messages from the server that wait to be processed.
const HEARD: usize = 64;
/// Entries that may be processed before the server hears of it.
const ACK_EVERY: u64 = 32;
/// Waits between attempts, in milliseconds.
const WAITS: [u64; 5] = [0, 300, 1200, 2700, 4800];
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(3);

type Sending = Pin<Box<dyn Future<Output = Result<(Connection, SendResponse), Fail>> + Send>>;

/// Is a member for as long as the run goes on, with one session after the other.
pub async fn live(mut place: Place, moving: bool) {
    loop {
        place.set_connected(false);
        match visit(&mut place, moving).await {
            Some(Next::Stop) => return,
            Some(Next::Again) => place.renew(),
            None => {}
        }
        let pause = place.pause();
        time::sleep(pause).await;
    }
}

/// Is a member with one session, if it can be opened.
pub async fn visit(place: &mut Place, moving: bool) -> Option<Next> {
    Some(Live::join(place, moving).await?.run(place).await)
}

/// The stream that carries the session, as a task; dropping this ends it.
struct Ear {
    heard: mpsc::Receiver<Result<ServerMessage, Fail>>,
    _task: JoinSet<()>,
}

impl Ear {
    fn open(place: &Place, carrier: Carrier, open: Open, silence: Duration) -> Self {
        let (sender, heard) = mpsc::channel(HEARD);
        let mut task = JoinSet::new();
        task.spawn(listen(place.addr, carrier, open, silence, sender));
        Self { heard, _task: task }
    }

    /// The next message; the stream's end, with or without a reason.
    async fn next(&mut self) -> Result<ServerMessage, Fail> {
        self.heard.recv().await.unwrap_or(Err(Fail::Lost))
    }
}

struct Live {
    book: Book,
    moving: bool,
    token: String,
    heartbeat: Duration,
    ear: Option<Ear>,
    /// Until when it does not listen.
    deaf: Option<Instant>,
    /// Whether the present stream has said that it carries the session.
    hears: bool,
    /// When to open the next stream, and how many did not work.
    reopen: Instant,
    attempts: usize,
    /// Highest entry that was processed, and that the server was told of.
    processed: u64,
    acked: u64,
    /// Not settled, oldest first, with the signal's addressee and number.
    outbox: VecDeque<(ClientMessage, Option<(String, u64)>)>,
    last_seq: u64,
    connection: Option<Connection>,
    /// How many numbered messages are in the call under way.
    sending: Option<(usize, Sending)>,
    send_at: Instant,
    send_failures: usize,
    last_sent: Instant,
    leaving: Option<Instant>,
}

/// Why the session does not go on.
struct Over(String);

impl Live {
    async fn join(place: &Place, moving: bool) -> Option<Self> {
        let carrier = if moving { Carrier::Exchange } else { Carrier::Subscribe };
        let mut ear = Ear::open(place, carrier, Open::Join(place.join()), Duration::from_secs(5));
        let first = timeout(Duration::from_secs(5), ear.next()).await.ok()?.ok()?;
        let seq = first.seq;
        let Some(Body::Welcome(welcome)) = first.body else { return None };
        let Welcome { session_token, limits, .. } = &welcome;
        let heartbeat = limits.and_then(|limits| limits.heartbeat_interval?.try_into().ok());
        let now = Instant::now();
        Some(Self {
            book: Book::open(place, &welcome, true),
            moving,
            token: session_token.clone(),
            heartbeat: heartbeat.unwrap_or(Duration::from_secs(15)),
            ear: Some(ear),
            deaf: None,
            hears: true,
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

    async fn run(mut self, place: &mut Place) -> Next {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        place.set_connected(true);
        let over = loop {
            let heard = async {
                match &mut self.ear {
                    Some(ear) if self.deaf.is_none() => ear.next().await,
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
                heard = heard => self.hear(heard, place),
                sent = sent => self.sent(sent),
                Ok(()) = place.phase.changed() => {
                    if *place.phase.borrow() == Phase::Finish {
                        self.book.finish();
                        return Next::Stop;
                    }
                    Ok(())
                }
                Some(order) = place.orders.recv() => match order {
                    Order::Kill => return Next::Again,
                    Order::Burst(count, to, size) => {
                        if self.book.knows(&to) {
                            self.say(place, count, Some((&to, size)));
                        }
                        Ok(())
                    }
                    Order::Switch => {
                        self.switch(place);
                        Ok(())
                    }
                    Order::Deaf(time) => {
                        self.deaf = Some(Instant::now() + time);
                        self.book.suspended();
                        place.set_connected(false);
                        Ok(())
                    }
                    Order::Leave => {
                        self.book.over("LEFT");
                        self.add(Say::Leave(Leave::default()), None, String::new());
                        self.leaving = Some(Instant::now() + GOODBYE);
                        // Nothing is heard after goodbye.
                        self.ear = None;
                        Ok(())
                    }
                },
                _ = tick.tick() => self.tick(place),
            };
            if let Err(Over(reason)) = step {
                break reason;
            }
        };
        if self.leaving.is_none() {
            self.book.over(&over);
        }
        for (to, number) in self.outbox.drain(..).filter_map(|(_, signal)| signal) {
            self.book.settled(to, number, Outcome::Unknown);
        }
        Next::Again
    }

    fn tick(&mut self, place: &mut Place) -> Result<(), Over> {
        let now = Instant::now();
        if self.deaf.take_if(|until| *until <= now).is_some() {
            self.book.hears();
            // Unless what it hears now says otherwise.
            place.set_connected(self.hears);
        }
        match self.leaving {
            Some(deadline) if now >= deadline => return Err(Over("LEFT".to_owned())),
            Some(_) => {}
            None => {
                if self.ear.is_none() && now >= self.reopen {
                    self.open(place);
                }
                if place.talks() {
                    let share = place.share();
                    self.say(place, share, None);
                }
            }
        }
        self.send(place);
        Ok(())
    }

    fn open(&mut self, place: &mut Place) {
        let native = self.moving && place.rng.random_bool(0.5);
        let carrier = if native { Carrier::Exchange } else { Carrier::Subscribe };
        let open = Open::Resume(Resume { session_token: self.token.clone(), after_seq: self.processed });
        let silence = 2 * self.heartbeat + Duration::from_secs(5);
        self.ear = Some(Ear::open(place, carrier, open, silence));
    }

    fn say(&mut self, place: &mut Place, count: usize, to: Option<(&str, usize)>) {
        // A session that lost its stream may go on talking; what is not settled is bounded.
        for _ in 0..count.min(IN_FLIGHT.saturating_sub(self.outbox.len())) {
            let anybody = if to.is_none() { self.book.anybody(&mut place.rng) } else { None };
            let Some((to, size)) = to.or(anybody.as_deref().map(|to| (to, 0))) else { return };
            let Said { to, number, body } = self.book.say(to, size, &mut place.rng);
            self.add(body, Some((to.clone(), number)), to);
        }
    }

    fn add(&mut self, body: Say, signal: Option<(String, u64)>, to: String) {
        self.last_seq += 1;
        let message = ClientMessage { seq: self.last_seq, to, body: Some(body), ..ClientMessage::default() };
        self.outbox.push_back((message, signal));
    }

    /// Makes the next call, if it is time.
    fn send(&mut self, place: &Place) {
        let now = Instant::now();
        let owes = self.processed >= self.acked + ACK_EVERY || now >= self.last_sent + self.heartbeat.mul_f64(0.7);
        if self.sending.is_some() || now < self.send_at || (self.outbox.is_empty() && !owes) {
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
            messages.push(ClientMessage { body: Some(Say::Heartbeat(Heartbeat {})), ..ClientMessage::default() });
        }
        if let Some(first) = messages.first_mut() {
            first.ack = self.processed;
        }
        self.acked = self.processed;
        self.last_sent = now;
        let batch = SendRequest { session_token: self.token.clone(), messages };
        self.sending = Some((count, Box::pin(send(place.addr, self.connection.take(), batch))));
    }

    /// A call was answered, or not.
    fn sent(&mut self, sent: Result<(Connection, SendResponse), Fail>) -> Result<(), Over> {
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
                return Err(Over("LEFT".to_owned()));
            };
            let reports = response.undelivered.iter().filter(|report| report.client_seq == message.seq);
            self.book.answered(to, number, reports.cloned().collect());
        }
        Ok(())
    }

    fn send_failed(&mut self, fail: Fail) -> Result<(), Over> {
        match fail {
            Fail::Refused(_, reason) if reason != reason::DRAINING => Err(Over(reason)),
            Fail::Lost | Fail::Refused(..) => {
                self.send_at = Instant::now() + wait(self.send_failures);
                self.send_failures += 1;
                Ok(())
            }
        }
    }

    fn hear(&mut self, heard: Result<ServerMessage, Fail>, place: &Place) -> Result<(), Over> {
        let ServerMessage { seq, from, body, .. } = match heard {
            Ok(message) => message,
            Err(fail) => return self.lost(fail, place),
        };
        if seq != 0 && seq <= self.processed && !matches!(body, Some(Body::Resumed(_))) {
            return Ok(()); // A replay of what was processed.
        }
        match body {
            Some(Body::Resumed(resumed)) => {
                self.hears = true;
                self.attempts = 0;
                place.set_connected(true);
                self.book.resumed(&resumed.members);
                return Ok(());
            }
            Some(Body::MemberJoined(joined)) => joined.member.into_iter().for_each(|member| self.book.joined(member)),
            Some(Body::MemberLeft(left)) => self.book.left(left.member_id.clone(), left.reason()),
            Some(Body::Offer(sdp)) => self.book.received(from, &Say::Offer(sdp)),
            Some(Body::Answer(sdp)) => self.book.received(from, &Say::Answer(sdp)),
            Some(Body::Candidate(candidate)) => self.book.received(from, &Say::Candidate(candidate)),
            Some(Body::Data(data)) => self.book.received(from, &Say::Data(data)),
            Some(Body::GoAway(go_away)) => {
                let after = go_away.retry_after.and_then(|after| after.try_into().ok()).unwrap_or_default();
                match go_away.action() {
                    Action::Rejoin => return Err(Over(go_away.reason)),
                    Action::Resume => self.reopen = Instant::now() + after,
                    // The status that follows says why.
                    Action::Stop | Action::Unspecified => {}
                }
            }
            _ => {}
        }
        self.processed = self.processed.max(seq);
        Ok(())
    }

    /// The network is another: what was said and not answered goes again, on new connections.
    fn switch(&mut self, place: &Place) {
        let now = Instant::now();
        (self.sending, self.connection, self.send_at) = (None, None, now);
        (self.ear, self.reopen, self.attempts) = (None, now, 0);
        self.deafened(place);
    }

    /// The stream ended.
    fn lost(&mut self, fail: Fail, place: &Place) -> Result<(), Over> {
        self.ear = None;
        if let Fail::Refused(_, reason) = fail
            // Only this client has the token, so that whatever fenced its stream was an attempt of its own, come late.
            && ![reason::DRAINING, reason::HEARTBEAT_TIMEOUT, reason::SEQ_GAP, reason::FENCED].contains(&&*reason)
        {
            return Err(Over(reason));
        }
        self.deafened(place);
        self.reopen = self.reopen.max(Instant::now() + wait(self.attempts));
        self.attempts += 1;
        Ok(())
    }

    /// No stream carries the session any more.
    fn deafened(&mut self, place: &Place) {
        if self.hears {
            self.hears = false;
            place.set_connected(false);
            self.book.suspended();
        }
    }
}

fn wait(attempts: usize) -> Duration {
    Duration::from_millis(WAITS[attempts.min(WAITS.len() - 1)])
}
