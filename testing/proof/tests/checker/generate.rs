//! Plausible histories of runs in which the guarantee held: a small model of server, clients and nemesis.

mod ends;

use std::collections::{BTreeSet, VecDeque};

use signalbox_proof::history::{Note, Outcome, What};

use super::dice::Dice;

/// The resume window of all histories.
pub(crate) const WINDOW: u64 = 5_000_000;

const SECOND: u64 = 1_000_000;

enum Entry {
    Signal { from: usize, number: u64, hash: u64 },
    Join(usize),
    Leave(usize, &'static str),
}

struct Answer {
    to: String,
    number: u64,
    outcome: Outcome,
    /// The client's own signal was to all.
    to_all: bool,
}

/// One session, both as the server and as its client have it.
struct Member {
    name: String,
    room: usize,
    /// The server has it.
    live: bool,
    /// The client believes in it.
    believes: bool,
    connected: bool,
    suspended: u64,
    /// Entries of the room's log that it has yet to read, and since when.
    mailbox: VecDeque<(u64, Entry)>,
    said: u64,
    /// Sent while cut off: the server has yet to see it. To nobody in particular: to all.
    unsent: VecDeque<(String, u64, u64)>,
    answers: VecDeque<Answer>,
    roster: BTreeSet<usize>,
}

struct World {
    dice: Dice,
    now: u64,
    members: Vec<Member>,
    rooms: usize,
    notes: Vec<Note>,
    sent: u64,
    faults: u64,
}

/// A history without a flaw.
pub(crate) fn history(seed: u64) -> Vec<Note> {
    let mut dice = Dice(seed);
    let rooms = 2 + dice.below(2);
    let steps = 300 + dice.below(500);
    let mut world = World { dice, now: 0, members: Vec::new(), rooms, notes: Vec::new(), sent: 0, faults: 0 };
    for _ in 0..2 * rooms + 2 {
        world.join();
    }
    for _ in 0..steps {
        world.step();
    }
    world.quiet();
    let run = What::Run {
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
    fn note(&mut self, what: What) {
        self.now += 1 + self.dice.next() % 300;
        self.notes.push(Note { at: self.now, what });
    }

    fn name(&self, id: usize) -> String {
        self.members[id].name.clone()
    }

    fn pick(&mut self, fit: impl Fn(&Member) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.members.len()).filter(|&id| fit(&self.members[id])).collect();
        (!fitting.is_empty()).then(|| fitting[self.dice.below(fitting.len())])
    }

    fn append(&mut self, room: usize, except: usize, entry: impl Fn() -> Entry) {
        for id in 0..self.members.len() {
            if id != except && self.members[id].live && self.members[id].room == room {
                self.members[id].mailbox.push_back((self.now, entry()));
            }
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
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
                let value = self.dice.next() % 1_024;
                self.note(What::Gauge { name: "mailbox_entries".to_owned(), value, limit: 1_024 });
                self.note(What::Gauge { name: "rss_bytes".to_owned(), value: value << 20, limit: 0 });
            }
            74..77 => {
                (0..self.members.len()).for_each(|id| self.read(id, true));
                self.now += self.dice.next() % (2 * SECOND);
            }
            78 => self.remove(),
            79 => self.replace(),
            80 => self.close(),
            77 => {
                let effect = u64::from(self.dice.percent(90));
                self.faults += effect;
                self.note(What::Fault { kind: "corrupt".to_owned(), effect });
            }
            _ => self.now += self.dice.next() % 20_000,
        }
        self.time_out();
        for id in 0..self.members.len() {
            // Nobody who is connected waits for a second.
            let late = self.members[id].mailbox.front().is_some_and(|(since, _)| since + SECOND < self.now);
            if late || self.dice.percent(30) {
                self.read(id, late);
            }
        }
    }

    fn join(&mut self) {
        if self.members.iter().filter(|m| m.live).count() > 5 * self.rooms {
            return;
        }
        let room = self.dice.below(self.rooms);
        self.join_room(room);
    }

    fn join_room(&mut self, room: usize) {
        let id = self.members.len();
        let roster = (0..id).filter(|&m| self.members[m].live && self.members[m].room == room).collect::<BTreeSet<_>>();
        self.append(room, id, || Entry::Join(id));
        self.members.push(Member {
            name: format!("m{id:04}"),
            room,
            live: true,
            believes: true,
            connected: true,
            suspended: 0,
            mailbox: VecDeque::new(),
            said: 0,
            unsent: VecDeque::new(),
            answers: VecDeque::new(),
            roster: roster.clone(),
        });
        // Others may hear of it before its own client does.
        self.overtake(id);
        let roster = roster.iter().map(|&m| self.name(m)).collect();
        let page = self.dice.percent(40);
        self.note(What::Opened { session: self.name(id), room: format!("room{room}"), roster, page });
    }

