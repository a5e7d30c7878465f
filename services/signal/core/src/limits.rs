//! The limits that a room enforces.

use std::{collections::HashMap, time::Duration};

/// Limits of one room's live state; the defaults are those of signal.proto. Sizes are bytes of UTF-8.
#[derive(Debug, Clone)]
pub struct Limits {
    /// One encoded `ClientMessage`.
    pub message_bytes: usize,
    /// One SDP.
    pub sdp_bytes: usize,
    /// One candidate-attribute.
    pub candidate_bytes: usize,
    /// A member's attributes or a room's labels, keys and values together.
    pub attributes_bytes: usize,
    /// Entries of a member's attributes or a room's labels.
    pub attributes: usize,
    /// Identity, display name, passcode, each.
    pub name_bytes: usize,
    /// Topic of a `Data`.
    pub topic_bytes: usize,
    /// Signals per second and session, on average.
    pub signals_per_second: u32,
    /// Signals that a session may send at once.
    pub signal_burst: u32,
    /// Entries that may wait in one mailbox before signals to it are rejected.
    pub mailbox_entries: usize,
    /// Bytes that may wait in one mailbox before signals to it are rejected.
    pub mailbox_bytes: usize,
    /// How long an attached stream may leave entries waiting without taking any.
    pub stall_timeout: Duration,
    /// How long a session may be without a stream.
    pub resume_window: Duration,
    /// Longest silence of the server on a stream.
    pub heartbeat_interval: Duration,
    /// Numbered client messages in flight; outcomes of at least this many are remembered.
    pub max_unacked: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 128 * 1024,
            sdp_bytes: 64 * 1024,
            candidate_bytes: 4 * 1024,
            attributes_bytes: 4 * 1024,
            attributes: 64,
            name_bytes: 256,
            topic_bytes: 128,
            signals_per_second: 50,
            signal_burst: 512,
            mailbox_entries: 1024,
            mailbox_bytes: 512 * 1024,
            stall_timeout: Duration::from_secs(10),
            resume_window: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(15),
            max_unacked: 256,
        }
    }
}

impl Limits {
    /// Silence after which a session on `Subscribe` counts as lost. No HTTP/2 PING detects that its client is dead.
    pub fn silence_timeout(&self) -> Duration {
        2 * self.heartbeat_interval + Duration::from_secs(5)
    }

    /// How long taken entries are kept for a replay: as long as a dead stream may stay undetected, plus the resume
    /// window.
    pub fn retention(&self) -> Duration {
        self.silence_timeout() + self.resume_window
    }

    /// Whether attributes or labels are within their limits.
    pub fn fits_map(&self, map: &HashMap<String, String>) -> bool {
        let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
        bytes <= self.attributes_bytes && map.len() <= self.attributes
    }
}
