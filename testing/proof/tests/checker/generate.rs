//! Correct histories, by a small model of server, clients and faults.

mod ends;

use std::collections::{BTreeSet, VecDeque};

use signalbox_proof::history::{Event, Note, Outcome};

use super::rng::Rng;

/// The resume window of all histories.
pub(crate) const WINDOW: u64 = 5_000_000;

const SECOND: u64 = 1_000_000;

enum Message {
    Signal { from: usize, number: u64, hash: u64 },
    Join(usize),
    Leave(usize, &'static str),
}

struct Settlement {
    to: String,
    number: u64,
    outcome: Outcome,
    /// The signal was to all.
    to_all: bool,
}

/// A session, in the server and in its client.
struct Member {
    name: String,
    room: usize,
    /// The session exists in the server.
    live: bool,
    /// The client has not learned its end.
    believes: bool,
    connected: bool,
    suspended: u64,
    /// Unread messages, with their times.
    mailbox: VecDeque<(u64, Message)>,
    sent_count: u64,
    /// Sent without a stream, so the server does not have it. An empty addressee is all.
    unsent: VecDeque<(String, u64, u64)>,
    outcomes: VecDeque<Settlement>,
    roster: BTreeSet<usize>,
}

struct World {
    rng: Rng,
    now: u64,
    members: Vec<Member>,
    rooms: usize,
    notes: Vec<Note>,
    sent: u64,
    faults: u64,
}

/// A correct history.
pub(crate) fn history(seed: u64) -> Vec<Note> {
    let mut rng = Rng(seed);
    let rooms = 2 + rng.below(2);
    let steps = 300 + rng.below(500);
    let mut world = World { rng, now: 0, members: Vec::new(), rooms, notes: Vec::new(), sent: 0, faults: 0 };
    for _ in 0..2 * rooms + 2 {
        world.join();
    }
    for _ in 0..steps {
        world.step();
    }
    world.quiet();
    let run = Event::Run {
        seed,
        versions: "server 0.1.0, client 0.1.0".to_owned(),
        planned_signals: world.sent.max(1),
        planned_faults: world.faults,
        resume_window: WINDOW,
    };
    world.notes.insert(0, Note { at: 0, what: run });
    world.notes
}

impl World {
    fn note(&mut self, what: Event) {
        self.now += 1 + self.rng.next() % 300;
        self.notes.push(Note { at: self.now, what });
    }

    fn name(&self, id: usize) -> String {
        self.members[id].name.clone()
    }

    fn pick(&mut self, fit: impl Fn(&Member) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.members.len()).filter(|&id| fit(&self.members[id])).collect();
        (!fitting.is_empty()).then(|| fitting[self.rng.below(fitting.len())])
    }

