//! A member that talks to everybody, and notes all that it knows.

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
use signalbox_proof::history::{self, What};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use crate::{MEMBERS, QUIET, ROOM, TROUBLE, World, network};

/// What a member knows of its present session.
struct Talker {
    world: World,
    id: String,
    roster: Vec<String>,
    said: u64,
}

pub(crate) async fn run(world: World, index: usize, seed: u64) -> turmoil::Result {
    let mut rng = StdRng::seed_from_u64(seed);
    let jitter = Mutex::new(StdRng::seed_from_u64(seed + 1));
    let client = network::client(move || jitter.lock().unwrap().random());
    let end = Instant::now() + TROUBLE + QUIET;
    let mut live: Option<(Session, Talker)> = None;
    let mut joining = JoinSet::new();
    joining.spawn(join(client.clone(), index, Duration::from_millis(rng.random_range(0..1500))));

    let mut next = Instant::now();
    loop {
        let talking = Instant::now() < end - QUIET;
        let event = async {
            match &mut live {
                Some((session, _)) => timeout_at(end, session.next()).await.ok(),
                None => {
                    sleep_until(end).await;
                    None
                }
            }
        };
        let pause = async { if talking { sleep_until(next).await } else { std::future::pending().await } };
        tokio::select! {
            biased;
            event = event => match (event, &mut live) {
                (Some(Some(event)), Some((_, talker))) => {
                    if !talker.hear(event) {
                        live = None;
                        // Unless what replaced it is its own, and only not here yet.
                        if joining.is_empty() {
                            let after = Duration::from_millis(rng.random_range(50..2000));
                            joining.spawn(join(client.clone(), index, after));
                        }
                    }
                }
                (Some(_), _) => return Err(format!("member {index} was ended without a word").into()),
                (None, _) => break,
            },
            Some(joined) = joining.join_next() => {
                let (session, welcome): (Session, Arc<Welcome>) = joined?;
                let talker = Talker::opened(world.clone(), &welcome);
                // One that is there already has been replaced.
                if let Some((session, talker)) = live.replace((session, talker)) {
                    tokio::spawn(talker.outlive(session, end));
                }
            }
            () = pause => {
                next = Instant::now() + Duration::from_millis(rng.random_range(20..600));
                if let Some((session, talker)) = &mut live {
                    for _ in 0..rng.random_range(1..6) {
                        talker.say(session, &mut rng).await;
                    }
                    // The same user once more, as from another tab.
                    if joining.is_empty() && rng.random_ratio(1, 50) {
                        joining.spawn(join(client.clone(), index, Duration::ZERO));
                    }
                }
            }
        }
    }
    let Some((_session, talker)) = live else { return Err(format!("member {index} is not back").into()) };
    talker.finish();
    // Nobody leaves before everybody has noted what they see.
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Joins, after some time, and for as long as it takes; with the welcome, since the library may have joined once more
/// by the time that this session is looked at.
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

impl Talker {
    fn opened(world: World, welcome: &Welcome) -> Self {
        let roster: Vec<String> = welcome.members.iter().map(|m| m.member_id.clone()).collect();
        let id = welcome.you.as_ref().unwrap().member_id.clone();
        let (session, room) = (id.clone(), ROOM.to_owned());
        world.note(What::Opened { session, room, roster: roster.clone(), page: false });
        Self { world, id, roster, said: 0 }
    }

    fn over(&self, reason: &str) {
        self.world.note(What::Over { session: self.id.clone(), reason: reason.to_owned() });
    }

    fn finish(mut self) {
        self.roster.sort();
        self.world.note(What::Final { session: self.id, roster: self.roster });
    }

    /// Hears what a session that was replaced is told, until its end.
    async fn outlive(mut self, mut session: Session, end: Instant) {
        while let Ok(Some(event)) = timeout_at(end, session.next()).await {
            let anew = matches!(event, Event::Rejoined(_));
            if !self.hear(event) {
                return;
            }
            if anew {
                // The library joined again as the same user: that is one too many.
                self.over("LEFT");
                return session.leave().await;
            }
        }
    }

    async fn say(&mut self, session: &Session, rng: &mut StdRng) {
        if self.roster.is_empty() || self.roster.len() >= 2 * MEMBERS {
            return;
        }
        let someone = self.roster[rng.random_range(0..self.roster.len())].clone();
        let to = if rng.random_ratio(1, 10) { String::new() } else { someone };
        self.said += 1;
        let number = self.said;
        let text = format!("{}|{number}|{}", self.id, "x".repeat(rng.random_range(0..2000)));
        let id = self.id.clone();
        self.world.note(What::Sent { session: id.clone(), to: to.clone(), number, hash: hash(&text) });
        let receipt = session.send(Signal::data(to.clone(), Data { text, ..Data::default() })).await;
        let world = self.world.clone();
        tokio::spawn(async move {
            let settled = |to, outcome| world.note(What::Settled { session: id.clone(), to, number, outcome });
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

    /// Notes what happened; false: the session is over.
    fn hear(&mut self, event: Event) -> bool {
        let session = self.id.clone();
        match event {
            Event::MemberJoined(member) => {
                // After a resume the roster is ahead of what is replayed.
                self.roster.retain(|id| *id != member.member_id);
                self.roster.push(member.member_id.clone());
                self.world.note(What::SawJoin { session, member: member.member_id });
            }
            Event::MemberLeft(left) => {
                self.roster.retain(|id| *id != left.member_id);
                let reason = LeaveReason::try_from(left.reason).unwrap().as_str_name().replace("LEAVE_REASON_", "");
                self.world.note(What::SawLeave { session, member: left.member_id, reason });
            }
            Event::Signal(signal) => {
                let Body::Data(data) = signal.body else { panic!("only data is sent") };
                let mut parts = data.text.split('|');
                let (claimed, number) = (parts.next().unwrap().to_owned(), parts.next().unwrap().parse().unwrap());
                self.world.note(What::Delivered {
                    session,
                    from: signal.from,
                    claimed,
                    number,
                    hash: hash(&data.text),
                });
            }
            Event::Suspended => self.world.note(What::Suspended { session }),
            Event::Resumed(members) => {
                self.world.note(What::Resumed { session: session.clone() });
                self.roster = members.into_iter().map(|m| m.member_id).collect();
                self.world.note(What::SawRoster { session, roster: self.roster.clone() });
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
