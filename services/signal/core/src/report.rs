//! Connection reports: the state of members' peer connections.

use std::time::Instant;

use signalbox_proto::v1::{ConnectionReport, ConnectionReported, room_event::Event};

use crate::{id::MemberId, room::Room};

impl Room {
    /// Forwards a connection report to watchers. Counts a connection between two sessions once, even if both report it
    /// repeatedly.
    pub(crate) fn report(&mut self, now: Instant, id: MemberId, report: ConnectionReport) {
        let peer = MemberId::parse(&report.peer).filter(|peer| *peer != id && self.sessions.contains_key(peer));
        if report.connection_state == "connected"
            && let Some(peer) = peer
            && !self.sessions.get(&peer).is_some_and(|other| other.reported_peers.contains(&id))
            && self.sessions.get_mut(&id).is_some_and(|session| session.reported_peers.insert(peer))
        {
            self.counts.calls += 1;
        }
        if !self.watchers.is_empty()
            && let Some(session) = self.sessions.get(&id)
        {
            let since_join = now.saturating_duration_since(session.joined).try_into().ok();
            let reported = ConnectionReported { from: id.to_string(), report: Some(report), since_join };
            self.notify_watchers(now, 0, Event::Connection(reported));
        }
    }
}
