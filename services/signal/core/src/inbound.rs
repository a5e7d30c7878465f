//! Handles client messages: checks, addressees and outcomes.

use std::time::{Duration, Instant};

use prost::Message;
use signalbox_proto::{
    undelivered,
    v1::{
        ClientMessage, Data, LeaveReason, MemberUpdate, MemberUpdated, Undelivered, client_message::Body as ClientBody,
        server_message::Body,
    },
};

use crate::{
    bucket::Rate,
    count::SignalKind,
    error::Error,
    id::MemberId,
    limits::Limits,
    mailbox::{Capacity, Full},
    outcomes::SeqCheck,
    relay::{self, NotRelay},
    room::{Phase, Room},
    sequencer::Subject,
    stream::End,
};

/// Maximum characters of `to` that a report echoes. Member ids are shorter, so this truncates invalid ids only.
pub(crate) const MAX_ECHOED: usize = 64;
/// Maximum bytes of a text field in a connection report.
const REPORT_TEXT: usize = 64;
/// Maximum bytes of `error` in a connection report.
const REPORT_ERROR: usize = 256;

/// How a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// On the stream with this generation.
    Stream(u64),
    /// In a unary call.
    Unary,
}

/// The outcome of a message.
#[derive(Debug, Default)]
pub struct Handled {
    /// Addressees that do not receive the message, each with the reason.
    pub undelivered: Vec<Undelivered>,
    /// Highest client `seq` that the room has handled for this session.
    pub ack: u64,
    /// Whether the message was `leave`, which ends the session.
    pub left: bool,
}

impl Room {
    /// Handles one message of a session. The session survives every error except `SessionGone` and `SlowConsumer`; the
    /// caller ends the stream or fails the call.
    pub fn handle(&mut self, now: Instant, id: MemberId, via: Via, message: ClientMessage) -> Result<Handled, Error> {
        let head = self.sequencer.head();
        let draining = self.phase == Phase::Draining;
        let session = self.sessions.get_mut(&id).ok_or(Error::SessionGone)?;
        if matches!(via, Via::Stream(generation) if generation != session.generation) {
            return Err(Error::Fenced);
        }
        if draining {
            return Err(Error::Draining);
        }
        session.last_received = now;
        if message.ack > head {
            return Err(Error::invalid("ack", format!("must be at most {head}, the room's newest seq")));
        }
        session.acknowledge(message.ack);
        let size = message.encoded_len();
        let ClientMessage { seq, ack, to, negotiation, body } = message;
        let body = match body {
            Some(ClientBody::Join(_) | ClientBody::Resume(_)) => return Err(Error::AlreadyJoined),
            Some(body) => body,
            None if seq == 0 && ack != 0 => {
                return Ok(Handled { ack: session.outcomes.handled(), ..Handled::default() });
            }
            None => return Err(Error::invalid("body", "is missing, or of a kind that this server does not know")),
        };
        if let SeqCheck::Repeated(undelivered) = session.outcomes.check(now, seq)? {
            let ack = session.outcomes.handled();
            self.wake_for_outcomes(id);
            return Ok(Handled { undelivered, ack, left: false });
        }
        if let ClientBody::Leave(_) = body {
            // Record `leave` like any other message, so that the final frames acknowledge it. The result does not
            // matter, because the session ends now.
            let _ = session.outcomes.record(now, seq, &[], &self.limits);
            let ack = session.outcomes.handled();
            self.end(now, id, LeaveReason::Left, End::Left);
            return Ok(Handled { ack, left: true, ..Handled::default() });
        }

        let summary = self.summarise(id, &to, negotiation, &body);
        let mut undelivered = match self.reject(now, id, &body, size) {
            Some((reason, retry_after)) => vec![report(&to, reason, retry_after)],
            None => self.apply(now, id, &to, negotiation, body),
        };
        if let Some(summary) = summary {
            let entry_seq = if self.sequencer.head() > head { self.sequencer.head() } else { 0 };
            self.notify_watchers_of_signal(now, entry_seq, summary, &undelivered);
        }
        for report in &mut undelivered {
            report.client_seq = seq;
            self.counts.add_undelivered(&report.reason);
        }
        // Applying the message may have ended this session, if its mailbox had no space for another member's leave.
        let Some(session) = self.sessions.get_mut(&id) else { return Err(Error::SessionGone) };
        let recorded = session.outcomes.record(now, seq, &undelivered, &self.limits);
        let ack = session.outcomes.handled();
        if recorded.is_err() {
            self.end(now, id, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer));
            return Err(Error::SlowConsumer);
        }
        self.wake_for_outcomes(id);
        Ok(Handled { undelivered, ack, left: false })
    }

    fn wake_for_outcomes(&mut self, id: MemberId) {
        if let Some(session) = self.sessions.get_mut(&id).filter(|session| session.outcomes.wants_stream()) {
            self.wakers.extend(session.take_waker());
        }
    }

    /// Checks a message before the room applies it. Returns the reason of a rejection: size, rate limit or permit.
    fn reject(
        &mut self,
        now: Instant,
        id: MemberId,
        body: &ClientBody,
        size: usize,
    ) -> Option<(&'static str, Option<Duration>)> {
        if size > self.limits.message_bytes || !fits(body, &self.limits) {
            return Some((undelivered::TOO_LARGE, None));
        }
        if matches!(body, ClientBody::Heartbeat(_) | ClientBody::Report(_)) {
            return None;
        }
        let rate = Rate::per_second(self.limits.signals_per_second, self.limits.signal_burst);
        let session = self.sessions.get_mut(&id)?;
        if let Err(retry_after) = session.signal_rate.take(now, rate) {
            return Some((undelivered::RATE_LIMITED, Some(retry_after)));
        }
        (!session.permit.allows(body)).then_some((undelivered::FORBIDDEN, None))
    }

    fn apply(&mut self, now: Instant, id: MemberId, to: &str, negotiation: u64, body: ClientBody) -> Vec<Undelivered> {
        let signal = match body {
            ClientBody::Offer(offer) => Body::Offer(offer),
            ClientBody::Answer(answer) => Body::Answer(answer),
            ClientBody::Candidate(candidate) => Body::Candidate(candidate),
            ClientBody::Data(data) if to.is_empty() => return self.broadcast(now, id, negotiation, data),
            ClientBody::Data(data) => Body::Data(data),
            ClientBody::Update(update) => {
                self.update(now, id, update);
                return Vec::new();
            }
            ClientBody::Report(report) => {
                self.report(now, id, report);
                return Vec::new();
            }
            ClientBody::Heartbeat(_) | ClientBody::Leave(_) | ClientBody::Join(_) | ClientBody::Resume(_) => {
                return Vec::new();
            }
        };
        let addressee = match self.find_addressee(id, to) {
            Ok(addressee) => addressee,
            Err(reason) => return vec![report(to, reason, None)],
        };
        let signal = if self.policy.relay_only { relay::filter(signal) } else { Ok(signal) };
        match signal {
            Ok(signal) => self.push_signal(now, id, &[addressee], negotiation, signal),
            Err(NotRelay) => vec![report(&addressee.to_string(), undelivered::FORBIDDEN, None)],
        }
    }

    /// Resolves `to` to a member. An empty `to` means the only other member.
    pub(crate) fn find_addressee(&self, from: MemberId, to: &str) -> Result<MemberId, &'static str> {
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

    fn broadcast(&mut self, now: Instant, from: MemberId, negotiation: u64, data: Data) -> Vec<Undelivered> {
        let others: Vec<_> = self.sessions.keys().copied().filter(|id| *id != from).collect();
        self.push_signal(now, from, &others, negotiation, Body::Data(data))
    }

    /// Adds one entry to the mailbox of each addressee. Returns a report for each full mailbox.
    fn push_signal(
        &mut self,
        now: Instant,
        from: MemberId,
        to: &[MemberId],
        negotiation: u64,
        signal: Body,
    ) -> Vec<Undelivered> {
        let capacity = Capacity { entries: self.limits.mailbox_entries, bytes: self.limits.mailbox_bytes };
        let kind = SignalKind::of(&signal);
        let entry = self.sequencer.draft(Subject::SignalFrom(from), negotiation, signal);
        let mut undelivered = Vec::new();
        for id in to {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            match session.push(now, entry.clone(), capacity) {
                Ok(()) => {
                    self.counts.accepted[kind as usize] += 1;
                    self.counts.record_waiting(session.waiting());
                    self.wakers.extend(session.take_waker());
                }
                Err(Full) => undelivered.push(report(&id.to_string(), undelivered::MAILBOX_FULL, None)),
            }
        }
        if undelivered.len() < to.len() {
            self.sequencer.commit(&entry);
            // The sender must receive the leave of every addressee, even if it has not read the addressee's join yet.
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
        self.announce(now, Subject::Updated(id), Body::MemberUpdated(MemberUpdated { member: Some(member) }));
    }
}