    fn overtake(&mut self, id: usize) {
        let (room, name) = (self.members[id].room, self.name(id));
        if self.dice.percent(30)
            && let Some(other) = self.pick(|m| m.room == room && m.name != name)
        {
            self.read(other, true);
        }
    }

    fn send(&mut self) {
        let Some(id) = self.pick(|m| m.believes) else { return };
        let room = self.members[id].room;
        let roster: Vec<usize> = self.members[id].roster.iter().copied().collect();
        let to = match self.dice.below(100) {
            0..4 => self.pick(|m| m.room != room).map(|to| self.name(to)),
            _ if roster.is_empty() => None,
            4..10 => Some(String::new()),
            _ => {
                let to = roster[self.dice.below(roster.len())];
                Some(self.name(to))
            }
        };
        let Some(to) = to else { return };
        for _ in 0..1 + self.dice.below(4) {
            self.members[id].said += 1;
            let (number, hash) = (self.members[id].said, self.dice.next());
            self.sent += if to.is_empty() { roster.len() as u64 } else { 1 };
            self.note(What::Sent { session: self.name(id), to: to.clone(), number, hash });
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
            let nobody = targets.is_empty() && !to_all;
            let mut answers = Vec::new();
            let undelivered =
                |to, reason: &str| Answer { to, number, outcome: Outcome::Undelivered(reason.to_owned()), to_all };
            for target in targets {
                if self.dice.percent(5) {
                    answers.push(undelivered(self.name(target), "MAILBOX_FULL"));
                } else {
                    let entry = Entry::Signal { from: id, number, hash };
                    self.members[target].mailbox.push_back((self.now, entry));
                }
            }
            if nobody {
                answers.push(undelivered(to, "NO_SUCH_MEMBER"));
            } else if to_all || answers.is_empty() {
                answers.push(Answer { to, number, outcome: Outcome::Accepted, to_all });
            }
            self.members[id].answers.extend(answers);
        }
    }

    /// A connected client reads its stream: some of it, or all.
    fn read(&mut self, id: usize, all: bool) {
        if !self.members[id].connected {
            return;
        }
        let session = self.name(id);
        while let Some(Answer { to, number, outcome, .. }) = self.members[id].answers.pop_front() {
            self.note(What::Settled { session: session.clone(), to, number, outcome });
            if !all && self.dice.percent(30) {
                break;
            }
        }
        while let Some((_, entry)) = self.members[id].mailbox.pop_front() {
            let session = session.clone();
            match entry {
                Entry::Signal { from, number, hash } => {
                    let from = self.name(from);
                    self.note(What::Delivered { session, claimed: from.clone(), from, number, hash });
                }
                Entry::Join(member) => {
                    self.members[id].roster.insert(member);
                    self.note(What::SawJoin { session, member: self.name(member) });
                }
                Entry::Leave(member, reason) => {
                    self.members[id].roster.remove(&member);
                    self.note(What::SawLeave { session, member: self.name(member), reason: reason.to_owned() });
                }
            }
            if !all && self.dice.percent(20) {
                break;
            }
        }
    }

    fn suspend(&mut self) {
        let Some(id) = self.pick(|m| m.connected) else { return };
        self.faults += 1;
        self.note(What::Fault { kind: "reset".to_owned(), effect: 1 });
        // It is noticed late.
        self.now += self.dice.next() % (SECOND / 3);
        self.note(What::Suspended { session: self.name(id) });
        self.members[id].connected = false;
        self.members[id].suspended = self.now;
        if self.dice.percent(60) {
            self.now += self.dice.next() % (SECOND / 3);
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
        self.note(What::Resumed { session: session.clone() });
        let names = roster.iter().map(|&m| self.name(m)).collect();
        self.note(What::SawRoster { session, roster: names });
        // The roster is as of now; the replay of what led to it follows.
        self.members[id].roster = roster;
        self.handle(id);
    }

    fn drain(&mut self) {
        while self.members.iter().any(|m| m.connected && !(m.mailbox.is_empty() && m.answers.is_empty())) {
            for id in 0..self.members.len() {
                self.read(id, true);
            }
        }
    }

    /// All faults are healed: everybody comes back, everything arrives.
    fn quiet(&mut self) {
        while let Some(id) = self.pick(|m| m.believes && !m.connected) {
            self.resume(id);
        }
        self.drain();
        // Those that were killed time out meanwhile.
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
                self.note(What::Final { session: self.name(id), roster });
            }
        }
        if self.dice.percent(50) {
            while self.pick(|m| m.connected).is_some() {
                self.leave();
            }
        }
    }
}
