//! Signals: sent, settled, delivered.

use super::pair::{Fate, Found, Signal, View};
use super::session::{Session, ToAll};
use super::{Check, Checker};

impl Checker {
    pub(super) fn sent(&mut self, at: u64, session: &str, to: &str, number: u64, hash: u64) {
        let session = self.client(at, session);
        let to_all = to.is_empty();
        let to = if to_all {
            self.sessions[session as usize].present.iter().copied().collect()
        } else {
            vec![self.session(to)]
        };
        let mut rises = true;
        for &to in &to {
            self.counts.sent += 1;
            let pair = self.pair(session, to);
            rises &= number > pair.last();
            let after_leave = pair.after_leave;
            pair.open.push_back(Signal { number, hash, sent: at, fate: None, delivered: false, after_leave });
        }
        if !rises || number == 0 {
            self.inconsistent(at, "sends a number that is not above those before");
        }
        if to_all {
            self.sessions[session as usize].to_all.insert(number, ToAll { hash, to });
        }
    }

    pub(super) fn settled(&mut self, at: u64, session: &str, to: &str, number: u64, fate: Fate) {
        let session = self.client(at, session);
        let sender = &mut self.sessions[session as usize];
        // A response to a page does not show that its stream works.
        if fate != Fate::Unknown && !sender.page {
            sender.last_received = at;
        }
        if !to.is_empty() {
            let to = self.session(to);
            return self.settled_for(at, (session, to), number, fate, false);
        }
        let Some(ToAll { to, .. }) = sender.to_all.get(&number) else {
            return self.inconsistent(at, "settles a signal that was not sent");
        };
        for to in to.clone() {
            self.settled_for(at, (session, to), number, fate, true);
        }
    }

    /// The outcome of a signal for one addressee. `rest`: unless this addressee has another outcome.
    fn settled_for(&mut self, at: u64, (session, to): (u32, u32), number: u64, fate: Fate, rest: bool) {
        let extra = self.extra_hash(session, to, number).is_some();
        let pair = self.pair(session, to);
        let mut breach = None;
        match pair.find(number) {
            _ if extra => {
                if fate == Fate::Undelivered && pair.record_extra(number, false) == Some(true) {
                    breach = Some((Check::NoGhost, "delivered, but reported as undelivered".to_owned()));
                }
            }
            Found::Nothing => return self.inconsistent(at, "settles a signal that was not sent"),
            Found::Open(signal) => match signal.fate {
                Some(Fate::Undelivered) if rest => {}
                Some(first) if first != fate => {
                    breach = Some((Check::Definite, format!("settled as {first:?}, then as {fate:?}")));
                }
                Some(_) => {}
                None => {
                    signal.fate = Some(fate);
                    if fate == Fate::Undelivered && signal.delivered {
                        breach = Some((Check::NoGhost, "delivered, but reported as undelivered".to_owned()));
                    } else if fate == Fate::Accepted && signal.after_leave {
                        let text = "accepted, though its sender had received the leave of the addressee before";
                        breach = Some((Check::Complete, text.to_owned()));
                    }
                    pair.prune();
                    let skipped = pair.skipped();
                    self.suspect(at, (session, to), skipped);
                    match fate {
                        Fate::Accepted => self.counts.accepted += 1,
                        Fate::Undelivered => self.counts.undelivered += 1,
                        Fate::Unknown => self.counts.unknown += 1,
                    }
                }
            },
            Found::Delivered if fate == Fate::Undelivered => {
                breach = Some((Check::Definite, "settled otherwise, then as Undelivered".to_owned()));
            }
            Found::Undelivered if fate != Fate::Undelivered && !rest => {
                breach = Some((Check::Definite, format!("settled as Undelivered, then as {fate:?}")));
            }
            Found::Delivered | Found::Undelivered => {}
        }
        if let Some((check, text)) = breach {
            self.violate(check, at, (Some(to), Some(session), Some(number)), text);
        }
    }

