//! The roster: the members of a room.

use signalbox_proto::v1::Member;

use crate::{id::MemberId, room::Room};

impl Room {
    /// Returns the members in join order.
    pub fn members(&self) -> Vec<Member> {
        self.roster(|_| true)
    }

    /// Returns the number of members.
    pub fn member_count(&self) -> usize {
        self.sessions.len()
    }

    /// Returns the member with this id.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.sessions.get(&id).map(|session| &session.member)
    }

    /// Returns the number of connected and the number of suspended members.
    pub fn presence(&self) -> (usize, usize) {
        let connected = self.sessions.values().filter(|session| session.is_connected()).count();
        (connected, self.sessions.len() - connected)
    }

    pub(crate) fn others(&self, id: MemberId) -> Vec<Member> {
        self.roster(|other| other != id)
    }

    fn roster(&self, is_included: impl Fn(MemberId) -> bool) -> Vec<Member> {
        let included = self.sessions.iter().filter(|(id, _)| is_included(**id));
        let mut members: Vec<_> = included.map(|(_, session)| session.member.clone()).collect();
        members.sort_unstable_by_key(|member| member.join_order);
        members
    }
}
