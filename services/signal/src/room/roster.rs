//! Who is in a room, and what was counted in it.

use prost::Message;
use signalbox_proto::v1::Member;

use super::{Room, count::Counts, id::MemberId, session::Session};

impl Room {
    /// The members, in join order.
    pub fn members(&self) -> Vec<Member> {
        self.roster(|_| true)
    }

    /// How many members there are.
    pub fn member_count(&self) -> usize {
        self.sessions.len()
    }

    /// The member of that id.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.sessions.get(&id).map(|session| &session.member)
    }

    /// How many members have a stream, and how many are suspended.
    pub fn presence(&self) -> (usize, usize) {
        let connected = self.sessions.values().filter(|session| session.is_connected()).count();
        (connected, self.sessions.len() - connected)
    }

    /// What happened since the room was opened.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Bytes that wait for or are kept for the member's streams.
    pub fn kept_bytes(&self, id: MemberId) -> Option<usize> {
        self.sessions.get(&id).map(Session::kept_bytes)
    }

    /// Bytes that are held at least: of what members say of themselves, and of what is kept for that one for whom most
    /// is; others may share those.
    pub fn held_bytes(&self) -> usize {
        let said: usize = self.sessions.values().map(|session| session.member.encoded_len()).sum();
        said + self.sessions.values().map(Session::kept_bytes).max().unwrap_or_default()
    }

    pub(super) fn others(&self, id: MemberId) -> Vec<Member> {
        self.roster(|other| other != id)
    }

    fn roster(&self, include: impl Fn(MemberId) -> bool) -> Vec<Member> {
        let included = self.sessions.iter().filter(|(id, _)| include(**id));
        let mut members: Vec<_> = included.map(|(_, session)| session.member.clone()).collect();
        members.sort_unstable_by_key(|member| member.join_order);
        members
    }
}