    fn append(&mut self, room: usize, except: usize, entry: impl Fn() -> Message) {
        for id in 0..self.members.len() {
            if id != except && self.members[id].live && self.members[id].room == room {
                self.members[id].mailbox.push_back((self.now, entry()));
            }
        }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..55 => self.send(),
            55..58 => self.join(),
            58..60 => self.leave(),
            60..65 => self.suspend(),
            65 => self.vanish(),
            66..72 => {
                if let Some(id) = self.pick(|m| m.believes && !m.connected) {
                    self.resume(id);
                }
            }
            72 => self.server_lost(),
            73 => {
                let value = self.rng.next() % 1_024;
                self.note(Event::Gauge { name: "mailbox_entries".to_owned(), value, limit: 1_024 });
                self.note(Event::Gauge { name: "rss_bytes".to_owned(), value: value << 20, limit: 0 });
            }
            74..77 => {
                (0..self.members.len()).for_each(|id| self.read(id, true));
                self.now += self.rng.next() % (2 * SECOND);
            }
            78 => self.remove(),
            79 => self.replace(),
            80 => self.close(),
            77 => {
                let effect = u64::from(self.rng.percent(90));
                self.faults += effect;
                self.note(Event::Fault { kind: "corrupt".to_owned(), effect });
            }
            _ => self.now += self.rng.next() % 20_000,
        }
        self.time_out();
        for id in 0..self.members.len() {
            // Connected clients read within a second.
            let late = self.members[id].mailbox.front().is_some_and(|(since, _)| since + SECOND < self.now);
            if late || self.rng.percent(30) {
                self.read(id, late);
            }
        }
    }

    fn join(&mut self) {
        if self.members.iter().filter(|m| m.live).count() > 5 * self.rooms {
            return;
        }
        let room = self.rng.below(self.rooms);
        self.join_room(room);
    }

    fn join_room(&mut self, room: usize) {
        let id = self.members.len();
        let roster = (0..id).filter(|&m| self.members[m].live && self.members[m].room == room).collect::<BTreeSet<_>>();
        self.append(room, id, || Message::Join(id));
        self.members.push(Member {
            name: format!("m{id:04}"),
            room,
            live: true,
            believes: true,
            connected: true,
            suspended: 0,
            mailbox: VecDeque::new(),
            sent_count: 0,
            unsent: VecDeque::new(),
            outcomes: VecDeque::new(),
            roster: roster.clone(),
        });
        // Others may learn it before its own client.
        self.overtake(id);
        let roster = roster.iter().map(|&m| self.name(m)).collect();
        let page = self.rng.percent(40);
        self.note(Event::Opened { session: self.name(id), room: format!("room{room}"), roster, page });
    }

    fn overtake(&mut self, id: usize) {
        let (room, name) = (self.members[id].room, self.name(id));
        if self.rng.percent(30)
            && let Some(other) = self.pick(|m| m.room == room && m.name != name)
        {
            self.read(other, true);
        }
    }

    fn send(&mut self) {
        let Some(id) = self.pick(|m| m.believes) else { return };
        let room = self.members[id].room;
        let roster: Vec<usize> = self.members[id].roster.iter().copied().collect();
        let to = match self.rng.below(100) {
            0..4 => self.pick(|m| m.room != room).map(|to| self.name(to)),
            _ if roster.is_empty() => None,
            4..10 => Some(String::new()),
            _ => {
                let to = roster[self.rng.below(roster.len())];
                Some(self.name(to))
            }
        };
        let Some(to) = to else { return };
        for _ in 0..1 + self.rng.below(4) {
            self.members[id].sent_count += 1;
            let (number, hash) = (self.members[id].sent_count, self.rng.next());
            self.sent += if to.is_empty() { roster.len() as u64 } else { 1 };
            self.note(Event::Sent { session: self.name(id), to: to.clone(), number, hash });
            self.members[id].unsent.push_back((to.clone(), number, hash));
        }
        if self.members[id].connected {
            self.handle(id);
        }
    }

    /// The server handles what a client has sent.
    fn handle(&mut self, id: usize) {
        while let Some((to, number, hash)) = self.members[id].unsent.pop_front() {
            let room = self.members[id].room;
            let to_all = to.is_empty();
            let fits = |m: &usize| {
                let member = &self.members[*m];
                *m != id && member.live && member.room == room && (to_all || member.name == to)
            };
            let targets: Vec<usize> = (0..self.members.len()).filter(fits).collect();
            let is_unknown = targets.is_empty() && !to_all;
            let mut outcomes = Vec::new();
            let undelivered =
                |to, reason: &str| Settlement { to, number, outcome: Outcome::Undelivered(reason.to_owned()), to_all };
            for target in targets {
                if self.rng.percent(5) {
                    outcomes.push(undelivered(self.name(target), "MAILBOX_FULL"));
                } else {
                    let entry = Message::Signal { from: id, number, hash };
                    self.members[target].mailbox.push_back((self.now, entry));
                }
            }
            if is_unknown {
                outcomes.push(undelivered(to, "NO_SUCH_MEMBER"));
            } else if to_all || outcomes.is_empty() {
                outcomes.push(Settlement { to, number, outcome: Outcome::Accepted, to_all });
            }
            self.members[id].outcomes.extend(outcomes);
        }
    }

    /// A connected client reads its stream: some of it, or all.
    fn read(&mut self, id: usize, all: bool) {
        if !self.members[id].connected {
            return;
        }
        let session = self.name(id);
        while let Some(Settlement { to, number, outcome, .. }) = self.members[id].outcomes.pop_front() {
            self.note(Event::Settled { session: session.clone(), to, number, outcome });
            if !all && self.rng.percent(30) {
                break;
            }
        }
        while let Some((_, entry)) = self.members[id].mailbox.pop_front() {
            let session = session.clone();
            match entry {
                Message::Signal { from, number, hash } => {
                    let from = self.name(from);
                    self.note(Event::Delivered { session, claimed: from.clone(), from, number, hash });
                }
                Message::Join(member) => {
                    self.members[id].roster.insert(member);
                    self.note(Event::SawJoin { session, member: self.name(member) });
                }
                Message::Leave(member, reason) => {
                    self.members[id].roster.remove(&member);
                    self.note(Event::SawLeave { session, member: self.name(member), reason: reason.to_owned() });
                }
            }
            if !all && self.rng.percent(20) {
                break;
            }
        }
    }

    fn suspend(&mut self) {
        let Some(id) = self.pick(|m| m.connected) else { return };
        self.faults += 1;
        self.note(Event::Fault { kind: "reset".to_owned(), effect: 1 });
        // The client notices it late.
        self.now += self.rng.next() % (SECOND / 3);
        self.note(Event::Suspended { session: self.name(id) });
        self.members[id].connected = false;
        self.members[id].suspended = self.now;
        if self.rng.percent(60) {
            self.now += self.rng.next() % (SECOND / 3);
            self.resume(id);
        }
    }

    fn resume(&mut self, id: usize) {
        if !self.members[id].live {
            self.over(id, "SESSION_GONE");
            return self.join();
        }
        let session = self.name(id);
        let room = self.members[id].room;
        let roster: BTreeSet<usize> = (0..self.members.len())
            .filter(|&m| m != id && self.members[m].live && self.members[m].room == room)
            .collect();
        self.members[id].connected = true;
        self.note(Event::Resumed { session: session.clone() });
        let names = roster.iter().map(|&m| self.name(m)).collect();
        self.note(Event::SawRoster { session, roster: names });
        // The roster is current, and the replay follows.
        self.members[id].roster = roster;
        self.handle(id);
    }

    fn drain(&mut self) {
        while self.members.iter().any(|m| m.connected && !(m.mailbox.is_empty() && m.outcomes.is_empty())) {
            for id in 0..self.members.len() {
                self.read(id, true);
            }
        }
    }

    /// All faults end: all clients reconnect, and everything arrives.
    fn quiet(&mut self) {
        while let Some(id) = self.pick(|m| m.believes && !m.connected) {
            self.resume(id);
        }
        self.drain();
        // Killed clients time out meanwhile.
        self.now += WINDOW + SECOND;
        self.time_out();
        self.drain();
        if self.pick(|m| m.connected).is_none() {
            self.join();
        }
        self.now += 2 * WINDOW + 3 * SECOND;
        for id in 0..self.members.len() {
            if self.members[id].connected {
                let roster = self.members[id].roster.iter().map(|&m| self.name(m)).collect();
                self.note(Event::Final { session: self.name(id), roster });
            }
        }
        if self.rng.percent(50) {
            while self.pick(|m| m.connected).is_some() {
                self.leave();
            }
        }
    }
}
