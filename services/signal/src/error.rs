//! The errors of calls and streams. `rpc/status.rs` maps them to gRPC statuses.

use std::time::Duration;

pub use signalbox_core::Error as RoomError;
use signalbox_proto::reason;

/// Retry delay for calls that a draining server rejects. Streams get a random delay instead.
const RETRY_DRAINING: Duration = Duration::from_secs(1);
/// Retry delay for calls that the store did not answer.
const RETRY_STORE: Duration = Duration::from_secs(2);
/// Retry delay for joins that the memory limit rejects.
const RETRY_FULL: Duration = Duration::from_secs(5);

/// Why a call or stream fails. The error texts document the variants.
#[allow(missing_docs)]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error("no join or resume within {0:?}: send one as the first message of a stream")]
    JoinTimeout(Duration),
    #[error("{service} is not served here: call it at the address of --admin-listen")]
    NotServedHere { service: &'static str },
    #[error("invalid token: {0}")]
    TokenInvalid(&'static str),
    #[error("the token does not allow this: use one for this room")]
    RoomForbidden,
    #[error("too many attempts: retry after the given time")]
    RateLimited(Duration),
    #[error("etag mismatch: get the room again and base the change on its etag")]
    EtagMismatch,
    #[error("room not found: create it first")]
    RoomNotFound,
    #[error("a room with that name exists: choose another name, or update the room")]
    RoomExists,
    #[error("the room store is unavailable: retry after the given time")]
    StoreUnavailable,
    #[error("the server is full: retry after the given time")]
    ServerFull,
    #[error("the server is stopping: resume after the given time")]
    Draining(Duration),
}

impl Error {
    /// Creates a [`RoomError::InvalidMessage`].
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        RoomError::invalid(field, problem).into()
    }

    /// Returns the stable reason that clients branch on.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Room(error) => error.reason(),
            Self::JoinTimeout(_) => reason::JOIN_TIMEOUT,
            Self::NotServedHere { .. } => reason::NOT_SERVED_HERE,
            Self::TokenInvalid(_) => reason::TOKEN_INVALID,
            Self::RoomForbidden => reason::ROOM_FORBIDDEN,
            Self::RateLimited(_) => reason::RATE_LIMITED,
            Self::EtagMismatch => reason::ETAG_MISMATCH,
            Self::RoomNotFound => reason::ROOM_NOT_FOUND,
            Self::RoomExists => reason::ROOM_EXISTS,
            Self::StoreUnavailable => reason::STORE_UNAVAILABLE,
            Self::ServerFull => reason::SERVER_FULL,
            Self::Draining(_) => reason::DRAINING,
        }
    }

    /// Returns the delay after which a retry may succeed.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Draining(after) | Self::RateLimited(after) => Some(*after),
            Self::Room(RoomError::Draining) => Some(RETRY_DRAINING),
            Self::StoreUnavailable => Some(RETRY_STORE),
            Self::ServerFull => Some(RETRY_FULL),
            _ => None,
        }
    }
}
