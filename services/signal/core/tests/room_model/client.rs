//! What a client knows. It applies `Welcome`, `Resumed` and every entry as the client libraries do, so it judges what
//! an application sees, whatever the model thinks that the server should send.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_proto::v1::MemberState;

use crate::model::News;

pub(crate) type Roster = BTreeMap<String, MemberState>;

/// The client of one session.
pub(crate) struct Client {
    /// As the web client keeps it: members that a snapshot no longer has stay until their leave.
    web: Roster,
    stale: BTreeSet<String>,
    replay_left: u64,
    /// As applications of the Rust client keep it: a snapshot replaces it.
    native: Roster,
    /// Members for whom a signal of this client was accepted.
    addressed: BTreeSet<String>,
    /// Members whose leave it received.
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

    /// An entry arrived; `news` unless it is a repetition, which the client drops.
    pub(crate) fn entry(&mut self, news: Option<&News>) {
        match news {
            Some(News::Joined(id)) => self.put(id, MemberState::Connected),
            Some(News::Updated(id, state)) => self.put(id, *state),
            Some(News::Left(id, _)) => {
                self.web.remove(id);
                self.stale.remove(id);
                self.native.remove(id);
                assert!(self.left.insert(id.clone()), "a member left twice");
            }
            Some(News::Signal { from, .. }) => assert!(self.web.contains_key(from), "a signal of a non-member"),
            None => {}
        }
        if self.replay_left > 0 {
            self.replay_left -= 1;
            self.check_stale();
        }
    }

    fn put(&mut self, id: &str, state: MemberState) {
        assert!(!self.left.contains(id), "news of a member after its leave");
        self.stale.remove(id);
        self.web.insert(id.to_owned(), state);
        self.native.insert(id.to_owned(), state);
    }

    /// After the replay the web client removes stale members itself, without a reason: the server owes it theirs.
    fn check_stale(&self) {
        assert!(self.replay_left > 0 || self.stale.is_empty(), "members without a leave: {:?}", self.stale);
    }

    /// A signal for that member was accepted.
    pub(crate) fn accepted(&mut self, to: String) {
        self.addressed.insert(to);
    }

    /// The client has received everything: it knows exactly `members`, and the end of every addressee that is gone.
    pub(crate) fn check(&self, members: &Roster) {
        assert_eq!(&self.web, members, "the roster of a web client");
        assert_eq!(&self.native, members, "the roster of a Rust client");
        for id in &self.addressed {
            assert!(members.contains_key(id) || self.left.contains(id), "the end of addressee {id} was silent");
        }
    }
}
