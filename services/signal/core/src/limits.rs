//! The limits that a room enforces.

use std::{collections::HashMap, time::Duration};

/// Limits on the live state of a room. The defaults match signal.proto, and sizes are in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum size of an encoded `ClientMessage`.
    pub message_bytes: usize,
    /// Maximum size of an SDP.
    pub sdp_bytes: usize,
    /// Maximum size of a candidate-attribute.
    pub candidate_bytes: usize,
    /// Maximum size of a member's attributes or a room's labels, keys and values together.
    pub attributes_bytes: usize,
    /// Maximum number of a member's attributes or a room's labels.
    pub attributes: usize,
    /// Maximum size of an identity, a display name or a passcode.
    pub name_bytes: usize,
    /// Maximum size of the topic of a `Data`.
    pub topic_bytes: usize,
    /// Signals that a session may send per second, on average.
    pub signals_per_second: u32,
    /// Signals that a session may send in one burst.
    pub signal_burst: u32,
    /// Entries that may wait in a mailbox before the room rejects signals to it.
    pub mailbox_entries: usize,
    /// Bytes that may wait in a mailbox before the room rejects signals to it.
    pub mailbox_bytes: usize,
    /// How long entries may wait while the attached stream takes none.
    pub stall_timeout: Duration,
    /// How long a session survives without a stream.
    pub resume_window: Duration,
    /// Maximum time between two messages from the server on a stream.
    pub heartbeat_interval: Duration,
    /// Maximum unacknowledged client messages. The room remembers the outcomes of at least this many numbered messages.
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
    /// Returns how long a client on `Subscribe` may be silent before its stream counts as lost. Only `Exchange` uses
    /// HTTP/2 PING to detect dead clients.
    pub fn silence_timeout(&self) -> Duration {
        2 * self.heartbeat_interval + Duration::from_secs(5)
    }

    /// Returns how long a mailbox keeps taken entries for a replay: until the server detects a dead stream, plus the
    /// resume window.
    pub fn retention(&self) -> Duration {
        self.silence_timeout() + self.resume_window
    }

    /// Returns whether attributes or labels are within their limits.
    pub fn fits_map(&self, map: &HashMap<String, String>) -> bool {
        let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
        bytes <= self.attributes_bytes && map.len() <= self.attributes
    }
}
