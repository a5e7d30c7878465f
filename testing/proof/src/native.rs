//! A member on the native client library, which resumes and resends by itself.

use std::{collections::VecDeque, future::Future, net::SocketAddr, pin::Pin, time::Duration};

use futures_util::{StreamExt, stream::FuturesOrdered};
use signalbox_client::{Client, Error, Event, Outcome, Session, Signal};
use signalbox_proto::v1::client_message::Body;
use tokio::time::{self, Instant, MissedTickBehavior, sleep_until, timeout};
use tonic::transport::Endpoint;

use crate::{
    history,
    member::{Book, IN_FLIGHT, Next, Order, Phase, Place, Said, TICK},
};

/// How long saying goodbye may take before the member just goes.
const GOODBYE: Duration = Duration::from_secs(3);
/// What the server may send before it is read: with more, one who does not read would be found out late.
const WINDOW: u32 = 64 * 1024;

type Receipts = FuturesOrdered<Pin<Box<dyn Future<Output = Outcome> + Send>>>;

/// Is a member for as long as the run goes on, with one session after the other.
pub async fn live(mut place: Place) {
    loop {
        place.set_connected(false);
        match visit(&mut place).await {
            Ok(Next::Stop) => return,
            Ok(Next::Again) => place.renew(),
            Err(_) if *place.phase.borrow() == Phase::Finish => return,
            // Refused, reset, or the server is away: again.
            Err(_) => {}
        }
        let pause = place.pause();
        time::sleep(pause).await;
    }
}

/// Is a member until a session ends that the library does not continue.
pub async fn visit(place: &mut Place) -> Result<Next, Error> {
    let session = client(place.addr)?.join(place.join()).await?;
    let book = Book::open(place, &session.welcome(), false);
    let (receipts, open, settled) = (Receipts::new(), VecDeque::new(), VecDeque::new());
    let live = Live { session, book, deaf: None, receipts, open, settled };
    Ok(live.run(place).await)
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

struct Live {
    session: Session,
    book: Book,
    /// Until when it does not listen.
    deaf: Option<Instant>,
    receipts: Receipts,
    /// What the receipts are of, in their order: oldest first.
    open: VecDeque<(String, u64)>,
    /// Outcomes of the first of these, not noted yet.
    settled: VecDeque<Outcome>,
}

impl Live {
    async fn run(mut self, place: &mut Place) -> Next {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        place.set_connected(true);
        loop {
            tokio::select! {
                // Events first: an outcome of a new session comes after the news of that session.
                biased;
                event = self.session.next(), if self.deaf.is_none() => {
                    if !self.take(event, place) {
                        return Next::Again;
                    }
                }
                () = sleep_until(self.deaf.unwrap_or_else(Instant::now)), if self.deaf.is_some() => {
                    self.deaf = None;
                    self.book.hears();
                    // Unless what it hears now says otherwise.
                    place.set_connected(true);
                }
                () = std::future::ready(()), if !self.settled.is_empty() => {
                    let open = self.open.drain(..self.settled.len());
                    for (outcome, (to, number)) in self.settled.drain(..).zip(open) {
                        note(&self.book, outcome, to, number);
                    }
                }
                Some(settled) = self.receipts.next() => self.settled.push_back(settled),
                Ok(()) = place.phase.changed() => {
                    if *place.phase.borrow() == Phase::Finish {
                        self.book.finish();
                        return Next::Stop;
                    }
                }
                Some(order) = place.orders.recv() => match order {
                    Order::Burst(count, to, size) => {
                        if self.book.knows(&to) {
                            self.say(place, count, Some((&to, size))).await;
                        }
                    }
                    Order::Deaf(time) => {
                        self.deaf = Some(Instant::now() + time);
                        self.book.suspended();
                        place.set_connected(false);
                    }
                    Order::Switch => {}
                    Order::Kill => return Next::Again,
                    Order::Leave => {
                        self.leave().await;
                        return Next::Again;
                    }
                },
                _ = tick.tick(), if place.talks() => {
                    let share = place.share();
                    self.say(place, share, None).await;
                }
            }
        }
    }

    /// Says something; fewer than `count` things when too many are on their way. So the library, which takes as many,
    /// never makes this wait, while it waits for this to read events.
    async fn say(&mut self, place: &mut Place, count: usize, to: Option<(&str, usize)>) {
        for _ in 0..count.min(IN_FLIGHT.saturating_sub(self.open.len())) {
            let anybody = if to.is_none() { self.book.anybody(&mut place.rng) } else { None };
            let Some((to, size)) = to.or(anybody.as_deref().map(|to| (to, 0))) else { return };
            let Said { to, number, body } = self.book.say(to, size, &mut place.rng);
            let receipt = self.session.send(signal(&to, body)).await;
            self.receipts.push_back(Box::pin(receipt.outcome()));
            self.open.push_back((to, number));
        }
    }

    /// Takes an event. False: the session is over.
    fn take(&mut self, event: Option<Event>, place: &Place) -> bool {
        match event {
            Some(Event::MemberJoined(member)) => self.book.joined(member),
            Some(Event::MemberLeft(left)) => self.book.left(left.member_id.clone(), left.reason()),
            Some(Event::Signal(signal)) => self.book.received(signal.from, &signal.body),
            Some(Event::Suspended) => {
                place.set_connected(false);
                self.book.suspended();
            }
            Some(Event::Resumed(members)) => {
                place.set_connected(true);
                self.book.resumed(&members);
            }
            Some(Event::Rejoined(welcome)) => {
                self.end("SESSION_GONE");
                self.book = Book::open(place, &welcome, false);
                place.set_connected(true);
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

    /// The session is over. Whatever the library says of signals after this, it was not this session's doing: it sends
    /// in the next what it was told too late for the last.
    fn end(&mut self, reason: &str) {
        self.book.over(reason);
        self.settled.clear();
        self.receipts = Receipts::new();
        for (to, number) in self.open.drain(..) {
            self.book.settled(to, number, history::Outcome::Unknown);
        }
    }

    async fn leave(self) {
        let Self { session, book, receipts, open, settled, .. } = self;
        book.over("LEFT");
        let goodbye = async {
            session.leave().await;
            // All of them are settled by then, or never will be.
            let mut outcomes = futures_util::stream::iter(settled).chain(receipts);
            for (to, number) in open {
                let outcome = outcomes.next().await.unwrap_or(Outcome::Unknown);
                note(&book, outcome, to, number);
            }
        };
        // Without an answer in time the connection is dropped, and the server finds out.
        drop(timeout(GOODBYE, goodbye).await);
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

/// Notes what became of a signal.
fn note(book: &Book, outcome: Outcome, to: String, number: u64) {
    match outcome {
        Outcome::Accepted => book.answered(to, number, Vec::new()),
        Outcome::Undelivered(reports) => book.answered(to, number, reports),
        Outcome::Unknown => book.settled(to, number, history::Outcome::Unknown),
    }
}
