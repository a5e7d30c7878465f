//! Core logic of a room: a synchronous state machine without I/O. The caller passes in the time and random bits.
//!
//! No call blocks. The [`Room`] collects wakers, and the caller wakes them after it releases the lock around the room.
//!
//! | module | job |
//! |---|---|
//! | [`room`] | [`Room`]: sessions open, resume and end |
//! | `inbound` | client messages: [`Room::handle`] |
//! | `stream` | server messages: [`Room::poll`], lost and broken streams |
//! | `timers` | session timeouts and the retention of entries: [`Room::tick`] |
//! | `session` | one member's session and its attached stream |
//! | `outcomes` | acks and `undelivered` reports to one client |
//! | `sequencer`, `mailbox` | numbered, encoded entries, and the queue of each session |
//! | [`policy`] | who may join: [`Policy`] |
//! | [`permit`] | what a session may do, and until when: [`Permit`] |
//! | [`roster`] | the members of a room |
//! | [`watch`] | events for operators: [`Room::watch`] |
//! | `report` | connection reports of members |
//! | [`relay`] | the filter of `relay_only` rooms |
//! | [`count`] | counters for metrics and records |
//! | [`limits`], [`bucket`] | limits, and the token bucket for rates |
//! | [`id`] | room names, member ids and session secrets |
//! | [`error`] | why a room rejects a call or ends a stream |

pub mod bucket;
pub mod count;
pub mod error;
pub mod id;
mod inbound;
pub mod limits;
mod mailbox;
mod outcomes;
pub mod permit;
pub mod policy;
pub mod relay;
mod report;
pub mod room;
pub mod roster;
mod sequencer;
mod session;
mod stream;
mod timers;
pub mod watch;

pub use self::{
    bucket::{Rate, TokenBucket},
    error::Error,
    inbound::{Handled, Via},
    limits::Limits,
    permit::{Permit, TokenId},
    policy::Policy,
    room::{Newcomer, Room, SessionStart},
    session::{Frame, StreamKind},
    stream::{End, Next},
    watch::WatchNext,
};
