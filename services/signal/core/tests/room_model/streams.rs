//! Streams, acknowledgements, resumes and timeouts.

use std::{task::Waker, time::Duration};

use bytes::BytesMut;
use prost::{Message, encoding};
use signalbox_core::{End, Error, Frame, Next, StreamKind, Via};
use signalbox_proto::v1::{
    ClientMessage, Leave, LeaveReason, MemberState, ServerMessage, client_message::Body as ClientBody,
};

use crate::{
    model::{Entry, roster},
    world::World,
};

impl World {
    /// Reads up to `limit` frames as the session's client. Returns whether no more frames are waiting.
    pub(crate) fn read(&mut self, index: usize, limit: usize) -> bool {
        for _ in 0..limit {
            let (id, generation) = (self.live[index].id, self.live[index].generation);
            if self.live[index].suspended_since.is_some() {
                return true;
            }
            match self.room.poll(self.now, id, generation, Waker::noop()) {
                Next::Frame(frame) => {
                    self.live[index].receive(self.now, decode(&frame));
                }
                Next::Wait(deadline) => {
                    assert!(deadline > self.now, "the deadline of a waiting stream is in the future");
                    self.check_client(index);
                    return true;
                }
                Next::End(end) => panic!("live stream ended: {end:?}"),
            }
        }
        false
    }

    /// Acknowledges entries, even beyond the last received one. The room must not drop entries that the client has not
    /// received.
    pub(crate) fn ack(&mut self, member: usize, offset: i64) {
        let Some(index) = self.pick(member) else { return };
        let session = &mut self.live[index];
        let ack = session.last_seq.saturating_add_signed(offset).min(self.head);
        if ack == 0 {
            return;
        }
        let message = ClientMessage { ack, ..ClientMessage::default() };
        self.room.handle(self.now, session.id, Via::Unary, message).unwrap();
        session.acknowledge(self.now, ack);
    }

    pub(crate) fn drop_stream(&mut self, member: usize) {
        let Some(index) = self.pick(member) else { return };
        let (id, generation) = (self.live[index].id, self.live[index].generation);
        self.room.stream_lost(self.now, id, generation);
        if self.live[index].is_connected() {
            self.live[index].suspended_since = Some(self.now);
            self.live[index].waits_since = None;
            self.announce(id, &Entry::Updated(id.to_string(), MemberState::Suspended));
        }
    }

    /// Resumes a session. If `lost`, the stream breaks before the client receives `Resumed`.
    pub(crate) fn resume(&mut self, member: usize, back: u64, ahead: bool, lost: bool) {
        let Some(index) = self.pick(member) else { return };
        let (now, head) = (self.now, self.head);
        let session = &mut self.live[index];
        let after = if ahead { head + 1 } else { session.last_seq.saturating_sub(back) };
        let (id, old) = (session.id, session.generation);
        let result = self.room.resume(now, id, &session.secret, after, StreamKind::Exchange);
        if ahead {
            assert!(matches!(result, Err(Error::InvalidMessage { .. })));
            return;
        }
        if after < session.floor() {
            assert_eq!(result.err(), Some(Error::SessionGone));
            self.end(index, LeaveReason::TimedOut, Some(Error::SessionGone));
            return;
        }
        let start = result.unwrap();
        let was_suspended = !session.is_connected();
        assert_eq!(start.replayed as usize, session.resume(now, after));
        if !lost {
            session.client.resumed(start.replayed, &roster(&start.members));
        }
        assert_eq!((start.seq, start.ack, start.generation), (after, session.handled, session.generation));
        self.counts.resumed += 1;
        self.count_waiting(index);
        if was_suspended {
            self.announce(id, &Entry::Updated(id.to_string(), MemberState::Connected));
        } else if !lost {
            let next = self.room.poll(now, id, old, Waker::noop());
            assert!(matches!(next, Next::End(End::Fault(Error::Fenced))), "{next:?}");
        }
        // The snapshot contains everything until now. It counts as received even if it is lost, because the room cannot
        // tell.
        self.live[index].known = self.head;
        if lost {
            return self.drop_stream(member);
        }
        // Late events of the old stream have no effect.
        self.room.stream_lost(now, id, old);
        let late = ClientMessage { seq: 1, ..ClientMessage::default() };
        assert_eq!(self.room.handle(now, id, Via::Stream(old), late).err(), Some(Error::Fenced));
    }

    pub(crate) fn leave(&mut self, member: usize) {
        let Some(index) = self.pick(member) else { return };
        let leave = ClientMessage { body: Some(ClientBody::Leave(Leave::default())), ..ClientMessage::default() };
        let outcome = self.room.handle(self.now, self.live[index].id, Via::Unary, leave).unwrap();
        assert!(outcome.left);
        self.end(index, LeaveReason::Left, None);
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        self.now += time;
        self.room.tick(self.now);
        let mut due: Vec<_> = self
            .live
            .iter()
            .filter_map(|s| match (s.suspended_since, s.waits_since) {
                (Some(since), _) if since + self.limits.resume_window <= self.now => {
                    Some((s.id, LeaveReason::TimedOut, Error::SessionGone))
                }
                (None, Some(since)) if since + self.limits.stall_timeout <= self.now => {
                    Some((s.id, LeaveReason::SlowConsumer, Error::SlowConsumer))
                }
                _ => None,
            })
            .collect();
        for session in self.live.iter_mut().filter(|s| s.is_connected()) {
            session.expire(self.now, self.limits.retention());
        }
        // The room ends sessions in the order of their ids.
        due.sort_unstable_by_key(|(id, ..)| *id);
        for (id, reason, error) in due {
            let index = self.live.iter().position(|s| s.id == id).unwrap();
            self.end(index, reason, Some(error));
        }
    }
}

/// Decodes a frame: the shared bytes with `ack` appended.
pub(crate) fn decode(frame: &Frame) -> ServerMessage {
    let mut bytes = BytesMut::from(&frame.bytes[..]);
    if frame.ack > 0 {
        encoding::uint64::encode(2, &frame.ack, &mut bytes);
    }
    ServerMessage::decode(bytes).unwrap()
}
