//! Signals and data between members.

use std::collections::BTreeSet;

use signalbox_core::{Error, Via, id::MemberId};
use signalbox_proto::v1::{ClientMessage, Data, SessionDescription, client_message::Body as ClientBody};

use crate::{
    model::Entry,
    world::{MAILBOX_ENTRIES, Numbering, To, World},
};

impl World {
    pub(crate) fn signal(&mut self, from: usize, to: &To, numbering: Numbering) {
        let Some(from) = self.pick(from) else { return };
        let (sender, handled) = (self.live[from].id, self.live[from].handled);
        let target = match to {
            To::Member(member) => self.pick(*member),
            To::Empty => (self.live.len() == 2).then(|| 1 - from),
            To::Unknown => None,
        };
        let to_text = match to {
            To::Member(_) => self.live[target.unwrap()].id.to_string(),
            To::Empty => String::new(),
            To::Unknown => MemberId::new([255; 12]).to_string(),
        };
        let seq = match numbering {
            Numbering::Next => handled + 1,
            Numbering::Again if handled > 0 => handled,
            Numbering::Again | Numbering::None => 0,
            Numbering::Gap => handled + 2,
        };
        self.texts += 1;
        let text = format!("signal {}", self.texts);
        let offer = ClientBody::Offer(SessionDescription { sdp: text.clone() });
        let message = ClientMessage { seq, to: to_text, body: Some(offer), ..ClientMessage::default() };
        let result = self.room.handle(self.now, sender, Via::Unary, message);

        if seq > handled + 1 {
            assert_eq!(result.err(), Some(Error::SeqGap { expected: handled + 1 }));
            return;
        }
        let outcome = result.unwrap();
        let reasons: Vec<_> = outcome.undelivered.iter().map(|u| u.reason.as_str()).collect();
        if seq != 0 && seq <= handled {
            // A repeated message repeats its outcome and has no other effect.
            assert_eq!(!reasons.is_empty(), self.live[from].failed.contains(&seq));
            assert_eq!(outcome.ack, handled);
            let failed = self.live[from].failed.clone();
            if failed.contains(&seq) && self.live[from].is_connected() {
                self.live[from].unreported = failed;
            }
            self.live[from].last_ack = self.live[from].last_ack.min(seq - 1);
            return;
        }
        let expected = match target {
            None if matches!(to, To::Empty) => vec!["TARGET_REQUIRED"],
            None => vec!["NO_SUCH_MEMBER"],
            Some(target) if target == from => vec!["NO_SUCH_MEMBER"],
            Some(target) if !self.live[target].fits(MAILBOX_ENTRIES) => vec!["MAILBOX_FULL"],
            Some(target) => {
                self.head += 1;
                let entry = Entry::Signal { from: sender.to_string(), text };
                self.counts.accepted[0] += 1;
                self.deliver(target, entry, MAILBOX_ENTRIES);
                self.accepted(from, target);
                vec![]
            }
        };
        assert_eq!(reasons, expected);
        expected.iter().for_each(|reason| self.count_undelivered(reason));
        self.live[from].settle(seq, !expected.is_empty(), outcome.ack);
    }

    pub(crate) fn data_to_all(&mut self, from: usize) {
        let Some(from) = self.pick(from) else { return };
        let (sender, seq) = (self.live[from].id, self.live[from].handled + 1);
        self.texts += 1;
        let text = format!("data {}", self.texts);
        let data = ClientBody::Data(Data { text: text.clone(), ..Data::default() });
        let message = ClientMessage { seq, body: Some(data), ..ClientMessage::default() };
        let outcome = self.room.handle(self.now, sender, Via::Unary, message).unwrap();

        let (open, full): (Vec<_>, Vec<_>) =
            (0..self.live.len()).filter(|i| *i != from).partition(|i| self.live[*i].fits(MAILBOX_ENTRIES));
        if !open.is_empty() {
            self.head += 1;
        }
        for index in open {
            let entry = Entry::Signal { from: sender.to_string(), text: text.clone() };
            self.counts.accepted[3] += 1;
            self.deliver(index, entry, MAILBOX_ENTRIES);
            self.accepted(from, index);
        }
        let undelivered: BTreeSet<_> = outcome.undelivered.iter().map(|u| u.to.clone()).collect();
        assert_eq!(undelivered, full.iter().map(|i| self.live[*i].id.to_string()).collect());
        full.iter().for_each(|_| self.count_undelivered("MAILBOX_FULL"));
        self.live[from].settle(seq, !full.is_empty(), outcome.ack);
    }

    /// Records an accepted signal: the sender's client must now receive the leave of the addressee.
    fn accepted(&mut self, from: usize, to: usize) {
        let to = self.live[to].id.to_string();
        let sender = &mut self.live[from];
        sender.known = self.head;
        sender.client.accepted(to);
    }
}
