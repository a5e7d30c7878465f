//! A member that sends signals to all others, and notes all that happens.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use signalbox_client::{
    Client, Event, Outcome, Session, Signal,
    v1::{Data, Join, LeaveReason, Welcome, client_message::Body},
};
use signalbox_proof::history;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{MEMBERS, QUIET, ROOM, TROUBLE, World, network};

/// The state of the current session of a member.
struct SessionState {
    world: World,
    id: String,
    roster: Vec<String>,
    sent: u64,
}

pub(crate) async fn run(world: World, index: usize, seed: u64) -> turmoil::Result {
    let mut rng = StdRng::seed_from_u64(seed);
    let jitter = Mutex::new(StdRng::seed_from_u64(seed + 1));
    let client = network::client(move || jitter.lock().unwrap().random());
    let end = Instant::now() + TROUBLE + QUIET;
    let mut live: Option<(Session, SessionState)> = None;
    let mut joining = JoinSet::new();
    joining.spawn(join(client.clone(), index, Duration::from_millis(rng.random_range(0..1500))));

    let mut next = Instant::now();
    loop {
        let is_sending = Instant::now() < end - QUIET;
        let event = async {
            match &mut live {
                Some((session, _)) => timeout_at(end, session.next()).await.ok(),
                None => {
                    sleep_until(end).await;
                    None
                }
            }
        };
        let pause = async { if is_sending { sleep_until(next).await } else { std::future::pending().await } };
        tokio::select! {
            biased;
            event = event => match (event, &mut live) {
                (Some(Some(event)), Some((_, state))) => {
                    if !state.handle(event) {
                        live = None;
                        // Unless its own replacement is still joining.
                        if joining.is_empty() {
                            let after = Duration::from_millis(rng.random_range(50..2000));
                            joining.spawn(join(client.clone(), index, after));
                        }
                    }
                }
                (Some(_), _) => return Err(format!("the events of member {index} ended").into()),
                (None, _) => break,
            },
            Some(joined) = joining.join_next() => {
                let (session, welcome): (Session, Arc<Welcome>) = joined?;
                let state = SessionState::opened(world.clone(), &welcome);
                // It replaces the session before it.
                if let Some((session, state)) = live.replace((session, state)) {
                    tokio::spawn(state.read_to_end(session, end));
                }
            }
            () = pause => {
                next = Instant::now() + Duration::from_millis(rng.random_range(20..600));
                if let Some((session, state)) = &mut live {
                    for _ in 0..rng.random_range(1..6) {
                        state.send_signal(session, &mut rng).await;
                    }
                    // The same user joins again, as in another tab.
                    if joining.is_empty() && rng.random_ratio(1, 50) {
                        joining.spawn(join(client.clone(), index, Duration::ZERO));
                    }
                }
            }
        }
    }
    let Some((_session, state)) = live else { return Err(format!("member {index} is not back").into()) };
    state.finish();
    // No member leaves before all have noted their roster.
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Joins after some time, with retries. Returns the welcome, too, since the client may rejoin before the session is read.
async fn join(client: Client, index: usize, after: Duration) -> (Session, Arc<Welcome>) {
    sleep(after).await;
    loop {
        let join = Join { room: ROOM.to_owned(), identity: format!("user-{index}"), ..Join::default() };
        match client.join(join).await {
            Ok(session) => {
                let welcome = session.welcome();
                return (session, welcome);
            }
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

impl SessionState {
    fn opened(world: World, welcome: &Welcome) -> Self {
        let roster: Vec<String> = welcome.members.iter().map(|m| m.member_id.clone()).collect();
        let id = welcome.you.as_ref().unwrap().member_id.clone();
        let (session, room) = (id.clone(), ROOM.to_owned());
        world.note(history::Event::Opened { session, room, roster: roster.clone(), page: false });
        Self { world, id, roster, sent: 0 }
    }

    fn over(&self, reason: &str) {
        self.world.note(history::Event::Over { session: self.id.clone(), reason: reason.to_owned() });
    }

    fn finish(mut self) {
        self.roster.sort();
        self.world.note(history::Event::Final { session: self.id, roster: self.roster });
    }

    /// Reads a replaced session to its end.
    async fn read_to_end(mut self, mut session: Session, end: Instant) {
        while let Ok(Some(event)) = timeout_at(end, session.next()).await {
            let is_rejoined = matches!(event, Event::Rejoined(_));
            if !self.handle(event) {
                return;
            }
            if is_rejoined {
                // The client rejoined as the same user, who has a newer session.
                self.over("LEFT");
                return session.leave().await;
            }
        }
    }

    async fn send_signal(&mut self, session: &Session, rng: &mut StdRng) {
        if self.roster.is_empty() || self.roster.len() >= 2 * MEMBERS {
            return;
        }
        let member = self.roster[rng.random_range(0..self.roster.len())].clone();
        let to = if rng.random_ratio(1, 10) { String::new() } else { member };
        self.sent += 1;
        let number = self.sent;
        let text = format!("{}|{number}|{}", self.id, "x".repeat(rng.random_range(0..2000)));
        let id = self.id.clone();
        self.world.note(history::Event::Sent { session: id.clone(), to: to.clone(), number, hash: hash(&text) });
        let receipt = session.send(Signal::data(to.clone(), Data { text, ..Data::default() })).await;
        let world = self.world.clone();
        tokio::spawn(async move {
            let settled =
                |to, outcome| world.note(history::Event::Settled { session: id.clone(), to, number, outcome });
            match receipt.outcome().await {
                Outcome::Accepted => settled(to, history::Outcome::Accepted),
                Outcome::Undelivered(reports) => {
                    let accepted = reports.iter().all(|report| report.to != to);
                    for report in reports {
                        settled(report.to, history::Outcome::Undelivered(report.reason));
                    }
                    if accepted {
                        settled(to, history::Outcome::Accepted);
                    }
                }
                Outcome::Unknown => settled(to, history::Outcome::Unknown),
            }
        });
    }

    /// Notes an event; false: the session has ended.
    fn handle(&mut self, event: Event) -> bool {
        let session = self.id.clone();
        match event {
            Event::MemberJoined(member) => {
                // After a resume the roster is ahead of the replay.
                self.roster.retain(|id| *id != member.member_id);
                self.roster.push(member.member_id.clone());
                self.world.note(history::Event::SawJoin { session, member: member.member_id });
            }
            Event::MemberLeft(left) => {
                self.roster.retain(|id| *id != left.member_id);
                let reason = LeaveReason::try_from(left.reason).unwrap().as_str_name().replace("LEAVE_REASON_", "");
                self.world.note(history::Event::SawLeave { session, member: left.member_id, reason });
            }
            Event::Signal(signal) => {
                let Body::Data(data) = signal.body else { panic!("only data is sent") };
                let mut parts = data.text.split('|');
                let (claimed, number) = (parts.next().unwrap().to_owned(), parts.next().unwrap().parse().unwrap());
                self.world.note(history::Event::Delivered {
                    session,
                    from: signal.from,
                    claimed,
                    number,
                    hash: hash(&data.text),
                });
            }
            Event::Suspended => self.world.note(history::Event::Suspended { session }),
            Event::Resumed(members) => {
                self.world.note(history::Event::Resumed { session: session.clone() });
                self.roster = members.into_iter().map(|m| m.member_id).collect();
                self.world.note(history::Event::SawRoster { session, roster: self.roster.clone() });
            }
            Event::Rejoined(welcome) => {
                self.over("SESSION_GONE");
                *self = Self::opened(self.world.clone(), &welcome);
            }
            Event::MemberUpdated(_) | Event::IceServers(_) => {}
            Event::Ended(error) => {
                assert!(["REMOVED", "REPLACED", "ROOM_CLOSED"].contains(&error.reason()), "a session ended: {error}");
                self.over(error.reason());
                return false;
            }
        }
        true
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
