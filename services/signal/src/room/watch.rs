//! What operators see as it happens. Costs nothing while nobody watches; whoever watches slowly holds up nobody, and
//! loses the watch.

use std::{collections::VecDeque, sync::Arc, task::Waker, time::Instant};

use prost::Message;
use signalbox_proto::v1::{
    ConnectionReport, ConnectionReported, MemberJoined, RoomEvent, SignalKind, SignalSummary, Undelivered,
    client_message::Body as Said, room_event::Event, server_message::Body,
};

use super::{Phase, RETRY, Room, id::MemberId, say::ECHOED};
use crate::error::Error;

/// Watches of one room.
const MAX_WATCHES: usize = 16;
/// Events, and their bytes, that may wait for one watch before it is ended. The members who are there when it begins
/// come on top of that.
const MAX_EVENTS: usize = 1024;
const MAX_BYTES: usize = 1024 * 1024;

/// What a watch gives next.
#[derive(Debug)]
pub enum Seen {
    /// Something that happened at that time; `at` is to be filled in.
    Event(Instant, Arc<RoomEvent>),
    /// Nothing yet.
    Wait,
    /// The watch is over.
    End(Error),
}

/// One watch.
#[derive(Debug, Default)]
pub(super) struct Watch {
    waiting: VecDeque<(Instant, Arc<RoomEvent>)>,
    bytes: usize,
    /// Why it ends once what waits has been taken.
    end: Option<Error>,
    waker: Option<Waker>,
}

impl Watch {
    fn push(&mut self, at: Instant, event: Arc<RoomEvent>) {
        if self.end.is_some() {
            return;
        }
        let size = event.encoded_len();
        if self.waiting.len() >= MAX_EVENTS || self.bytes + size > MAX_BYTES {
            self.end = Some(Error::SlowConsumer);
        } else {
            self.bytes += size;
            self.waiting.push_back((at, event));
        }
    }
}

impl Room {
    /// Begins a watch: its number, and the members who are there. What happens from now on is seen by `poll_watch`.
    pub fn watch(&mut self) -> Result<(u64, Vec<RoomEvent>), Error> {
        match self.phase {
            Phase::Open => {}
            Phase::Draining => return Err(Error::Draining(RETRY)),
            Phase::Retired => return Err(Error::RoomClosed),
        }
        if self.watches.len() >= MAX_WATCHES {
            return Err(Error::TooManyWatches(MAX_WATCHES));
        }
        self.watches_begun += 1;
        self.watches.insert(self.watches_begun, Watch::default());
        let there = |member| event(0, Event::MemberJoined(MemberJoined { member: Some(member) }));
        Ok((self.watches_begun, self.members().into_iter().map(there).collect()))
    }

    /// Ends a watch that nobody reads any more.
    pub fn unwatch(&mut self, watch: u64) {
        self.watches.remove(&watch);
    }

    /// What a watch gives next; `waker` is woken when there is more.
    pub fn poll_watch(&mut self, watch: u64, waker: &Waker) -> Seen {
        let Some(watch) = self.watches.get_mut(&watch) else { return Seen::End(Error::RoomClosed) };
        if let Some((at, event)) = watch.waiting.pop_front() {
            watch.bytes -= event.encoded_len();
            return Seen::Event(at, event);
        }
        if let Some(end) = &watch.end {
            return Seen::End(end.clone());
        }
        if self.phase == Phase::Draining {
            return Seen::End(Error::Draining(RETRY));
        }
        watch.waker = Some(waker.clone());
        Seen::Wait
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        self.watches.values().any(|watch| watch.end.is_none())
    }

    /// Tells those who watch of something; `seq` is 0 for what is not part of the log.
    pub(super) fn tell(&mut self, now: Instant, seq: u64, what: Event) {
        let event = Arc::new(event(seq, what));
        for watch in self.watches.values_mut() {
            watch.push(now, event.clone());
            self.wakes.extend(watch.waker.take());
        }
    }

