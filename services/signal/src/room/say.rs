//! What members say, and what becomes of it.

use std::time::{Duration, Instant};

use prost::Message;
use signalbox_proto::{
    undelivered,
    v1::{
        ClientMessage, Data, LeaveReason, MemberUpdate, MemberUpdated, Undelivered, client_message::Body as Said,
        server_message::Body,
    },
};

use super::{
    End, Handled, Phase, RETRY, Room, Via,
    id::MemberId,
    log::{self, About, Cap},
    map_fits,
    relay::{self, NotRelay},
    session::Admission,
};
use crate::{
    error::Error,
    limit::Limits,
    mutant::{self, Mutant},
};

/// Characters of what a client wrote as addressee that are told back: no id is longer.
pub(super) const ECHOED: usize = 64;
/// Bytes of the texts of a report, and of its error.
const REPORT_WORD: usize = 64;
const REPORT_ERROR: usize = 256;

impl Room {
    /// Handles one message of a session. An error is one of the stream (or call), the session stays.
    pub fn handle(&mut self, now: Instant, id: MemberId, via: Via, message: ClientMessage) -> Result<Handled, Error> {
        let head = self.log.head();
        let draining = self.phase == Phase::Draining;
        let session = self.sessions.get_mut(&id).ok_or(Error::SessionGone)?;
        if matches!(via, Via::Stream(generation) if generation != session.generation) {
            return Err(Error::Fenced);
        }
        if draining {
            return Err(Error::Draining(RETRY));
        }
        session.last_heard = now;
        if message.ack > head {
            return Err(Error::invalid("ack", format!("the room's log has not got beyond {head}")));
        }
        session.acknowledge(message.ack);
        let size = message.encoded_len();
        let ClientMessage { seq, ack, to, negotiation, body } = message;
        let body = match body {
            Some(Said::Join(_) | Said::Resume(_)) => return Err(Error::AlreadyJoined),
            Some(body) => body,
            None if seq == 0 && ack != 0 => return Ok(Handled { ack: session.handled(), ..Handled::default() }),
            None => return Err(Error::invalid("body", "the message says nothing that this server knows")),
        };
        if let Admission::Again(undelivered) = session.admit(now, seq)? {
            let ack = session.handled();
            self.wake_for_outcomes(id);
            return Ok(Handled { undelivered, ack, left: false });
        }
        if let Said::Leave(_) = body {
            // Acknowledged like any other, with what was owed before it.
            let _ = session.settle(now, seq, &[], &self.limits);
            let ack = session.handled();
            self.end(now, id, LeaveReason::Left, End::Left);
            return Ok(Handled { ack, left: true, ..Handled::default() });
        }

        let summary = self.summarise(id, &to, negotiation, &body);
        let mut undelivered = match self.refuse(now, id, &body, size) {
            Some((reason, retry_after)) => vec![failure(&to, reason, retry_after)],
            None => self.apply(now, id, &to, negotiation, body),
        };
        if let Some(summary) = summary {
            let logged = if self.log.head() > head { self.log.head() } else { 0 };
            self.tell_signal(now, logged, summary, &undelivered);
        }
        for failed in &mut undelivered {
            failed.client_seq = seq;
            self.counts.refused(&failed.reason);
        }
        // Applying may have ended the session, if it was among those for whom the news no longer fitted.
        let Some(session) = self.sessions.get_mut(&id) else { return Err(Error::SessionGone) };
        let settled = session.settle(now, seq, &undelivered, &self.limits);
        let ack = session.handled();
        if settled.is_err() {
            self.end(now, id, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer));
            return Err(Error::SlowConsumer);
        }
        self.wake_for_outcomes(id);
        Ok(Handled { undelivered, ack, left: false })
    }

    fn wake_for_outcomes(&mut self, id: MemberId) {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.wants_stream()) {
            self.wakes.extend(session.take_waker());
        }
    }

    /// Why a message is not even looked at: it is too large, there are too many, or its sender may not say it.
    fn refuse(
        &mut self,
        now: Instant,
        id: MemberId,
        body: &Said,
        size: usize,
    ) -> Option<(&'static str, Option<Duration>)> {
        if size > self.limits.message_bytes || !fits(body, &self.limits) {
            return Some((undelivered::TOO_LARGE, None));
        }
        if matches!(body, Said::Heartbeat(_) | Said::Report(_)) {
            return None;
        }
        let (rate, burst) = (self.limits.signals_per_second, self.limits.signal_burst);
        let session = self.sessions.get_mut(&id)?;
        if let Err(retry_after) = session.bucket.take(now, rate, burst) {
            return Some((undelivered::RATE_LIMITED, Some(retry_after)));
        }
        (!session.permit.allows(body)).then_some((undelivered::FORBIDDEN, None))
    }

    fn apply(&mut self, now: Instant, id: MemberId, to: &str, negotiation: u64, body: Said) -> Vec<Undelivered> {
        let signal = match body {
            Said::Offer(offer) => Body::Offer(offer),
            Said::Answer(answer) => Body::Answer(answer),
            Said::Candidate(candidate) => Body::Candidate(candidate),
            Said::Data(data) if to.is_empty() => return self.data_to_all(now, id, negotiation, data),
            Said::Data(data) => Body::Data(data),
            Said::Update(update) => {
                self.update(now, id, update);
                return Vec::new();
            }
            Said::Report(report) => {
                self.report(now, id, report);
                return Vec::new();
            }
            Said::Heartbeat(_) | Said::Leave(_) | Said::Join(_) | Said::Resume(_) => return Vec::new(),
        };
        let addressee = match self.find_addressee(id, to) {
            Ok(addressee) => addressee,
            Err(reason) => return vec![failure(to, reason, None)],
        };
        let signal = if self.policy.relay_only { relay::filter(signal) } else { Ok(signal) };
        match signal {
            Ok(signal) => self.append_signal(now, id, &[addressee], negotiation, signal),
            Err(NotRelay) => vec![failure(&addressee.to_string(), undelivered::FORBIDDEN, None)],
        }
    }

    pub(super) fn find_addressee(&self, from: MemberId, to: &str) -> Result<MemberId, &'static str> {
        if to.is_empty() {
            let mut others = self.sessions.keys().filter(|id| **id != from);
            return match (others.next(), others.next()) {
                (Some(only), None) => Ok(*only),
                _ => Err(undelivered::TARGET_REQUIRED),
            };
        }
        MemberId::parse(to)
            .filter(|to| *to != from && self.sessions.contains_key(to))
            .ok_or(undelivered::NO_SUCH_MEMBER)
    }

    fn data_to_all(&mut self, now: Instant, from: MemberId, negotiation: u64, data: Data) -> Vec<Undelivered> {
        let others: Vec<_> = self.sessions.keys().copied().filter(|id| *id != from).collect();
        self.append_signal(now, from, &others, negotiation, Body::Data(data))
    }

    /// Appends one entry for all addressees; says who had no room for it.
    fn append_signal(
        &mut self,
        now: Instant,
        from: MemberId,
        to: &[MemberId],
        negotiation: u64,
        signal: Body,
    ) -> Vec<Undelivered> {
        let cap = Cap { entries: self.limits.mailbox_entries, bytes: self.limits.mailbox_bytes };
        let forged = self.sessions.keys().next().filter(|_| mutant::is(Mutant::WrongFrom)).copied();
        let kind = kind(&signal);
        let entry = self.log.draft(About::SignalOf(forged.unwrap_or(from)), negotiation, signal);
        if mutant::hits(Mutant::DropSome) {
            self.log.commit(&entry);
            return Vec::new();
        }
        let mut undelivered = Vec::new();
        for id in to {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            match session.push(now, entry.clone(), cap) {
                Ok(()) => {
                    self.counts.accepted[kind] += 1;
                    self.counts.waits(session.waiting());
                    self.wakes.extend(session.take_waker());
                }
                Err(log::Full) if mutant::is(Mutant::AckBeforeAppend) => {}
                Err(log::Full) => undelivered.push(failure(&id.to_string(), undelivered::MAILBOX_FULL, None)),
            }
        }
        if undelivered.len() < to.len() {
            self.log.commit(&entry);
            // The sender has to learn of the end of every addressee, also of one whose join it has not read yet.
            if let Some(sender) = self.sessions.get_mut(&from) {
                sender.mark_known(entry.seq);
            }
        }
        undelivered
    }

    fn update(&mut self, now: Instant, id: MemberId, update: MemberUpdate) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Some(name) = update.display_name {
            session.member.display_name = name;
        }
        if update.clear_attributes || !update.attributes.is_empty() {
            session.member.attributes = update.attributes;
        }
        let member = session.member.clone();
        self.announce(now, About::Updated(id), Body::MemberUpdated(MemberUpdated { member: Some(member) }));
    }
}

