//! Checks that need the whole history.

use std::collections::HashSet;

use super::pair::{Fate, View};
use super::session::End;
use super::{Check, Checker, Plan, Report, Verdict};

impl Checker {
    /// Reports a history that was stopped at a [`Checker::breach`]. Later events are not judged.
    #[must_use]
    pub fn stop(mut self) -> Report {
        if self.found.kept.is_empty()
            && let Some(suspected) = self.suspected.take()
        {
            *self.found.counts.entry(suspected.check).or_default() += 1;
            self.found.kept.push(suspected);
        }
        let plan = self.plan.take();
        self.report(plan)
    }

    /// Judges the whole history.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let plan = self.plan.take();
        // Without a `Run` note nothing is late.
        let window = plan.as_ref().map_or(u64::MAX, |plan| plan.window);
        let quiet = !self.rosters.is_empty();
        let ends: Vec<Option<End>> =
            self.sessions.iter().map(|session| session.end(&self.bounds, window, quiet)).collect();
        for index in 0..self.pairs.len() {
            self.judge_signals(index, &ends);
            self.judge_view(index, &ends);
        }
        self.judge_sessions(&ends, window);
        self.judge_rosters(&ends);
        self.report(plan)
    }

    /// Checks signals that did not arrive, or have no outcome.
    fn judge_signals(&mut self, index: usize, ends: &[Option<End>]) {
        let pair = &mut self.pairs[index];
        let (from, to, highest) = (pair.from, pair.to, pair.highest);
        let open = std::mem::take(&mut pair.open);
        // The end of a session excuses losses, unless it was alive at the quiet end and left afterwards.
        let excused = |session: u32, sent: u64| {
            let quiet = self.sessions[session as usize].last_roster;
            let alive = quiet.is_some_and(|quiet| sent.saturating_add(self.bounds.notify) <= quiet);
            ends[session as usize].is_some() && !alive
        };
        let sender_stayed = self.sessions[from as usize].last_roster.is_some();
        let judged: Vec<_> =
            open.into_iter().map(|signal| (excused(from, signal.sent), excused(to, signal.sent), signal)).collect();
        for (sender_ended, receiver_ended, signal) in judged {
            let parties = (Some(to), Some(from), Some(signal.number));
            let mut breach = |check, text: &str| self.violate(check, signal.sent, parties, text.to_owned());
            let skipped = !signal.delivered && signal.number < highest;
            let (mut lost, mut unsettled) = (false, false);
            match signal.fate {
                Some(Fate::Undelivered) => {}
                Some(Fate::Accepted) => {
                    if skipped {
                        breach(Check::GapFree, &format!("accepted and skipped: up to #{highest} was delivered"));
                    }
                    if !signal.delivered && !receiver_ended {
                        breach(Check::Complete, "accepted and not delivered, and its receiver's session did not end");
                    }
                    lost = !signal.delivered && (skipped || !receiver_ended);
                }
                Some(Fate::Unknown) if sender_ended => {}
                Some(Fate::Unknown) => {
                    if skipped {
                        breach(Check::GapFree, &format!("skipped and not undelivered: up to #{highest} was delivered"));
                    }
                    breach(Check::Definite, "its sender never learned the outcome, though its session lives");
                }
                None => {
                    unsettled = true;
                    // A client that did not stay to the end need not have recorded all outcomes.
                    if !sender_ended && sender_stayed {
                        if skipped {
                            breach(
                                Check::GapFree,
                                &format!("skipped and not undelivered: up to #{highest} was delivered"),
                            );
                        }
                        breach(Check::Definite, "without an outcome");
                    }
                }
            }
            self.counts.lost += u64::from(lost);
            self.counts.unsettled += u64::from(unsettled);
        }
    }

    /// Checks that a client received the end of another session in time, and no members of other rooms.
    fn judge_view(&mut self, index: usize, ends: &[Option<End>]) {
        let pair = &self.pairs[index];
        let (member, client) = (pair.from, pair.to);
        let parties = (Some(client), Some(member), None);
        if pair.view == View::Never {
            return;
        }
        let notified = pair.notified;
        let (ended, observer) = (&self.sessions[member as usize], &self.sessions[client as usize]);
        if ended.room.is_some() && observer.room.is_some() && ended.room != observer.room {
            let at = pair.seen;
            return self.violate(Check::RoomWall, at, parties, "received a member of another room".to_owned());
        }
        let Some(end) = ends[member as usize] else { return };
        let Some(deadline) = observer.reachable(end.deadline, self.bounds.notify) else { return };
        let excused = ends[client as usize].is_some_and(|end| end.at <= deadline);
        if excused || notified.is_some_and(|at| at <= deadline || end.vague) {
            return;
        }
        let text = match notified {
            Some(at) => {
                format!("reported {} µs after the end, {} µs too late", at.saturating_sub(end.at), at - deadline)
            }
            // A client that has received nothing since then was disconnected or stopped.
            None if observer.alive() <= deadline => return,
            None => "its end was never reported".to_owned(),
        };
        self.violate(Check::LoudLoss, end.at, parties, text);
    }

    /// Checks that each client learned the end of its own session.
    fn judge_sessions(&mut self, ends: &[Option<End>], window: u64) {
        let patience = self.bounds.windows.saturating_mul(window).saturating_add(self.bounds.notify);
        for (id, end) in (0u32..).zip(ends) {
            let session = &self.sessions[id as usize];
            // It was alive at the quiet end, and had not learned an end by then. It may have left since.
            let Some(last) = session.last_roster else { continue };
            if session.over.as_ref().is_some_and(|over| over.at <= last) {
                continue;
            }
            if session.ended.is_some_and(|ended| last > ended.saturating_add(patience)) {
                let text = "never learned that the server had ended its session".to_owned();
                self.violate(Check::LoudLoss, last, (Some(id), None, None), text);
            } else if let Some((at, by)) = session.reported
                && (end.is_none() || at.saturating_add(self.bounds.notify) <= last)
            {
                let text = "never learned that its session had ended, as another client had received".to_owned();
                self.violate(Check::LoudLoss, at, (Some(id), Some(by), None), text);
            }
        }
    }

    /// Checks that the last rosters are those of the live sessions.
    fn judge_rosters(&mut self, ends: &[Option<End>]) {
        let mut rooms: Vec<Vec<u32>> = vec![Vec::new(); self.rooms.len()];
        // Clients may leave after all rosters are recorded. Those that left earlier may be missing in later rosters.
        let last = self.rosters.iter().map(|(_, at, _)| *at).max().unwrap_or_default();
        for (id, session) in (0u32..).zip(&self.sessions) {
            let stayed = ends[id as usize].is_none_or(|end| session.last_roster.is_some() && end.at > last);
            if let (Some(room), true) = (session.room, stayed) {
                rooms[room as usize].push(id);
            }
        }
        for (client, at, roster) in std::mem::take(&mut self.rosters) {
            let Some(room) = self.sessions[client as usize].room else { continue };
            // The roster of an ended session is not compared.
            if ends[client as usize].is_some_and(|end| end.at <= at) {
                continue;
            }
            let has: HashSet<u32> = roster.iter().copied().collect();
            for &member in &rooms[room as usize] {
                let settled = self.sessions[member as usize].opened.saturating_add(self.bounds.notify) <= at;
                if member != client && settled && !has.contains(&member) {
                    let text = "missing in the roster at the end".to_owned();
                    self.violate(Check::Roster, at, (Some(client), Some(member), None), text);
                }
            }
            for member in roster {
                let other = &self.sessions[member as usize];
                let unseen = |index: &usize| self.pairs[*index].view == View::Never;
                let text = if member == client {
                    "in its own roster"
                } else if other.room.is_none() {
                    "in the roster at the end, but no client opened that session"
                } else if other.room != Some(room) {
                    "in the roster at the end, but in another room"
                } else if ends[member as usize].is_some_and(|end| end.deadline < at) {
                    "in the roster at the end, but ended"
                } else if self.index.get(&(member, client)).is_none_or(unseen) {
                    "in the roster at the end, but its join was not received"
                } else {
                    continue;
                };
                self.violate(Check::Roster, at, (Some(client), Some(member), None), text.to_owned());
            }
        }
    }

    fn report(mut self, plan: Option<Plan>) -> Report {
        let mut doubts = Vec::new();
        let effective: u64 = self.faults.values().map(|faults| faults.effective).sum();
        match &plan {
            None => doubts.push("there is no Run note".to_owned()),
            Some(plan) => {
                if self.counts.sent.saturating_mul(2) < plan.signals || self.counts.sent == 0 {
                    doubts.push(format!("{} signals were sent, {} planned", self.counts.sent, plan.signals));
                }
                if effective.saturating_mul(2) < plan.faults {
                    doubts.push(format!("{effective} faults had an effect, {} planned", plan.faults));
                }
                if plan.faults > 0 && self.counts.suspends == 0 {
                    doubts.push("faults were planned, and no client ever lost its stream".to_owned());
                }
            }
        }
        if self.counts.rosters == 0 {
            doubts.push("no client recorded its roster at the end".to_owned());
        }
        if let Some((first, count)) = self.found.inconsistent.take() {
            doubts.push(format!("{count} inconsistent notes: {first}"));
        }
        let count = |check| self.found.counts.get(&check).copied().unwrap_or_default();
        self.counts.duplicated = count(Check::Unique);
        self.counts.reordered = count(Check::Ordered);
        self.counts.silent = count(Check::LoudLoss);
        let verdict = if !self.found.kept.is_empty() {
            Verdict::Failed(self.found.kept)
        } else if !doubts.is_empty() {
            Verdict::Void(doubts.clone())
        } else {
            Verdict::Passed
        };
        let plan = plan.unwrap_or_default();
        Report {
            seed: plan.seed,
            versions: plan.versions,
            planned_signals: plan.signals,
            planned_faults: plan.faults,
            verdict,
            counts: self.counts,
            faults: self.faults,
            peaks: self.peaks,
            violations: self.found.counts,
            doubts,
        }
    }
}