    /// Tells those who watch of an entry of the log that is about a member.
    pub(super) fn tell_news(&mut self, now: Instant, seq: u64, news: Body) {
        match news {
            Body::MemberJoined(joined) => self.tell(now, seq, Event::MemberJoined(joined)),
            Body::MemberUpdated(updated) => self.tell(now, seq, Event::MemberUpdated(updated)),
            Body::MemberLeft(left) => self.tell(now, seq, Event::MemberLeft(left)),
            _ => {}
        }
    }

    /// A signal without its content, for those who watch; `None` when nobody does, or when it is not a signal.
    pub(super) fn summarise(&self, from: MemberId, to: &str, negotiation: u64, said: &Said) -> Option<SignalSummary> {
        if self.watches.is_empty() {
            return None;
        }
        let (kind, size) = match said {
            Said::Offer(offer) => (SignalKind::Offer, offer.sdp.len()),
            Said::Answer(answer) => (SignalKind::Answer, answer.sdp.len()),
            Said::Candidate(candidate) => (SignalKind::Candidate, candidate.candidate.len()),
            Said::Data(data) => (SignalKind::Data, data.payload.len() + data.text.len()),
            _ => return None,
        };
        // Whom the server takes when the sender names nobody.
        let only = || self.find_addressee(from, "").map(|id| id.to_string()).unwrap_or_default();
        Some(SignalSummary {
            from: from.to_string(),
            to: if to.is_empty() && kind != SignalKind::Data { only() } else { to.chars().take(ECHOED).collect() },
            kind: kind.into(),
            size_bytes: u32::try_from(size).unwrap_or(u32::MAX),
            negotiation,
            undelivered_reason: String::new(),
        })
    }

    /// Tells those who watch what became of a signal; `seq` is its place in the log, 0 if it has none.
    pub(super) fn tell_signal(&mut self, now: Instant, seq: u64, signal: SignalSummary, undelivered: &[Undelivered]) {
        for failed in undelivered {
            let to = if failed.to.is_empty() { &signal.to } else { &failed.to };
            let told = SignalSummary { to: to.clone(), undelivered_reason: failed.reason.clone(), ..signal.clone() };
            self.tell(now, 0, Event::Signal(told));
        }
        if seq > 0 || undelivered.is_empty() {
            self.tell(now, seq, Event::Signal(signal));
        }
    }

    /// Ends all watches: the room is closed.
    pub(super) fn close_watches(&mut self) {
        for watch in self.watches.values_mut() {
            watch.end.get_or_insert(Error::RoomClosed);
            self.wakes.extend(watch.waker.take());
        }
    }

    /// Wakes all watches: the server stops.
    pub(super) fn wake_watches(&mut self) {
        self.wakes.extend(self.watches.values_mut().filter_map(|watch| watch.waker.take()));
    }

    /// Takes note of what a member's connection to another came to. A pair of sessions that is connected counts once,
    /// whichever of the two says so, and however often.
    pub(super) fn report(&mut self, now: Instant, id: MemberId, report: ConnectionReport) {
        let peer = MemberId::parse(&report.peer).filter(|peer| *peer != id && self.sessions.contains_key(peer));
        if report.connection_state == "connected"
            && let Some(peer) = peer
            && !self.sessions.get(&peer).is_some_and(|other| other.met.contains(&id))
            && self.sessions.get_mut(&id).is_some_and(|session| session.met.insert(peer))
        {
            self.counts.calls += 1;
        }
        if !self.watches.is_empty()
            && let Some(session) = self.sessions.get(&id)
        {
            let since_join = now.saturating_duration_since(session.joined).try_into().ok();
            let told = ConnectionReported { from: id.to_string(), report: Some(report), since_join };
            self.tell(now, 0, Event::Connection(told));
        }
    }
}

fn event(seq: u64, what: Event) -> RoomEvent {
    RoomEvent { seq, at: None, event: Some(what) }
}