    pub(super) fn delivered(&mut self, at: u64, session: &str, (from, claimed): (&str, &str), number: u64, hash: u64) {
        self.counts.delivered += 1;
        let to = self.receiver(at, session);
        let stamped = self.session(from);
        let sender = if from == claimed { stamped } else { self.session(claimed) };
        let room = self.sessions[to as usize].room;
        let foreign = |s: &Session| s.room.is_some() && s.room != room;
        let walled = foreign(&self.sessions[stamped as usize]) || foreign(&self.sessions[sender as usize]);
        let parties = (Some(to), Some(stamped), Some(number));
        if walled {
            self.violate(Check::RoomWall, at, parties, "delivered from another room".to_owned());
        }
        if stamped != sender {
            self.violate(Check::NoGhost, at, parties, format!("delivered as sent by {from}, but {claimed} sent it"));
        }
        let extra = self.extra_hash(sender, to, number);
        let Some(&index) = self.index.get(&(sender, to)) else {
            return self.violate(Check::NoGhost, at, parties, "never sent".to_owned());
        };
        let pair = &mut self.pairs[index];
        let view = pair.view;
        let highest = pair.highest;
        let again = || Some((Check::Unique, "delivered again".to_owned()));
        let altered = |sent: u64| Some((Check::NoGhost, format!("hash {sent:x} was sent, {hash:x} delivered")));
        let undelivered = || Some((Check::NoGhost, "delivered after it was undelivered".to_owned()));
        let early = || (number < highest).then(|| (Check::Ordered, format!("delivered after #{highest}")));
        let mut sent = true;
        let breach = match (extra, pair.find(number)) {
            // Earlier signals to all may be missing for this receiver.
            (Some(same), _) if same == hash => match pair.record_extra(number, true) {
                None => early(),
                Some(true) => again(),
                Some(false) => undelivered(),
            },
            (Some(other), _) => altered(other),
            (None, Found::Nothing) => {
                sent = false;
                Some((Check::NoGhost, "never sent".to_owned()))
            }
            (None, Found::Delivered) => again(),
            (None, Found::Undelivered) => undelivered(),
            (None, Found::Open(signal)) => {
                let before = std::mem::replace(&mut signal.delivered, true);
                // An altered signal counts as delivered, so that it is not a loss as well.
                if signal.hash != hash {
                    altered(signal.hash)
                } else if before {
                    again()
                } else if signal.fate == Some(Fate::Undelivered) {
                    undelivered()
                } else {
                    early()
                }
            }
        };
        if sent {
            pair.highest = highest.max(number);
        }
        pair.prune();
        let skipped = pair.skipped();
        self.suspect(at, (sender, to), skipped);
        if let Some((check, text)) = breach {
            self.violate(check, at, (Some(to), Some(sender), Some(number)), text);
        }
        // With a forged sender the roster is not checked.
        if stamped == sender && !walled && matches!(view, View::Never | View::Gone) {
            let text = if view == View::Gone {
                "delivered after its sender's leave"
            } else {
                "delivered before its sender's join"
            };
            self.violate(Check::Roster, at, (Some(to), Some(sender), Some(number)), text.to_owned());
        }
    }

    /// The hash of a signal to all for a receiver that its sender did not know, which may receive it or not.
    fn extra_hash(&self, sender: u32, receiver: u32, number: u64) -> Option<u64> {
        let to_all = self.sessions[sender as usize].to_all.get(&number)?;
        (!to_all.to.contains(&receiver)).then_some(to_all.hash)
    }

    /// An accepted signal was skipped, which is certainly a breach. Its check is determined at the end, when it is known
    /// whether the signal arrived.
    fn suspect(&mut self, at: u64, (from, to): (u32, u32), skipped: Option<u64>) {
        if let Some(number) = skipped
            && self.suspected.is_none()
        {
            let text = "accepted and skipped: a later one was delivered".to_owned();
            let violation = self.violation(Check::GapFree, at, (Some(to), Some(from), Some(number)), text);
            self.suspected = Some(violation);
        }
    }
}
