//! Sent messages that the server has not acknowledged yet.

use std::collections::VecDeque;

use signalbox_proto::v1::{ClientMessage, Undelivered};
use tokio::sync::oneshot;

use crate::session::Outcome;

/// Numbered messages in flight, oldest first. The driver allows at most `Limits.max_unacked`.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    in_flight: VecDeque<InFlight>,
    last_seq: u64,
}

#[derive(Debug)]
struct InFlight {
    message: ClientMessage,
    undelivered: Vec<Undelivered>,
    outcome: oneshot::Sender<Outcome>,
}

impl Outbox {
    /// Assigns the next sequence number to a message and stores a copy for resends. Returns the message to send.
    pub(crate) fn add(&mut self, mut message: ClientMessage, outcome: oneshot::Sender<Outcome>) -> ClientMessage {
        self.last_seq += 1;
        message.seq = self.last_seq;
        self.in_flight.push_back(InFlight { message: message.clone(), undelivered: Vec::new(), outcome });
        message
    }

    /// Returns the number of messages in flight.
    pub(crate) fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Records an `undelivered` report. Ignores duplicates, because the server repeats reports after a resume.
    pub(crate) fn record_undelivered(&mut self, report: Undelivered) {
        let entry = self.in_flight.iter_mut().find(|entry| entry.message.seq == report.client_seq);
        if let Some(entry) = entry.filter(|entry| !entry.undelivered.contains(&report)) {
            entry.undelivered.push(report);
        }
    }

    /// Settles all messages up to `ack`. Their reports are complete, because the server sends `undelivered` before it
    /// acknowledges.
    pub(crate) fn settle(&mut self, ack: u64) {
        while self.in_flight.front().is_some_and(|entry| entry.message.seq <= ack) {
            let Some(entry) = self.in_flight.pop_front() else { return };
            let outcome = match entry.undelivered {
                reports if reports.is_empty() => Outcome::Accepted,
                reports => Outcome::Undelivered(reports),
            };
            // The application may have dropped the `Receipt`.
            drop(entry.outcome.send(outcome));
        }
    }

    /// Returns the messages to resend after a resume: those above the server's `ack`.
    pub(crate) fn unacknowledged(&self, ack: u64) -> impl Iterator<Item = ClientMessage> + '_ {
        self.in_flight.iter().map(|entry| &entry.message).filter(move |message| message.seq > ack).cloned()
    }

    /// Gives every message the outcome `Unknown` and restarts the numbering for the next session.
    pub(crate) fn abandon(&mut self) {
        for entry in self.in_flight.drain(..) {
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
    fn ack_settles_messages_and_abandon_makes_the_rest_unknown() {
        let mut outbox = Outbox::default();
        let mut outcomes: Vec<_> = (0..3).map(|_| add(&mut outbox)).collect();
        outbox.record_undelivered(report(2));
        outbox.record_undelivered(report(2));
        outbox.settle(2);
        assert_eq!(outcomes[0].try_recv(), Ok(Outcome::Accepted));
        assert_eq!(outcomes[1].try_recv(), Ok(Outcome::Undelivered(vec![report(2)])));
        assert!(outcomes[2].try_recv().is_err());
        assert_eq!(outbox.unacknowledged(2).map(|m| m.seq).collect::<Vec<_>>(), [3]);
        assert_eq!(outbox.unacknowledged(3).count(), 0);
        assert_eq!(outbox.len(), 1);
        outbox.abandon();
        assert_eq!(outcomes[2].try_recv(), Ok(Outcome::Unknown));
        add(&mut outbox);
        assert_eq!(outbox.unacknowledged(0).map(|m| m.seq).collect::<Vec<_>>(), [1]);
    }
}
