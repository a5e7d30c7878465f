//! Watches: a room's events for operators. A slow watcher loses its watch, and a room without watchers builds no
//! events.

use std::{collections::VecDeque, sync::Arc, task::Waker, time::Instant};

use prost::Message;
use signalbox_proto::v1::{
    self, MemberJoined, RoomEvent, SignalKind, SignalSummary, Undelivered, client_message::Body as ClientBody,
    room_event::Event, server_message::Body,
};

use crate::{
    error::Error,
    id::MemberId,
    inbound::MAX_ECHOED,
    room::{Phase, Room},
};

/// Maximum watchers of one room.
const MAX_WATCHERS: usize = 16;
/// Maximum events that may wait for one watcher before its watch ends.
const MAX_EVENTS: usize = 1024;
/// Maximum bytes of events that may wait for one watcher before its watch ends.
const MAX_BYTES: usize = 1024 * 1024;

/// What a watch yields next.
#[derive(Debug)]
pub enum WatchNext {
    /// An event, and when it happened. The caller sets `RoomEvent.at` from this instant.
    Event(Instant, Arc<RoomEvent>),
    /// Wait for the waker.
    Wait,
    /// The watch has ended for this reason.
    End(Error),
}

#[derive(Debug, Default)]
pub(crate) struct Watcher {
    waiting: VecDeque<(Instant, Arc<RoomEvent>)>,
    bytes: usize,
    /// Why the watch ends, after it has delivered its waiting events.
    end: Option<Error>,
    waker: Option<Waker>,
}

impl Watcher {
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
    /// Starts a watch. Returns its number and the current members; [`poll_watch`](Self::poll_watch) returns later
    /// events.
    pub fn watch(&mut self) -> Result<(u64, Vec<RoomEvent>), Error> {
        match self.phase {
            Phase::Open => {}
            Phase::Draining => return Err(Error::Draining),
            Phase::Retired => return Err(Error::RoomClosed),
        }
        if self.watchers.len() >= MAX_WATCHERS {
            return Err(Error::TooManyWatches(MAX_WATCHERS));
        }
        self.watchers_opened += 1;
        self.watchers.insert(self.watchers_opened, Watcher::default());
        let joined = |member| room_event(0, Event::MemberJoined(MemberJoined { member: Some(member) }));
        Ok((self.watchers_opened, self.members().into_iter().map(joined).collect()))
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, watch: u64) {
        self.watchers.remove(&watch);
    }

    /// Returns the next step of a watch. The room wakes `waker` when there is more.
    pub fn poll_watch(&mut self, watch: u64, waker: &Waker) -> WatchNext {
        let Some(watcher) = self.watchers.get_mut(&watch) else { return WatchNext::End(Error::RoomClosed) };
        if let Some((at, event)) = watcher.waiting.pop_front() {
            watcher.bytes -= event.encoded_len();
            return WatchNext::Event(at, event);
        }
        if let Some(end) = &watcher.end {
            return WatchNext::End(end.clone());
        }
        if self.phase == Phase::Draining {
            return WatchNext::End(Error::Draining);
        }
        watcher.waker = Some(waker.clone());
        WatchNext::Wait
    }

    /// Returns whether the room has active watchers.
    pub fn is_watched(&self) -> bool {
        self.watchers.values().any(|watcher| watcher.end.is_none())
    }

    /// Notifies watchers of changed settings.
    pub fn settings_changed(&mut self, now: Instant, settings: v1::Room) {
        self.notify_watchers(now, 0, Event::RoomUpdated(settings));
    }

    /// Notifies watchers of an event. `seq` is 0 for an event without an entry.
    pub(crate) fn notify_watchers(&mut self, now: Instant, seq: u64, event: Event) {
        let event = Arc::new(room_event(seq, event));
        for watcher in self.watchers.values_mut() {
            watcher.push(now, event.clone());
            self.wakers.extend(watcher.waker.take());
        }
    }

    /// Notifies watchers of an entry about a member.
    pub(crate) fn notify_watchers_of_member(&mut self, now: Instant, seq: u64, body: Body) {
        match body {
            Body::MemberJoined(joined) => self.notify_watchers(now, seq, Event::MemberJoined(joined)),
            Body::MemberUpdated(updated) => self.notify_watchers(now, seq, Event::MemberUpdated(updated)),
            Body::MemberLeft(left) => self.notify_watchers(now, seq, Event::MemberLeft(left)),
            _ => {}
        }
    }

    /// Summarizes a signal without its content. Returns `None` if the room has no watchers or the message is not a
    /// signal.
    pub(crate) fn summarise(
        &self,
        from: MemberId,
        to: &str,
        negotiation: u64,
        body: &ClientBody,
    ) -> Option<SignalSummary> {
        if self.watchers.is_empty() {
            return None;
        }
        let (kind, size) = match body {
            ClientBody::Offer(offer) => (SignalKind::Offer, offer.sdp.len()),
            ClientBody::Answer(answer) => (SignalKind::Answer, answer.sdp.len()),
            ClientBody::Candidate(candidate) => (SignalKind::Candidate, candidate.candidate.len()),
            ClientBody::Data(data) => (SignalKind::Data, data.payload.len() + data.text.len()),
            _ => return None,
        };
        let only_other = || self.find_addressee(from, "").map(|id| id.to_string()).unwrap_or_default();
        Some(SignalSummary {
            from: from.to_string(),
            to: if to.is_empty() && kind != SignalKind::Data {
                only_other()
            } else {
                to.chars().take(MAX_ECHOED).collect()
            },
            kind: kind.into(),
            size_bytes: u32::try_from(size).unwrap_or(u32::MAX),
            negotiation,
            undelivered_reason: String::new(),
        })
    }

    /// Notifies watchers of the outcome of a signal. `seq` is the sequence number of its entry, or 0 if no mailbox
    /// accepted it.
    pub(crate) fn notify_watchers_of_signal(
        &mut self,
        now: Instant,
        seq: u64,
        signal: SignalSummary,
        undelivered: &[Undelivered],
    ) {
        for report in undelivered {
            let to = if report.to.is_empty() { &signal.to } else { &report.to };
            let failed = SignalSummary { to: to.clone(), undelivered_reason: report.reason.clone(), ..signal.clone() };
            self.notify_watchers(now, 0, Event::Signal(failed));
        }
        if seq > 0 || undelivered.is_empty() {
            self.notify_watchers(now, seq, Event::Signal(signal));
        }
    }

    /// Ends all watches, because the room is closed.
    pub(crate) fn close_watchers(&mut self) {
        for watcher in self.watchers.values_mut() {
            watcher.end.get_or_insert(Error::RoomClosed);
            self.wakers.extend(watcher.waker.take());
        }
    }

    /// Wakes all watches, because the server is draining.
    pub(crate) fn wake_watchers(&mut self) {
        self.wakers.extend(self.watchers.values_mut().filter_map(|watcher| watcher.waker.take()));
    }
}

fn room_event(seq: u64, event: Event) -> RoomEvent {
    RoomEvent { seq, at: None, event: Some(event) }
}
