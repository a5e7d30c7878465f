//! What the client has said and the server has not settled yet.

use std::collections::VecDeque;

use signalbox_proto::v1::{ClientMessage, Undelivered};
use tokio::sync::oneshot;

use crate::session::Outcome;

/// Numbered messages in flight, oldest first. Bounded by the driver, which takes no more than `Limits.max_unacked`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    unsettled: VecDeque<Unsettled>,
    last_seq: u64,
}

#[derive(Debug)]
struct Unsettled {
    message: ClientMessage,
    undelivered: Vec<Undelivered>,
    outcome: oneshot::Sender<Outcome>,
}

impl Outbox {
    /// Numbers a message and keeps it; gives the copy to send.
    pub(crate) fn add(&mut self, mut message: ClientMessage, outcome: oneshot::Sender<Outcome>) -> ClientMessage {
        self.last_seq += 1;
        message.seq = self.last_seq;
        self.unsettled.push_back(Unsettled { message: message.clone(), undelivered: Vec::new(), outcome });
        message
    }

    /// How many are in flight.
    pub(crate) fn len(&self) -> usize {
        self.unsettled.len()
    }

    /// The server reported a message. Reports are repeated after a resume.
    pub(crate) fn undelivered(&mut self, report: Undelivered) {
        let entry = self.unsettled.iter_mut().find(|entry| entry.message.seq == report.client_seq);
        if let Some(entry) = entry.filter(|entry| !entry.undelivered.contains(&report)) {
            entry.undelivered.push(report);
        }
    }

    /// Everything up to `seq` was handled, and reported before this if it was not delivered.
    pub(crate) fn settle(&mut self, seq: u64) {
        while self.unsettled.front().is_some_and(|entry| entry.message.seq <= seq) {
            let Some(entry) = self.unsettled.pop_front() else { return };
            let outcome = match entry.undelivered {
                reports if reports.is_empty() => Outcome::Accepted,
                reports => Outcome::Undelivered(reports),
            };
            // Nobody may care.
            drop(entry.outcome.send(outcome));
        }
    }

    /// What must be sent again after a resume: all that the server has not handled.
    pub(crate) fn after(&self, handled: u64) -> impl Iterator<Item = ClientMessage> + '_ {
        self.unsettled.iter().map(|entry| &entry.message).filter(move |message| message.seq > handled).cloned()
    }

    /// The session is gone: what became of these will never be known. The next session counts from 1.
    pub(crate) fn abandon(&mut self) {
        for entry in self.unsettled.drain(..) {
            drop(entry.outcome.send(Outcome::Unknown));
        }
        self.last_seq = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(outbox: &mut Outbox) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        outbox.add(ClientMessage::default(), sender);
        receiver
    }

    fn report(client_seq: u64) -> Undelivered {
        Undelivered { client_seq, reason: "MAILBOX_FULL".to_owned(), ..Undelivered::default() }
    }

    #[test]
    fn an_ack_settles_what_was_not_reported_before_it() {
        let mut outbox = Outbox::default();
        let mut outcomes: Vec<_> = (0..3).map(|_| add(&mut outbox)).collect();
        outbox.undelivered(report(2));
        outbox.undelivered(report(2));
        outbox.settle(2);
        assert_eq!(outcomes[0].try_recv(), Ok(Outcome::Accepted));
        assert_eq!(outcomes[1].try_recv(), Ok(Outcome::Undelivered(vec![report(2)])));
        assert!(outcomes[2].try_recv().is_err());
        assert_eq!(outbox.after(2).map(|m| m.seq).collect::<Vec<_>>(), [3]);
        assert_eq!(outbox.after(3).count(), 0);
        assert_eq!(outbox.len(), 1);
        outbox.abandon();
        assert_eq!(outcomes[2].try_recv(), Ok(Outcome::Unknown));
        add(&mut outbox);
        assert_eq!(outbox.after(0).map(|m| m.seq).collect::<Vec<_>>(), [1]);
    }
}
