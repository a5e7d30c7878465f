//! Timers: session timeouts and the retention of entries.

#[cfg(test)]
mod tests;

use std::time::Instant;

use signalbox_proto::v1::LeaveReason;

use crate::{
    error::Error,
    room::{Phase, Room},
    session::{Presence, StreamKind},
    stream::End,
};

/// A timeout of a session that has fired.
enum Due {
    PermitOver,
    WindowOver,
    Stalled,
    Silent(u64),
}

impl Room {
    /// Runs the timers of all sessions: expired permits and resume windows, stalled and silent streams, and the
    /// retention of entries.
    pub fn tick(&mut self, now: Instant) {
        if self.phase != Phase::Open {
            return;
        }
        let (silence, stall, retention) =
            (self.limits.silence_timeout(), self.limits.stall_timeout, self.limits.retention());
        let mut due = Vec::new();
        for (id, session) in &mut self.sessions {
            if session.permit.is_over(now) {
                due.push((*id, Due::PermitOver));
                continue;
            }
            match session.presence {
                Presence::SuspendedUntil(until) if until <= now => due.push((*id, Due::WindowOver)),
                Presence::SuspendedUntil(_) => {}
                Presence::Connected(_) if session.is_stalled(now, stall) => due.push((*id, Due::Stalled)),
                Presence::Connected(StreamKind::Subscribe)
                    if now.saturating_duration_since(session.last_received) > silence =>
                {
                    due.push((*id, Due::Silent(session.generation)));
                }
                Presence::Connected(_) => session.expire(now, retention),
            }
        }
        for (id, what) in due {
            match what {
                Due::PermitOver => self.end(now, id, LeaveReason::TimedOut, End::Fault(Error::TokenExpired)),
                Due::WindowOver => self.end(now, id, LeaveReason::TimedOut, End::Fault(Error::SessionGone)),
                Due::Stalled => self.end(now, id, LeaveReason::SlowConsumer, End::Fault(Error::SlowConsumer)),
                Due::Silent(generation) => self.break_stream(now, id, generation, Error::HeartbeatTimeout),
            }
        }
    }
}
