//! A client that applies `Welcome`, `Resumed` and entries like the client libraries. It checks what an application
//! sees, independently of the model's expectations.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_proto::v1::MemberState;

use crate::model::Entry;

pub(crate) type Roster = BTreeMap<String, MemberState>;

/// The client of one session.
pub(crate) struct Client {
    /// The roster of the web client, which keeps members missing from a snapshot until their leave arrives.
    web: Roster,
    stale: BTreeSet<String>,
    replay_left: u64,
    /// The roster of an application on the Rust client, which replaces the roster with each snapshot.
    native: Roster,
    /// Addressees of this client's accepted signals.
    addressed: BTreeSet<String>,
    /// Members whose leave has arrived.
    left: BTreeSet<String>,
}

impl Client {
    pub(crate) fn welcome(members: Roster) -> Self {
        Self {
            web: members.clone(),
            stale: BTreeSet::new(),
            replay_left: 0,
            native: members,
            addressed: BTreeSet::new(),
            left: BTreeSet::new(),
        }
    }

    pub(crate) fn resumed(&mut self, replayed: u64, members: &Roster) {
        self.replay_left = replayed;
        self.stale = self.web.keys().filter(|id| !members.contains_key(*id)).cloned().collect();
        self.web.extend(members.clone());
        self.native.clone_from(members);
        self.check_stale();
    }

    /// Applies an entry. `None` is a duplicate, which the client drops.
    pub(crate) fn receive(&mut self, entry: Option<&Entry>) {
        match entry {
            Some(Entry::Joined(id)) => self.put(id, MemberState::Connected),
            Some(Entry::Updated(id, state)) => self.put(id, *state),
            Some(Entry::Left(id, _)) => {
                self.web.remove(id);
                self.stale.remove(id);
                self.native.remove(id);
                assert!(self.left.insert(id.clone()), "member left twice");
            }
            Some(Entry::Signal { from, .. }) => assert!(self.web.contains_key(from), "signal of a non-member"),
            None => {}
        }
        if self.replay_left > 0 {
            self.replay_left -= 1;
            self.check_stale();
        }
    }

    fn put(&mut self, id: &str, state: MemberState) {
        assert!(!self.left.contains(id), "entry about a member after its leave");
        self.stale.remove(id);
        self.web.insert(id.to_owned(), state);
        self.native.insert(id.to_owned(), state);
    }

    /// Checks that the replay contains the leave of every stale member. After the replay, the web client would remove a
    /// stale member without a reason.
    fn check_stale(&self) {
        assert!(self.replay_left > 0 || self.stale.is_empty(), "members without a leave: {:?}", self.stale);
    }

    /// Records that the room accepted a signal to `to`.
    pub(crate) fn accepted(&mut self, to: String) {
        self.addressed.insert(to);
    }

    /// Checks a client that has received everything: its rosters equal `members`, and it has the leave of every
    /// addressee that is gone.
    pub(crate) fn check(&self, members: &Roster) {
        assert_eq!(&self.web, members, "roster of a web client");
        assert_eq!(&self.native, members, "roster of a Rust client");
        for id in &self.addressed {
            assert!(members.contains_key(id) || self.left.contains(id), "no leave of addressee {id}");
        }
    }
}
