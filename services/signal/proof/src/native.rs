//! A member on the native client library, which resumes and resends by itself.

use std::{collections::VecDeque, future::Future, pin::Pin};

use futures_util::{StreamExt, stream::FuturesOrdered};
use signalbox_client::{Client, Error, Event, Outcome, Session, Signal};
use signalbox_proto::v1::client_message::Body;
use tokio::time::{self, MissedTickBehavior, timeout};

use crate::{
    history,
    member::{Book, IN_FLIGHT, Next, Order, Phase, Place, Said, TICK},
};

/// How long saying goodbye may take before the member just goes.
const GOODBYE: time::Duration = time::Duration::from_secs(3);

type Receipts = FuturesOrdered<Pin<Box<dyn Future<Output = Outcome> + Send>>>;

/// Is a member for as long as the run goes on, with one session after the other.
pub async fn live(mut place: Place) -> Result<(), Error> {
    let client = Client::new(&format!("http://{}", place.addr))?;
    loop {
        place.set_connected(false);
        match client.join(place.join()).await {
            Ok(session) => {
                let book = Book::open(&place, &session.welcome());
                let live =
                    Live { session, book, receipts: Receipts::new(), open: VecDeque::new(), settled: VecDeque::new() };
                if let Next::Stop = live.run(&mut place).await {
                    return Ok(());
                }
            }
            Err(error) if *place.phase.borrow() == Phase::Finish => return Err(error),
            // Refused, reset, or the server is away: again.
            Err(_) => {}
        }
        let pause = place.pause();
        time::sleep(pause).await;
    }
}

struct Live {
    session: Session,
    book: Book,
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
                event = self.session.next() => if !self.take(event, place) { return Next::Again },
                () = std::future::ready(()), if !self.settled.is_empty() => {
                    let open = self.open.drain(..self.settled.len());
                    for (outcome, (to, number)) in self.settled.drain(..).zip(open) {
                        self.book.settled(to, number, translate(outcome));
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
                    Order::Burst(count, to) => {
                        if self.book.knows(&to) {
                            self.say(place, count, Some(&to)).await;
                        }
                    }
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
    async fn say(&mut self, place: &mut Place, count: usize, to: Option<&str>) {
        for _ in 0..count.min(IN_FLIGHT.saturating_sub(self.open.len())) {
            let anybody = if to.is_none() { self.book.anybody(&mut place.rng) } else { None };
            let Some(to) = to.or(anybody.as_deref()) else { return };
            let Said { to, number, body } = self.book.say(to, &mut place.rng);
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
            Some(Event::Gone(welcome)) => {
                self.end("SESSION_GONE");
                self.book = Book::open(place, &welcome);
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
        let Self { session, book, receipts, open, settled } = self;
        book.over("LEFT");
        let goodbye = async {
            session.leave().await;
            // All of them are settled by then, or never will be.
            let mut outcomes = futures_util::stream::iter(settled).chain(receipts);
            for (to, number) in open {
                let outcome = outcomes.next().await.unwrap_or(Outcome::Unknown);
                book.settled(to, number, translate(outcome));
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

fn translate(outcome: Outcome) -> history::Outcome {
    match outcome {
        Outcome::Accepted => history::Outcome::Accepted,
        Outcome::Undelivered(reports) => {
            history::Outcome::Undelivered(reports.into_iter().map(|report| report.reason).next().unwrap_or_default())
        }
        Outcome::Unknown => history::Outcome::Unknown,
    }
}
