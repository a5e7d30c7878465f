//! How sessions end in generated histories.

use signalbox_proof::history::{Outcome, What};

use super::{Entry, WINDOW, World};

impl World {
    pub(super) fn leave(&mut self) {
        let Some(id) = self.pick(|m| m.connected) else { return };
        let room = self.members[id].room;
        self.members[id].live = false;
        self.append(room, id, || Entry::Leave(id, "LEFT"));
        self.overtake(id);
        self.over(id, "LEFT");
    }

    /// An operator ends a session. It may have lost its stream, and then learns it late.
    pub(super) fn remove(&mut self) {
        let Some(id) = self.pick(|m| m.live) else { return };
        self.append(self.members[id].room, id, || Entry::Leave(id, "REMOVED"));
        self.ended(&[id], "REMOVED");
    }

    /// Somebody joins as somebody who is there.
    pub(super) fn replace(&mut self) {
        let Some(id) = self.pick(|m| m.connected) else { return };
        let room = self.members[id].room;
        self.members[id].live = false;
        self.append(room, id, || Entry::Leave(id, "REPLACED"));
        self.overtake(id);
        if self.dice.percent(50) {
            self.over(id, "REPLACED");
            self.join_room(room);
        } else {
            self.join_room(room);
            self.over(id, "REPLACED");
        }
    }

    /// An operator closes a room: all in it are gone at once, and nobody is told of anybody else.
    pub(super) fn close(&mut self) {
        if self.dice.percent(50) {
            return;
        }
        let room = self.dice.below(self.rooms);
        let all: Vec<usize> =
            (0..self.members.len()).filter(|&m| self.members[m].live && self.members[m].room == room).collect();
        self.ended(&all, "ROOM_CLOSED");
    }

    /// The server ends sessions as it was told to: those that have a stream learn it at once, before or after the
    /// operator hears that it is done.
    fn ended(&mut self, ids: &[usize], reason: &str) {
        let early = self.dice.percent(50);
        for &id in ids {
            self.members[id].live = false;
            self.members[id].mailbox.clear();
        }
        for told in [early, !early] {
            for &id in ids {
                if !told {
                    self.note(What::Ended { session: self.name(id), reason: reason.to_owned() });
                } else if self.members[id].connected {
                    self.over(id, reason);
                }
            }
        }
    }

    /// The client learns of its session's end, and answers what is open with unknown.
    pub(super) fn over(&mut self, id: usize, reason: &str) {
        self.members[id].connected = false;
        self.members[id].believes = false;
        let session = self.name(id);
        // Whoever did not get a signal to all is of no interest any more.
        let answers = self.members[id].answers.drain(..).filter(|a| !a.to_all || a.to.is_empty());
        let mut open: Vec<(String, u64)> = answers.map(|a| (a.to, a.number)).collect();
        open.extend(self.members[id].unsent.drain(..).map(|(to, number, _)| (to, number)));
        let over = What::Over { session: session.clone(), reason: reason.to_owned() };
        let early = self.dice.percent(50);
        if early {
            self.note(over.clone());
        }
        for (to, number) in open {
            self.note(What::Settled { session: session.clone(), to, number, outcome: Outcome::Unknown });
        }
        if !early {
            self.note(over);
        }
    }

    /// A client is killed: it notes nothing any more.
    pub(super) fn vanish(&mut self) {
        let Some(id) = self.pick(|m| m.connected) else { return };
        let member = &mut self.members[id];
        (member.connected, member.believes, member.suspended) = (false, false, self.now);
        if self.dice.percent(50) {
            self.note(What::Suspended { session: self.name(id) });
        }
    }

    /// The server ends the sessions that did not come back.
    pub(super) fn time_out(&mut self) {
        for id in 0..self.members.len() {
            let member = &self.members[id];
            if member.live && !member.connected && member.suspended + WINDOW < self.now {
                self.members[id].live = false;
                self.append(self.members[id].room, id, || Entry::Leave(id, "TIMED_OUT"));
            }
        }
    }

    pub(super) fn server_lost(&mut self) {
        if self.dice.percent(70) {
            return;
        }
        self.faults += 1;
        self.note(What::Fault { kind: "kill".to_owned(), effect: 1 });
        self.note(What::ServerLost);
        for id in 0..self.members.len() {
            self.members[id].mailbox.clear();
            self.members[id].live = false;
            if self.members[id].connected {
                self.note(What::Suspended { session: self.name(id) });
                self.members[id].connected = false;
            }
        }
        while self.dice.percent(80)
            && let Some(id) = self.pick(|m| m.believes)
        {
            self.resume(id);
        }
    }
}