/// Which of `count::KINDS` a signal is.
fn kind(signal: &Body) -> usize {
    match signal {
        Body::Offer(_) => 0,
        Body::Answer(_) => 1,
        Body::Candidate(_) => 2,
        _ => 3,
    }
}

/// A message that somebody does not get. What the client wrote as addressee is echoed as far as an id is long.
fn failure(to: &str, reason: &str, retry_after: Option<Duration>) -> Undelivered {
    Undelivered {
        client_seq: 0,
        to: to.chars().take(ECHOED).collect(),
        reason: reason.to_owned(),
        retry_after: retry_after.and_then(|after| after.try_into().ok()),
    }
}

/// Whether each part of a message is within its limit.
fn fits(body: &Said, limits: &Limits) -> bool {
    match body {
        Said::Offer(description) | Said::Answer(description) => description.sdp.len() <= limits.sdp_bytes,
        Said::Candidate(candidate) => {
            candidate.candidate.len() <= limits.candidate_bytes
                && candidate.sdp_mid.as_ref().is_none_or(|mid| mid.len() <= limits.name_bytes)
                && candidate.username_fragment.as_ref().is_none_or(|ufrag| ufrag.len() <= limits.name_bytes)
        }
        Said::Data(data) => data.topic.len() <= limits.topic_bytes,
        Said::Update(update) => {
            update.display_name.as_ref().is_none_or(|name| name.len() <= limits.name_bytes)
                && map_fits(&update.attributes, limits)
        }
        Said::Report(report) => {
            let words = [&report.ice_state, &report.connection_state, &report.local_candidate_type];
            let more = [&report.peer, &report.remote_candidate_type, &report.protocol];
            words.into_iter().chain(more).all(|word| word.len() <= REPORT_WORD) && report.error.len() <= REPORT_ERROR
        }
        Said::Heartbeat(_) | Said::Leave(_) | Said::Join(_) | Said::Resume(_) => true,
    }
}
