//! Streams of sessions: what they send next, and what happens when they are lost.

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
    /// Wait to be woken, and poll again at this time at the latest.
    Wait(Instant),
    /// End.
    End(End),
}

/// Why a stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client sent `leave`.
    Left,
    /// Any other reason.
    Fault(Error),
}

impl Room {
    /// What the stream of that generation does next. `waker` is woken when there is more.
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

    /// The session, if the stream of that generation is attached to it.
    fn connected(&mut self, id: MemberId, generation: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&id).filter(|session| session.generation == generation && session.is_connected())
    }

    /// The final frames of a stream that is no longer attached to its session, then why it ended.
    fn poll_ended(&mut self, id: MemberId, generation: u64) -> Next {
        if let Some(frame) = self.ended.get_mut(&(id, generation)).and_then(|ended| ended.final_frames.pop_front()) {
            return Next::Frame(frame);
        }
        let fenced = if self.sessions.contains_key(&id) { Error::Fenced } else { Error::SessionGone };
        Next::End(self.ended.remove(&(id, generation)).map_or(End::Fault(fenced), |ended| ended.end))
    }

    /// A stream is lost. Its session, unless it has ended or has a newer stream, is suspended for the resume window.
    pub fn stream_lost(&mut self, now: Instant, id: MemberId, generation: u64) {
        self.ended.remove(&(id, generation));
        self.suspend(now, id, generation);
    }

    /// Ends the stream of that generation with `error`, and suspends the session.
    pub fn break_stream(&mut self, now: Instant, id: MemberId, generation: u64, error: Error) {
        // A stream that is already lost never asks why it ended.
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
