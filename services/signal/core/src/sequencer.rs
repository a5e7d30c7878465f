//! Numbers and encodes the entries of a room.

use bytes::Bytes;
use prost::Message;
use signalbox_proto::v1::{ServerMessage, server_message::Body};

use crate::id::MemberId;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Joined(MemberId),
    Updated(MemberId),
    Left(MemberId),
    SignalFrom(MemberId),
}

/// A numbered event of a room. All mailboxes share its encoded bytes.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) subject: Subject,
    /// The encoded `ServerMessage` without `ack`, which each stream appends.
    pub(crate) bytes: Bytes,
}

/// Assigns the sequence numbers of a room's entries.
#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    head: u64,
}

impl Sequencer {
    /// Returns the sequence number of the newest entry, or 0 if there is none.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Encodes the next entry. Only [`commit`](Self::commit) uses up its sequence number.
    pub(crate) fn draft(&self, subject: Subject, negotiation: u64, body: Body) -> Entry {
        let seq = self.head + 1;
        let from = if let Subject::SignalFrom(id) = subject { id.to_string() } else { String::new() };
        let message = ServerMessage { seq, ack: 0, from, negotiation, body: Some(body) };
        Entry { seq, subject, bytes: message.encode_to_vec().into() }
    }

    /// Makes a draft the newest entry, which uses up its sequence number.
    pub(crate) fn commit(&mut self, entry: &Entry) {
        debug_assert_eq!(entry.seq, self.head + 1, "a draft is committed before the next one is made");
        self.head = entry.seq;
    }
}
