//! Operations of application servers and operators, and the events of a watch.

use std::{sync::Arc, task::Waker, time::Duration};

use signalbox_core::{Error, Policy, Via, WatchNext};
use signalbox_proto::v1::{
    ClientMessage, ConnectionReport, DuplicateIdentity, LeaveReason, MemberJoined, MemberUpdated,
    client_message::Body as ClientBody, room_event::Event,
};

use crate::world::World;

impl World {
    /// Changes the policy. Present members stay in the room.
    pub(crate) fn set_policy(&mut self, max_members: u32, locked: bool, duplicate: DuplicateIdentity, passcode: u8) {
        self.policy = Policy {
            max_members,
            locked,
            duplicate_identity: duplicate,
            passcode_hash: hash(passcode),
            ..self.policy.clone()
        };
        self.room.set_policy(self.policy.clone());
    }

    /// Bans an identity and removes all of its sessions, as the server does.
    pub(crate) fn ban(&mut self, identity: u8, time: Duration) {
        let identity = name(identity);
        if identity.is_empty() {
            return;
        }
        self.policy.bans.insert(identity.clone(), self.now + time);
        self.room.set_policy(self.policy.clone());
        self.room.remove_identity(self.now, &identity);
        let mut named: Vec<_> = self.live.iter().filter(|s| s.identity == identity).map(|s| s.id).collect();
        named.sort_unstable();
        for id in named {
            let index = self.live.iter().position(|s| s.id == id).unwrap();
            self.end(index, LeaveReason::Removed, Some(Error::Removed));
        }
    }

    pub(crate) fn report(&mut self, member: usize, peer: usize) {
        let (Some(member), Some(peer)) = (self.pick(member), self.pick(peer)) else { return };
        let (id, peer) = (self.live[member].id, self.live[peer].id);
        let report = ConnectionReport {
            peer: peer.to_string(),
            connection_state: "connected".to_owned(),
            ..ConnectionReport::default()
        };
        let message = ClientMessage { body: Some(ClientBody::Report(report)), ..ClientMessage::default() };
        assert!(self.room.handle(self.now, id, Via::Unary, message).unwrap().undelivered.is_empty());
        if id != peer && self.connected_pairs.insert([id, peer].into()) {
            self.counts.calls += 1;
        }
    }

    /// Processes all waiting events of the watch.
    pub(crate) fn drain_watch(&mut self) {
        loop {
            let event = match self.room.poll_watch(self.watch, Waker::noop()) {
                WatchNext::Event(_, event) => event,
                WatchNext::Wait | WatchNext::End(Error::RoomClosed) => return,
                end => panic!("{end:?}"),
            };
            match event.event.clone().unwrap() {
                Event::MemberJoined(MemberJoined { member: Some(member) }) => {
                    let state = member.state();
                    assert!(self.watched.insert(member.member_id, state).is_none());
                }
                Event::MemberUpdated(MemberUpdated { member: Some(member) }) => {
                    let state = member.state();
                    assert!(self.watched.insert(member.member_id, state).is_some());
                }
                Event::MemberLeft(left) => assert!(self.watched.remove(&left.member_id).is_some()),
                Event::Signal(signal) => {
                    assert_eq!(event.seq > 0, signal.undelivered_reason.is_empty() && self.live.len() > 1, "{event:?}");
                }
                Event::Connection(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Returns the name of an identity. 0 is anonymous and never collides.
pub(crate) fn name(identity: u8) -> String {
    if identity == 0 { String::new() } else { format!("user-{identity}") }
}

/// Returns the hash of a passcode. 0 means no passcode.
pub(crate) fn hash(passcode: u8) -> Option<Arc<str>> {
    (passcode > 0).then(|| format!("hash {passcode}").into())
}