/// Builds an `undelivered` report. The caller sets `client_seq`.
fn report(to: &str, reason: &str, retry_after: Option<Duration>) -> Undelivered {
    Undelivered {
        client_seq: 0,
        to: to.chars().take(MAX_ECHOED).collect(),
        reason: reason.to_owned(),
        retry_after: retry_after.and_then(|after| after.try_into().ok()),
    }
}

/// Returns whether each part of a message is within its limit.
fn fits(body: &ClientBody, limits: &Limits) -> bool {
    match body {
        ClientBody::Offer(description) | ClientBody::Answer(description) => description.sdp.len() <= limits.sdp_bytes,
        ClientBody::Candidate(candidate) => {
            candidate.candidate.len() <= limits.candidate_bytes
                && candidate.sdp_mid.as_ref().is_none_or(|mid| mid.len() <= limits.name_bytes)
                && candidate.username_fragment.as_ref().is_none_or(|ufrag| ufrag.len() <= limits.name_bytes)
        }
        ClientBody::Data(data) => data.topic.len() <= limits.topic_bytes,
        ClientBody::Update(update) => {
            update.display_name.as_ref().is_none_or(|name| name.len() <= limits.name_bytes)
                && limits.fits_map(&update.attributes)
        }
        ClientBody::Report(report) => {
            let states = [&report.ice_state, &report.connection_state, &report.local_candidate_type];
            let others = [&report.peer, &report.remote_candidate_type, &report.protocol];
            states.into_iter().chain(others).all(|text| text.len() <= REPORT_TEXT) && report.error.len() <= REPORT_ERROR
        }
        ClientBody::Heartbeat(_) | ClientBody::Leave(_) | ClientBody::Join(_) | ClientBody::Resume(_) => true,
    }
}
