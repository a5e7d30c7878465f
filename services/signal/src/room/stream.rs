//! What streams do, and what time does to sessions.

use std::{task::Waker, time::Instant};

use signalbox_proto::v1::{LeaveReason, MemberUpdated, server_message::Body};

use super::{
    Carrier, End, Next, Phase, RETRY, Room,
    id::MemberId,
    log::About,
    session::{Presence, Session},
};
use crate::{
    error::Error,
    mutant::{self, Mutant},
};

impl Room {
    /// A stream is gone. Unless the session has ended or moved on, it is suspended for the resume window.
    pub fn stream_lost(&mut self, now: Instant, id: MemberId, generation: u64) {
        self.ended.remove(&(id, generation));
        self.suspend(now, id, generation);
    }

    /// Ends the stream of that generation with `error`, and suspends the session.
    pub fn break_stream(&mut self, now: Instant, id: MemberId, generation: u64, error: Error) {
        // Only a stream that is still there will ask why it ended.
        let Some(session) =
            self.sessions.get_mut(&id).filter(|session| session.generation == generation && session.is_connected())
        else {
            return;
        };
        self.wakes.extend(session.take_waker());
        self.ended.insert((id, generation), End::Fault(error).into());
        self.suspend(now, id, generation);
        // The stream's later events are those of an old one.
        if let Some(session) = self.sessions.get_mut(&id) {
            session.generation += 1;
        }
    }

    fn suspend(&mut self, now: Instant, id: MemberId, generation: u64) {
        let until = now + self.limits.resume_window;
        let Some(session) =
            self.sessions.get_mut(&id).filter(|session| session.generation == generation && session.is_connected())
        else {
            return;
        };
        session.suspend(until);
        let member = session.member.clone();
        if self.phase == Phase::Open {
            self.announce(now, About::Updated(id), Body::MemberUpdated(MemberUpdated { member: Some(member) }));
        }
    }

    /// What the stream of that generation does next; `waker` is woken when there is more.
    pub fn poll(&mut self, now: Instant, id: MemberId, generation: u64, waker: &Waker) -> Next {
        let carries = |session: &&mut Session| session.generation == generation || mutant::is(Mutant::ForgetGeneration);
        let Some(session) = self.sessions.get_mut(&id).filter(carries) else {
            return self.last_words(id, generation);
        };
        if let Some(frame) = session.next(now) {
            return Next::Frame(frame);
        }
        if self.phase == Phase::Draining {
            let ack = session.last_ack().map(Next::Frame);
            return ack.unwrap_or(Next::End(End::Fault(Error::Draining(RETRY))));
        }
        match session.next_idle(now, self.limits.heartbeat_interval) {
            Ok(frame) => Next::Frame(frame),
            Err(deadline) => {
                session.wait(waker);
                Next::Wait(deadline)
            }
        }
    }

    /// What a stream that no longer carries its session has to say.
    fn last_words(&mut self, id: MemberId, generation: u64) -> Next {
        if let Some(frame) = self.ended.get_mut(&(id, generation)).and_then(|ended| ended.farewell.pop_front()) {
            return Next::Frame(frame);
        }
        let fenced = if self.sessions.contains_key(&id) { Error::Fenced } else { Error::SessionGone };
        Next::End(self.ended.remove(&(id, generation)).map_or(End::Fault(fenced), |ended| ended.end))
    }

    /// Does what is due: ends sessions whose permit or window is over or whose stream stalls, suspends browser sessions that fell
    /// silent, forgets what no resume will ask for.
    pub fn tick(&mut self, now: Instant) {
        if self.phase != Phase::Open {
            return;
        }
        let (silence, stall, retention) =
            (self.limits.silence_timeout(), self.limits.stall_timeout, self.limits.retention());
        let mut due = Vec::new();
        for (id, session) in &mut self.sessions {
            if session.permit.is_over(now) {
                due.push((*id, Due::Expired));
                continue;
            }
            match session.presence {
                Presence::SuspendedUntil(until) if until <= now => due.push((*id, Due::TimedOut)),
                Presence::SuspendedUntil(_) => {}
                Presence::Connected(_) if session.stalls(now, stall) => due.push((*id, Due::Stalled)),
                Presence::Connected(Carrier::Subscribe)
                    if now.saturating_duration_since(session.last_heard) > silence =>
                {
                    due.push((*id, Due::Silent(session.generation)));
                }
                Presence::Connected(_) => session.expire(now, retention),
            }
        }
        for (id, what) in due {
            match what {
                Due::Expired => self.end(now, id, LeaveReason::TimedOut, End::Fault(Error::TokenExpired)),
                Due::TimedOut => self.end(now, id, LeaveReason::TimedOut, End::Fault(Error::SessionGone)),
                Due::Stalled => self.end(now, id, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer)),
                Due::Silent(generation) => self.break_stream(now, id, generation, Error::HeartbeatTimeout),
            }
        }
    }
}

/// What `tick` found due.
enum Due {
    Expired,
    TimedOut,
    Stalled,
    Silent(u64),
}
