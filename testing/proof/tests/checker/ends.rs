//! How sessions end in generated histories.

use signalbox_proof::history::{Event, Outcome};

use super::{Message, WINDOW, World};

impl World {
    pub(super) fn leave(&mut self) {
        let Some(id) = self.pick(|m| m.connected) else { return };
        let room = self.members[id].room;
        self.members[id].live = false;
        self.append(room, id, || Message::Leave(id, "LEFT"));
        self.overtake(id);
        self.over(id, "LEFT");
    }

    /// An operator ends a session. Without a stream its client learns it late.
    pub(super) fn remove(&mut self) {
        let Some(id) = self.pick(|m| m.live) else { return };
        self.append(self.members[id].room, id, || Message::Leave(id, "REMOVED"));
        self.ended(&[id], "REMOVED");
    }

    /// A client joins with the identity of a member.
    pub(super) fn replace(&mut self) {
        let Some(id) = self.pick(|m| m.connected) else { return };
        let room = self.members[id].room;
        self.members[id].live = false;
        self.append(room, id, || Message::Leave(id, "REPLACED"));
        self.overtake(id);
        if self.rng.percent(50) {
            self.over(id, "REPLACED");
            self.join_room(room);
        } else {
            self.join_room(room);
            self.over(id, "REPLACED");
        }
    }

    /// An operator closes a room: all sessions end at once, without leaves.
    pub(super) fn close(&mut self) {
        if self.rng.percent(50) {
            return;
        }
        let room = self.rng.below(self.rooms);
        let all: Vec<usize> =
            (0..self.members.len()).filter(|&m| self.members[m].live && self.members[m].room == room).collect();
        self.ended(&all, "ROOM_CLOSED");
    }

    /// The server ends sessions for an operator. Clients with a stream learn it at once, before or after the confirmation.
    fn ended(&mut self, ids: &[usize], reason: &str) {
        let early = self.rng.percent(50);
        for &id in ids {
            self.members[id].live = false;
            self.members[id].mailbox.clear();
        }
        for is_end in [early, !early] {
            for &id in ids {
                if !is_end {
                    self.note(Event::Ended { session: self.name(id), reason: reason.to_owned() });
                } else if self.members[id].connected {
                    self.over(id, reason);
                }
            }
        }
    }

    /// The client learns the end of its session, and records open outcomes as unknown.
    pub(super) fn over(&mut self, id: usize, reason: &str) {
        self.members[id].connected = false;
        self.members[id].believes = false;
        let session = self.name(id);
        // Reports of single members about signals to all are dropped.
        let outcomes = self.members[id].outcomes.drain(..).filter(|a| !a.to_all || a.to.is_empty());
        let mut open: Vec<(String, u64)> = outcomes.map(|a| (a.to, a.number)).collect();
        open.extend(self.members[id].unsent.drain(..).map(|(to, number, _)| (to, number)));
        let over = Event::Over { session: session.clone(), reason: reason.to_owned() };
        let early = self.rng.percent(50);
        if early {
            self.note(over.clone());
        }
        for (to, number) in open {
            self.note(Event::Settled { session: session.clone(), to, number, outcome: Outcome::Unknown });
        }
        if !early {
            self.note(over);
        }
    }

    /// A client is killed, and records nothing any more.
    pub(super) fn vanish(&mut self) {
        let Some(id) = self.pick(|m| m.connected) else { return };
        let member = &mut self.members[id];
        (member.connected, member.believes, member.suspended) = (false, false, self.now);
        if self.rng.percent(50) {
            self.note(Event::Suspended { session: self.name(id) });
        }
    }

    /// The server ends the sessions that have timed out.
    pub(super) fn time_out(&mut self) {
        for id in 0..self.members.len() {
            let member = &self.members[id];
            if member.live && !member.connected && member.suspended + WINDOW < self.now {
                self.members[id].live = false;
                self.append(self.members[id].room, id, || Message::Leave(id, "TIMED_OUT"));
            }
        }
    }

    pub(super) fn server_lost(&mut self) {
        if self.rng.percent(70) {
            return;
        }
        self.faults += 1;
        self.note(Event::Fault { kind: "kill".to_owned(), effect: 1 });
        self.note(Event::ServerLost);
        for id in 0..self.members.len() {
            self.members[id].mailbox.clear();
            self.members[id].live = false;
            if self.members[id].connected {
                self.note(Event::Suspended { session: self.name(id) });
                self.members[id].connected = false;
            }
        }
        while self.rng.percent(80)
            && let Some(id) = self.pick(|m| m.believes)
        {
            self.resume(id);
        }
    }
}
