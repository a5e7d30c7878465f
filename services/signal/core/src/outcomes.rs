//! Acks and `undelivered` reports to one client.
//!
//! On `Exchange`, the stream sends every report before the ack that covers it. On `Subscribe`, the response to `Send`
//! contains both, and this module only remembers the outcomes of repeated messages.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use signalbox_proto::v1::Undelivered;

use crate::{error::Error, limits::Limits, mailbox::Full};

/// Maximum delay of an ack after the message that it acknowledges.
const ACK_DELAY: Duration = Duration::from_millis(50);
/// Number of unacknowledged messages after which an ack is due without waiting for [`ACK_DELAY`].
const ACK_EVERY: u32 = 32;
/// Maximum queued reports on unnumbered messages. The client's window bounds the reports on numbered messages.
const MAX_UNNUMBERED: usize = 1024;

/// Result of checking a client's sequence number.
pub(crate) enum SeqCheck {
    /// The message is new and must be handled.
    New,
    /// The room handled the message earlier, with these reports.
    Repeated(Vec<Undelivered>),
}

/// The outcomes of a client's messages, and which of them the stream has sent.
#[derive(Debug)]
pub(crate) struct Outcomes {
    /// Whether the attached stream sends acks and reports.
    is_streamed: bool,
    /// Highest client `seq` handled.
    handled: u64,
    /// Reports to send again if the client repeats their messages, oldest first.
    reports: VecDeque<Undelivered>,
    /// Number of leading reports that the stream has sent.
    sent: usize,
    /// Highest `client_seq` of a report that any stream has sent.
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
        // The client resends because it has not received the ack, so schedule the ack again.
        self.acked = self.acked.min(seq - 1);
        self.schedule_ack(now);
        Ok(SeqCheck::Repeated(repeated))
    }

    /// Records the outcome of a message. Fails with `Full` if the client leaves too many reports unread.
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
        // The client's window limits which messages it may repeat, so drop the reports on older messages.
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

    /// Returns whether to wake the stream: to send a report or a due ack, or to arm the ack timer.
    pub(crate) fn wants_stream(&self) -> bool {
        self.is_streamed && (self.sent < self.reports.len() || self.unacked == 1 || self.unacked == ACK_EVERY)
    }

    /// Returns the next report to send on the stream.
    pub(crate) fn next_report(&mut self) -> Option<Undelivered> {
        if !self.is_streamed {
            return None;
        }
        let report = self.reports.get(self.sent)?.clone();
        if report.client_seq == 0 {
            // A client cannot repeat an unnumbered message, so the room never sends this report again.
            self.reports.remove(self.sent);
        } else {
            self.highest_sent = self.highest_sent.max(report.client_seq);
            self.sent += 1;
        }
        Some(report)
    }

    /// Returns when the stream must send an ack at the latest.
    pub(crate) fn ack_due(&self) -> Option<Instant> {
        self.ack_due.filter(|_| self.is_streamed && self.handled > self.acked)
    }

    /// Returns the ack to send now, or 0 for none. The caller sends all reports first, so that each report precedes the
    /// ack that covers it.
    pub(crate) fn take_ack(&mut self) -> u64 {
        if !self.is_streamed || self.handled <= self.acked {
            return 0;
        }
        self.acked = self.handled;
        self.unacked = 0;
        self.ack_due = None;
        self.acked
    }

    /// Continues on a new stream. The old stream may have lost reports and acks, so the new one sends all of them
    /// again.
    pub(crate) fn resume(&mut self, now: Instant, is_streamed: bool) {
        self.is_streamed = is_streamed;
        self.sent = 0;
        self.acked = 0;
        self.unacked = 0;
        self.ack_due = (self.handled > 0).then_some(now);
    }

    /// Continues without a stream. Drops the reports on unnumbered messages, which only the lost stream could have
    /// sent.
    pub(crate) fn suspend(&mut self) {
        self.is_streamed = false;
        self.reports.retain(|report| report.client_seq != 0);
        self.sent = self.sent.min(self.reports.len());
    }
}
