//! Signals: sent, settled, delivered.

use super::pair::{Fate, Found, Signal, View};
use super::session::Session;
use super::{Check, Checker};

impl Checker {
    pub(super) fn sent(&mut self, at: u64, session: &str, to: &str, number: u64, hash: u64) {
        self.counts.sent += 1;
        let session = self.client(at, session);
        let to = self.session(to);
        let pair = self.pair(session, to);
        if number == pair.next() {
            let hopeless = pair.hopeless;
            pair.open.push_back(Signal { hash, sent: at, fate: None, delivered: false, hopeless });
        } else {
            self.odd(at, "sends a number that is not the next");
        }
    }

    pub(super) fn settled(&mut self, at: u64, session: &str, to: &str, number: u64, fate: Fate) {
        let session = self.client(at, session);
        if fate != Fate::Unknown {
            self.sessions[session as usize].heard = at;
        }
        let to = self.session(to);
        let pair = self.pair(session, to);
        let mut breach = None;
        match pair.find(number) {
            Found::Nothing => return self.odd(at, "settles a signal that was not sent"),
            Found::Open(signal) => match signal.fate {
                Some(first) if first != fate => {
                    breach = Some((Check::Definite, format!("answered as {first:?}, then as {fate:?}")));
                }
                Some(_) => {}
                None => {
                    signal.fate = Some(fate);
                    if fate == Fate::Undelivered && signal.delivered {
                        breach = Some((Check::NoGhost, "delivered, but reported as undelivered".to_owned()));
                    } else if fate == Fate::Accepted && signal.hopeless {
                        let text = "accepted, though its sender had been told before that the addressee was gone";
                        breach = Some((Check::Complete, text.to_owned()));
                    }
                    pair.prune();
                    match fate {
                        Fate::Accepted => self.counts.accepted += 1,
                        Fate::Undelivered => self.counts.undelivered += 1,
                        Fate::Unknown => self.counts.unknown += 1,
                    }
                }
            },
            Found::Delivered if fate == Fate::Undelivered => {
                breach = Some((Check::Definite, "answered otherwise, then as Undelivered".to_owned()));
            }
            Found::Undelivered if fate != Fate::Undelivered => {
                breach = Some((Check::Definite, format!("answered as Undelivered, then as {fate:?}")));
            }
            Found::Delivered | Found::Undelivered => {}
        }
        if let Some((check, text)) = breach {
            self.violate(check, at, (Some(to), Some(session), Some(number)), text);
        }
    }

    pub(super) fn delivered(&mut self, at: u64, session: &str, (from, claimed): (&str, &str), number: u64, hash: u64) {
        self.counts.delivered += 1;
        let to = self.heard(at, session);
        let stamped = self.session(from);
        let sender = if from == claimed { stamped } else { self.session(claimed) };
        let room = self.sessions[to as usize].room;
        let foreign = |s: &Session| s.room.is_some() && s.room != room;
        let walled = foreign(&self.sessions[stamped as usize]) || foreign(&self.sessions[sender as usize]);
        let whom = (Some(to), Some(stamped), Some(number));
        if walled {
            self.violate(Check::RoomWall, at, whom, "delivered from another room".to_owned());
        }
        if stamped != sender {
            self.violate(Check::NoGhost, at, whom, format!("delivered as {from}'s, but {claimed} wrote it"));
        }
        let Some(&index) = self.index.get(&(sender, to)) else {
            return self.violate(Check::NoGhost, at, whom, "never sent".to_owned());
        };
        let pair = &mut self.pairs[index];
        let view = pair.view;
        let highest = pair.highest;
        let mut breach = None;
        match pair.find(number) {
            Found::Nothing => breach = Some((Check::NoGhost, "never sent".to_owned())),
            Found::Delivered => breach = Some((Check::Unique, "delivered again".to_owned())),
            Found::Undelivered => breach = Some((Check::NoGhost, "delivered after it was undelivered".to_owned())),
            Found::Open(signal) if signal.hash != hash => {
                // It stands for the signal that it was, so that this is not seen as a loss too.
                signal.delivered = true;
                breach = Some((Check::NoGhost, format!("hash {:x} was sent, {hash:x} delivered", signal.hash)));
            }
            Found::Open(signal) if signal.delivered => {
                breach = Some((Check::Unique, "delivered again".to_owned()));
            }
            Found::Open(signal) => {
                if signal.fate == Some(Fate::Undelivered) {
                    breach = Some((Check::NoGhost, "delivered after it was undelivered".to_owned()));
                } else if number < highest {
                    breach = Some((Check::Ordered, format!("delivered after #{highest}")));
                }
                signal.delivered = true;
            }
        }
        if number < pair.next() {
            pair.highest = highest.max(number);
        }
        pair.prune();
        if let Some((check, text)) = breach {
            self.violate(check, at, (Some(to), Some(sender), Some(number)), text);
        }
        // Whose roster it should have been in is not clear when the sender is forged.
        if stamped == sender && !walled && matches!(view, View::Never | View::Gone) {
            let text = if view == View::Gone {
                "delivered after its sender's leave"
            } else {
                "delivered before its sender's join"
            };
            self.violate(Check::Roster, at, (Some(to), Some(sender), Some(number)), text.to_owned());
        }
    }
}
