//! A member that talks to everybody, and notes all that it knows.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use signalbox_client::{
    Event, Outcome, Session, Signal,
    v1::{Data, Join, LeaveReason, client_message::Body},
};
use signalbox_proof::history::{self, What};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::{MEMBERS, QUIET, TROUBLE, World, network};

/// What a member knows of its present session.
struct Talker {
    world: World,
    id: String,
    roster: Vec<String>,
    numbers: BTreeMap<String, u64>,
    suspended: bool,
}

pub(crate) async fn run(world: World, index: usize, seed: u64) -> turmoil::Result {
    let mut rng = StdRng::seed_from_u64(seed);
    let jitter = Mutex::new(StdRng::seed_from_u64(seed + 1));
    let client = network::client(move || jitter.lock().unwrap().random());
    let end = Instant::now() + TROUBLE + QUIET;
    sleep(Duration::from_millis(rng.random_range(0..1500))).await;
    let join = || Join { room: "sim".to_owned(), identity: format!("user-{index}"), ..Join::default() };
    let mut session = loop {
        match client.join(join()).await {
            Ok(session) => break session,
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    };
    let welcome = session.welcome();
    let roster = welcome.members.iter().map(|m| m.member_id.clone()).collect();
    let mut talker =
        Talker { world, id: String::new(), roster: Vec::new(), numbers: BTreeMap::new(), suspended: false };
    talker.opened(session.member_id(), roster);

    let mut next = Instant::now();
    loop {
        let talking = Instant::now() < end - QUIET;
        let pause = async { if talking { sleep_until(next).await } else { std::future::pending().await } };
        tokio::select! {
            biased;
            event = timeout_at(end, session.next()) => match event {
                Ok(Some(event)) => talker.hear(event),
                Ok(None) => return Err(format!("member {index} was ended").into()),
                Err(_) => break,
            },
            () = pause => {
                next = Instant::now() + Duration::from_millis(rng.random_range(20..600));
                for _ in 0..rng.random_range(1..6) {
                    talker.say(&session, &mut rng).await;
                }
            }
        }
    }
    let Talker { world, id, mut roster, .. } = talker;
    roster.sort();
    world.note(What::Final { session: id, roster });
    // Nobody leaves before everybody has noted what they see.
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

impl Talker {
    fn opened(&mut self, id: String, roster: Vec<String>) {
        self.id = id.clone();
        self.roster.clone_from(&roster);
        self.numbers.clear();
        self.world.note(What::Opened { session: id, room: "sim".to_owned(), roster, page: false });
    }

    async fn say(&mut self, session: &Session, rng: &mut StdRng) {
        if self.roster.is_empty() || self.roster.len() >= 2 * MEMBERS {
            return;
        }
        let to = self.roster[rng.random_range(0..self.roster.len())].clone();
        let number = self.numbers.entry(to.clone()).or_default();
        *number += 1;
        let number = *number;
        let text = format!("{}|{number}|{}", self.id, "x".repeat(rng.random_range(0..2000)));
        let id = self.id.clone();
        self.world.note(What::Sent { session: id.clone(), to: to.clone(), number, hash: hash(&text) });
        let receipt = session.send(Signal::data(to.clone(), Data { text, ..Data::default() })).await;
        let world = self.world.clone();
        tokio::spawn(async move {
            let outcome = match receipt.outcome().await {
                Outcome::Accepted => history::Outcome::Accepted,
                Outcome::Undelivered(reports) => history::Outcome::Undelivered(reports[0].reason.clone()),
                Outcome::Unknown => history::Outcome::Unknown,
            };
            world.note(What::Settled { session: id, to, number, outcome });
        });
    }

    fn hear(&mut self, event: Event) {
        let session = self.id.clone();
        match event {
            Event::MemberJoined(member) => {
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
            Event::Suspended => {
                self.suspended = true;
                self.world.note(What::Suspended { session });
            }
            Event::Resumed(members) => {
                self.suspended = false;
                self.world.note(What::Resumed { session: session.clone() });
                let roster = members.into_iter().map(|m| m.member_id).collect();
                self.world.note(What::SawRoster { session, roster });
            }
            Event::Gone(welcome) => {
                self.suspended = false;
                self.world.note(What::Over { session, reason: "SESSION_GONE".to_owned() });
                let roster = welcome.members.into_iter().map(|m| m.member_id).collect();
                self.opened(welcome.you.unwrap().member_id, roster);
            }
            Event::MemberUpdated(_) | Event::IceServers(_) => {}
            Event::Ended(error) => panic!("a session ended: {error}"),
        }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
