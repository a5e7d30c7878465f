//! Streams of sessions: what a stream sends next, and what happens when it is lost.

use std::{task::Waker, time::Instant};

use signalbox_proto::v1::{MemberUpdated, server_message::Body};

use crate::{
    error::Error,
    id::MemberId,
    room::{Phase, Room},
    sequencer::Subject,
    session::{Frame, Session},
};

/// What a stream does next.
#[derive(Debug)]
pub enum Next {
    /// Send this frame.
    Frame(Frame),
    /// Wait for the waker, and poll again no later than this instant.
    Wait(Instant),
    /// End the stream for this reason.
    End(End),
}

/// Why a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client sent `leave`.
    Left,
    /// The stream ends with this error.
    Fault(Error),
}

impl Room {
    /// Returns the next step of the stream with this generation. The room wakes `waker` when there is more to send.
    pub fn poll(&mut self, now: Instant, id: MemberId, generation: u64, waker: &Waker) -> Next {
        let attached = self.sessions.get_mut(&id).filter(|session| session.generation == generation);
        let Some(session) = attached else { return self.poll_ended(id, generation) };
        if let Some(frame) = session.next_frame(now) {
            return Next::Frame(frame);
        }
        if self.phase == Phase::Draining {
            let ack = session.last_ack().map(Next::Frame);
            return ack.unwrap_or(Next::End(End::Fault(Error::Draining)));
        }
        match session.next_idle_frame(now, self.limits.heartbeat_interval) {
            Ok(frame) => Next::Frame(frame),
            Err(deadline) => {
                session.set_waker(waker);
                Next::Wait(deadline)
            }
        }
    }

    /// Returns the session if the stream with this generation is attached to it.
    fn connected(&mut self, id: MemberId, generation: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&id).filter(|session| session.generation == generation && session.is_connected())
    }

    /// Returns the final frames of a detached stream, then the reason of its end.
    fn poll_ended(&mut self, id: MemberId, generation: u64) -> Next {
        if let Some(frame) = self.ended.get_mut(&(id, generation)).and_then(|ended| ended.final_frames.pop_front()) {
            return Next::Frame(frame);
        }
        let fenced = if self.sessions.contains_key(&id) { Error::Fenced } else { Error::SessionGone };
        Next::End(self.ended.remove(&(id, generation)).map_or(End::Fault(fenced), |ended| ended.end))
    }

    /// Handles a lost stream. Suspends its session for the resume window, unless the session has ended or has a newer
    /// stream.
    pub fn stream_lost(&mut self, now: Instant, id: MemberId, generation: u64) {
        self.ended.remove(&(id, generation));
        self.suspend(now, id, generation);
    }

    /// Ends a stream with `error` and suspends its session.
    pub fn break_stream(&mut self, now: Instant, id: MemberId, generation: u64, error: Error) {
        // A stream that is already lost or replaced needs no reason for its end.
        let Some(session) = self.connected(id, generation) else { return };
        let waker = session.take_waker();
        self.wakers.extend(waker);
        self.ended.insert((id, generation), End::Fault(error).into());
        self.suspend(now, id, generation);
        // Later calls of this stream must not affect the session.
        if let Some(session) = self.sessions.get_mut(&id) {
            session.generation += 1;
        }
    }

    fn suspend(&mut self, now: Instant, id: MemberId, generation: u64) {
        let until = now + self.limits.resume_window;
        let Some(session) = self.connected(id, generation) else { return };
        session.suspend(until);
        let member = session.member.clone();
        if self.phase == Phase::Open {
            self.announce(now, Subject::Updated(id), Body::MemberUpdated(MemberUpdated { member: Some(member) }));
        }
    }
}
