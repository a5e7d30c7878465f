//! Acks and `undelivered` reports to one client.
//!
//! On `Exchange` both leave on the stream, in an order that keeps every report before the ack that covers it. On
//! `Subscribe` they are in the response to `Send`, and only the memory for repeated messages is needed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use signalbox_proto::v1::Undelivered;

use crate::{error::Error, limits::Limits, mailbox::Full};

/// An ack leaves at most this long after the message that it acknowledges...
const ACK_DELAY: Duration = Duration::from_millis(50);
/// ... or after this many messages, whichever comes first.
const ACK_EVERY: u32 = 32;
/// Reports on unnumbered messages that may wait for the stream. The client's window bounds those on numbered ones.
const MAX_UNNUMBERED: usize = 1024;

/// What to do with a message, by its sequence number.
pub(crate) enum SeqCheck {
    /// Handle it.
    New,
    /// It was handled before, with this outcome.
    Repeated(Vec<Undelivered>),
}

/// The outcomes of a client's messages, and which of them the stream has sent.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// Whether the attached stream sends acks and reports.
    is_streamed: bool,
    /// Highest client `seq` handled.
    handled: u64,
    /// Reports that the client may ask for again, oldest first. The stream has sent the first `sent` of them.
    reports: VecDeque<Undelivered>,
    sent: usize,
    /// Highest message with a report that any stream has sent.
    highest_sent: u64,
    /// Highest ack that the stream has sent.
    acked: u64,
    ack_due: Option<Instant>,
    unacked: u32,
}

impl Outcomes {
    pub(crate) fn new(is_streamed: bool) -> Self {
        Self {
            is_streamed,
            handled: 0,
            reports: VecDeque::new(),
            sent: 0,
            highest_sent: 0,
            acked: 0,
            ack_due: None,
            unacked: 0,
        }
    }

    /// Highest client message that was handled.
    pub(crate) fn handled(&self) -> u64 {
        self.handled
    }

    /// Checks the sequence number of a message before it is handled.
    pub(crate) fn check(&mut self, now: Instant, seq: u64) -> Result<SeqCheck, Error> {
        if seq == 0 || seq == self.handled + 1 {
            return Ok(SeqCheck::New);
        }
        if seq > self.handled {
            return Err(Error::SeqGap { expected: self.handled + 1 });
        }
        let repeated: Vec<_> = self.reports.iter().filter(|report| report.client_seq == seq).cloned().collect();
        if self.is_streamed && !repeated.is_empty() {
            self.sent = 0;
        }
        // The client sends again because it has not received the ack.
        self.acked = self.acked.min(seq - 1);
        self.schedule_ack(now);
        Ok(SeqCheck::Repeated(repeated))
    }

    /// Records the outcome of a message. `Full`: too many reports wait for the client to read them.
    pub(crate) fn record(
        &mut self,
        now: Instant,
        seq: u64,
        undelivered: &[Undelivered],
        limits: &Limits,
    ) -> Result<(), Full> {
        if seq != 0 || self.is_streamed {
            self.reports.extend(undelivered.iter().cloned());
        }
        if seq != 0 {
            self.handled = self.handled.max(seq);
            self.schedule_ack(now);
        }
        // A client that respects its window cannot ask again for an older one.
        let window = u64::from(limits.max_unacked);
        while let Some(oldest) =
            self.reports.front().filter(|r| r.client_seq != 0 && r.client_seq + window <= self.handled)
        {
            if self.is_streamed && oldest.client_seq > self.highest_sent {
                return Err(Full);
            }
            self.reports.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        let unnumbered = if seq == 0 { self.reports.iter().filter(|r| r.client_seq == 0).count() } else { 0 };
        if unnumbered > MAX_UNNUMBERED { Err(Full) } else { Ok(()) }
    }

    fn schedule_ack(&mut self, now: Instant) {
        self.unacked += 1;
        if self.unacked >= ACK_EVERY {
            self.ack_due = Some(now);
        } else {
            self.ack_due.get_or_insert(now + ACK_DELAY);
        }
    }

    /// Whether the stream must be polled: to send a report, to arm the timer of an ack, or because one is due.
    pub(crate) fn wants_stream(&self) -> bool {
        self.is_streamed && (self.sent < self.reports.len() || self.unacked == 1 || self.unacked == ACK_EVERY)
    }

    /// The next report for the stream.
    pub(crate) fn next_report(&mut self) -> Option<Undelivered> {
        if !self.is_streamed {
            return None;
        }
        let report = self.reports.get(self.sent)?.clone();
        if report.client_seq == 0 {
            // A client cannot ask again about an unnumbered message.
            self.reports.remove(self.sent);
        } else {
            self.highest_sent = self.highest_sent.max(report.client_seq);
            self.sent += 1;
        }
        Some(report)
    }

    /// When the stream must send an ack, if it has not sent it by then.
    pub(crate) fn ack_due(&self) -> Option<Instant> {
        self.ack_due.filter(|_| self.is_streamed && self.handled > self.acked)
    }

    /// The ack to send now; 0 = none. Called when no report waits, so no report follows the ack that covers it.
    pub(crate) fn take_ack(&mut self) -> u64 {
        if !self.is_streamed || self.handled <= self.acked {
            return 0;
        }
        self.acked = self.handled;
        self.unacked = 0;
        self.ack_due = None;
        self.acked
    }

    /// Starts again on a new stream. The old one may have lost any report or ack, so all of them are sent again.
    pub(crate) fn resume(&mut self, now: Instant, is_streamed: bool) {
        self.is_streamed = is_streamed;
        self.sent = 0;
        self.acked = 0;
        self.unacked = 0;
        self.ack_due = (self.handled > 0).then_some(now);
    }

    /// Continues without a stream. Reports on unnumbered messages were for the lost stream only.
    pub(crate) fn suspend(&mut self) {
        self.is_streamed = false;
        self.reports.retain(|report| report.client_seq != 0);
        self.sent = self.sent.min(self.reports.len());
    }
}
