//! The history of a run, in the order of time, as JSON lines.

use serde::{Deserialize, Serialize};

/// One entry of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Microseconds since the start of the run, on one clock for all entries.
    pub at: u64,
    /// The event.
    #[serde(flatten)]
    pub what: Event,
}

/// An event. Sessions are identified by their `member_id`, which is never reused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Event {
    /// The first entry: the parameters of the run.
    Run {
        /// Seed, which replays the run.
        seed: u64,
        /// Versions of server and clients, for the report.
        versions: String,
        /// Signals planned. With less than half of them a run proves nothing.
        planned_signals: u64,
        /// Faults planned.
        planned_faults: u64,
        /// Resume window of the server, in microseconds.
        resume_window: u64,
    },
    /// A client opened a session.
    Opened {
        /// The session.
        session: String,
        /// Its room.
        room: String,
        /// The other members in the welcome.
        roster: Vec<String>,
        /// The session of a page, which gets responses on another connection than its stream.
        page: bool,
    },
    /// A client learned that its session ended, or left.
    Over {
        /// The session.
        session: String,
        /// The reason that it received, or `LEFT`.
        reason: String,
    },
    /// A client is about to send a signal.
    Sent {
        /// The sender.
        session: String,
        /// The addressee; empty: all others, at least those in the roster of the client.
        to: String,
        /// Number of the signal, which rises in a session.
        number: u64,
        /// Hash of the payload.
        hash: u64,
    },
    /// A client learned the outcome of a signal.
    Settled {
        /// The sender.
        session: String,
        /// The addressee; empty: all addressees of a signal to all without another outcome.
        to: String,
        /// Number of the signal.
        number: u64,
        /// The outcome.
        outcome: Outcome,
    },
    /// A signal reached the application of a client, without duplicates that the library dropped.
    Delivered {
        /// The receiver.
        session: String,
        /// The sender as the server names it.
        from: String,
        /// The sender in the payload.
        claimed: String,
        /// Number of the signal in the payload.
        number: u64,
        /// Hash of the received payload.
        hash: u64,
    },
    /// A client received the join of a member.
    SawJoin {
        /// The client's session.
        session: String,
        /// The new member.
        member: String,
    },
    /// A client received the leave of a member.
    SawLeave {
        /// The client's session.
        session: String,
        /// The member.
        member: String,
        /// The reason.
        reason: String,
    },
    /// A client received the whole roster in a `Resumed`.
    SawRoster {
        /// The client's session.
        session: String,
        /// The others.
        roster: Vec<String>,
    },
    /// A client lost its stream.
    Suspended {
        /// The session.
        session: String,
    },
    /// A client resumed its session.
    Resumed {
        /// The session.
        session: String,
    },
    /// The roster of a client at the quiet end of the run.
    Final {
        /// The session.
        session: String,
        /// The others.
        roster: Vec<String>,
    },
    /// The nemesis caused a fault.
    Fault {
        /// The kind of fault.
        kind: String,
        /// Number of connections, bytes or processes affected. 0: none.
        effect: u64,
    },
    /// The server confirmed to an operator that it has ended a session.
    Ended {
        /// The session.
        session: String,
        /// The reason.
        reason: String,
    },
    /// The server process ended or was killed. Its sessions are lost, which clients learn when they reconnect.
    ServerLost,
    /// A metric of the server.
    Gauge {
        /// Its name.
        name: String,
        /// Its value.
        value: u64,
        /// Its limit; 0: none.
        limit: u64,
    },
}

/// The outcome of a signal, as its sender knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server accepted it for a live session.
    Accepted,
    /// It was not delivered, for this reason.
    Undelivered(String),
    /// The session of the sender ended before it learned the outcome.
    Unknown,
}
