//! What time does to sessions.

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

/// What is due for a session.
enum Due {
    PermitOver,
    WindowOver,
    Stalled,
    Silent(u64),
}

impl Room {
    /// Does what is due: ends sessions whose permit or resume window is over or whose stream stalls, suspends silent
    /// sessions on `Subscribe`, and drops entries that no resume can ask for.
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
