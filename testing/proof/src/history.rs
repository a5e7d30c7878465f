//! What is noted of a run, in the order of time, as JSON lines.

use serde::{Deserialize, Serialize};

/// One note. Times are microseconds since the run began, on one clock for all who note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What is noted. A session is named by its `member_id`, which is never reused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// The first note: what the run is about.
    Run {
        /// Replays the run.
        seed: u64,
        /// Versions of server and clients, for people.
        versions: String,
        /// Signals that the run meant to send; fewer than half is no run.
        planned_signals: u64,
        /// Faults that the run meant to cause.
        planned_faults: u64,
        /// The server's resume window, in microseconds.
        resume_window: u64,
    },
    /// A client's session was opened.
    Opened {
        /// The session.
        session: String,
        /// Its room.
        room: String,
        /// Who else was there, by the welcome.
        roster: Vec<String>,
        /// It is a page's: what it says is answered on another connection than the one on which it hears.
        page: bool,
    },
    /// A client knows that its session is over: it left, or was told, or could not resume.
    Over {
        /// The session.
        session: String,
        /// The reason that it was given, or `LEFT`.
        reason: String,
    },
    /// A client is about to send a signal.
    Sent {
        /// The sender.
        session: String,
        /// The addressee; empty: all others, who are at least those that the client knows of.
        to: String,
        /// Number of the signal; it rises from signal to signal of a session.
        number: u64,
        /// Hash of the payload.
        hash: u64,
    },
    /// A client knows what became of a signal.
    Settled {
        /// The sender.
        session: String,
        /// The addressee; empty: those of a signal to all of whom nothing else was said before.
        to: String,
        /// Number of the signal.
        number: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// A signal reached the application, after the client library dropped what it had seen before.
    Delivered {
        /// The receiver.
        session: String,
        /// The sender as the server says.
        from: String,
        /// The sender as the payload says.
        claimed: String,
        /// Number of the signal, by the payload.
        number: u64,
        /// Hash of the payload as it arrived.
        hash: u64,
    },
    /// A client was told that somebody joined.
    SawJoin {
        /// The client's session.
        session: String,
        /// Who joined.
        member: String,
    },
    /// A client was told that somebody's session ended.
    SawLeave {
        /// The client's session.
        session: String,
        /// Whose.
        member: String,
        /// Why.
        reason: String,
    },
    /// A client was told the whole roster anew, by a resume.
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
    /// At the quiet end of the run: the roster as a client has it.
    Final {
        /// The session.
        session: String,
        /// The others.
        roster: Vec<String>,
    },
    /// The nemesis caused a fault and saw what it did.
    Fault {
        /// What kind.
        kind: String,
        /// How many connections, bytes or processes it hit. 0: it had no effect.
        effect: u64,
    },
    /// The server was told to end a session, and answered that it has.
    Ended {
        /// The session.
        session: String,
        /// With what reason.
        reason: String,
    },
    /// The server's process ended or was killed: sessions that it held are over, and their clients learn it when they
    /// come back.
    ServerLost,
    /// A figure of the server's.
    Gauge {
        /// Which.
        name: String,
        /// Its value.
        value: u64,
        /// What it must not pass; 0 = only for the report.
        limit: u64,
    },
}

/// What became of a signal, as its sender knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in the room's log, addressed to a live session.
    Accepted,
    /// It was definitely not delivered, for this reason.
    Undelivered(String),
    /// The sender's session ended before the server said.
    Unknown,
}
