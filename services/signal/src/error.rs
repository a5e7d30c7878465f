//! The errors of the service, and the one place that makes gRPC statuses of them. Clients branch on code and reason
//! (signal.proto has the table); the text is for people and says what to do.

use std::time::Duration;

use signalbox_proto::{ERROR_DOMAIN, reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::memory;

/// What can go wrong in a call or on a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A room name that is not one.
    #[error("room name must be 1 to 64 of A-Z, a-z, 0-9, '_' and '-'")]
    InvalidRoomName {
        /// Path of the field that held it.
        field: &'static str,
    },
    /// A field that breaks a rule.
    #[error("{field}: {problem}")]
    InvalidMessage {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A message that could not be decoded, or is larger than the server reads.
    #[error("{problem}")]
    Unreadable {
        /// `INVALID_ARGUMENT` or `OUT_OF_RANGE`; anything else is a lost connection, which nobody sees.
        code: Code,
        /// What is wrong with it.
        problem: String,
    },
    /// A join or resume in a stream that has a session.
    #[error("this stream already has a session: open another stream to join or resume")]
    AlreadyJoined,
    /// Nothing came on a new stream.
    #[error("no join or resume came within {0:?} of the stream's opening")]
    JoinTimeout(Duration),
    /// A service that another port of this server has.
    #[error("{service} is not served at this port: call it at the address of --admin-listen")]
    NotServedHere {
        /// The service's full name.
        service: &'static str,
    },
    /// There is no token, or one that is not accepted.
    #[error("the token is not accepted: {0}")]
    TokenInvalid(&'static str),
    /// A token whose time is over.
    #[error("the token has expired: get a new one")]
    TokenExpired,
    /// A token that is not for this room.
    #[error("the token does not allow this")]
    RoomForbidden,
    /// Too many attempts, or too many that failed.
    #[error("too many attempts: wait before the next")]
    RateLimited(Duration),
    /// The room is closed to newcomers.
    #[error("the room is locked: nobody new may join")]
    RoomLocked,
    /// The room needs a passcode, and this was not it.
    #[error("the room needs a passcode, and this is not it")]
    PasscodeWrong,
    /// The identity is banned from the room.
    #[error("this identity may not join the room")]
    Banned,
    /// The room is watched enough.
    #[error("the room has {0} watches already, which is the most")]
    TooManyWatches(usize),
    /// The settings are not what the change was based on.
    #[error("the room has changed: get it again, and base the change on its etag")]
    EtagMismatch,
    /// No such room, and joins do not create any.
    #[error("there is no such room")]
    RoomNotFound,
    /// A room of that name exists.
    #[error("a room of that name exists")]
    RoomExists,
    /// All seats are taken.
    #[error("the room is full: it has {0} seats")]
    RoomFull(u32),
    /// The identity is in the room, which does not let it in twice.
    #[error("somebody of that identity is in the room")]
    IdentityTaken,
    /// Nobody of that id is in the room.
    #[error("there is no such member in the room")]
    NoSuchMember,
    /// The session is over, or never was.
    #[error("the session is gone: join again and renegotiate")]
    SessionGone,
    /// A client number was skipped.
    #[error("seq jumped: expected {expected}; resume and send again from there")]
    SeqGap {
        /// The number that was expected.
        expected: u64,
    },
    /// A newer stream carries the session.
    #[error("a newer stream carries this session")]
    Fenced,
    /// The identity joined again.
    #[error("the same identity joined again")]
    Replaced,
    /// Removed by an operator.
    #[error("removed from the room")]
    Removed,
    /// The room was closed.
    #[error("the room was closed")]
    RoomClosed,
    /// The client does not read.
    #[error("too much was left unread: join again, and read all the time")]
    SlowConsumer,
    /// A browser session fell silent.
    #[error("nothing was sent for too long: resume, and send heartbeats")]
    HeartbeatTimeout,
    /// The server stops.
    #[error("the server is stopping: resume after the given time")]
    Draining(Duration),
    /// The store cannot be reached.
    #[error("the room store cannot be reached: try again")]
    StoreUnavailable,
    /// The process has as much memory as it may.
    #[error("the server has no memory for more members: try again after the given time")]
    ServerFull,
}

impl Error {
    /// An `InvalidMessage`.
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidMessage { field, problem: problem.into() }
    }

    /// Code and reason.
    pub fn code(&self) -> (Code, &'static str) {
        match self {
            Self::InvalidRoomName { .. } => (Code::InvalidArgument, reason::INVALID_ROOM_NAME),
            Self::InvalidMessage { .. } => (Code::InvalidArgument, reason::INVALID_MESSAGE),
            Self::Unreadable { code, .. } => (*code, reason::INVALID_MESSAGE),
            Self::AlreadyJoined => (Code::InvalidArgument, reason::ALREADY_JOINED),
            Self::JoinTimeout(_) => (Code::DeadlineExceeded, reason::JOIN_TIMEOUT),
            Self::NotServedHere { .. } => (Code::PermissionDenied, reason::NOT_SERVED_HERE),
            Self::TokenInvalid(_) => (Code::Unauthenticated, reason::TOKEN_INVALID),
            Self::TokenExpired => (Code::Unauthenticated, reason::TOKEN_EXPIRED),
            Self::RoomForbidden | Self::Banned => (Code::PermissionDenied, reason::ROOM_FORBIDDEN),
            Self::RateLimited(_) => (Code::ResourceExhausted, reason::RATE_LIMITED),
            Self::RoomLocked => (Code::PermissionDenied, reason::ROOM_LOCKED),
            Self::PasscodeWrong => (Code::Unauthenticated, reason::PASSCODE_WRONG),
            Self::TooManyWatches(_) => (Code::ResourceExhausted, reason::TOO_MANY_WATCHES),
            Self::EtagMismatch => (Code::Aborted, reason::ETAG_MISMATCH),
            Self::RoomNotFound => (Code::NotFound, reason::ROOM_NOT_FOUND),
            Self::RoomExists => (Code::AlreadyExists, reason::ROOM_EXISTS),
            Self::RoomFull(_) => (Code::ResourceExhausted, reason::ROOM_FULL),
            Self::IdentityTaken => (Code::AlreadyExists, reason::IDENTITY_TAKEN),
            Self::NoSuchMember => (Code::NotFound, reason::NO_SUCH_MEMBER),
            Self::SessionGone => (Code::NotFound, reason::SESSION_GONE),
            Self::SeqGap { .. } => (Code::FailedPrecondition, reason::SEQ_GAP),
            Self::Fenced => (Code::Aborted, reason::FENCED),
            Self::Replaced => (Code::Aborted, reason::REPLACED),
            Self::Removed => (Code::Aborted, reason::REMOVED),
            Self::RoomClosed => (Code::Aborted, reason::ROOM_CLOSED),
            Self::SlowConsumer => (Code::ResourceExhausted, reason::SLOW_CONSUMER),
            Self::HeartbeatTimeout => (Code::Unavailable, reason::HEARTBEAT_TIMEOUT),
            Self::Draining(_) => (Code::Unavailable, reason::DRAINING),
            Self::StoreUnavailable => (Code::Unavailable, reason::STORE_UNAVAILABLE),
            Self::ServerFull => (Code::ResourceExhausted, reason::SERVER_FULL),
        }
    }

    /// When a retry may help.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Draining(after) | Self::RateLimited(after) => Some(*after),
            Self::StoreUnavailable => Some(Duration::from_secs(2)),
            Self::ServerFull => Some(memory::RETRY),
            _ => None,
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason) = error.code();
        let text = error.to_string();
        let mut details = ErrorDetails::new();
        let mut metadata = std::collections::HashMap::new();
        match &error {
            Error::InvalidRoomName { field } => {
                details.add_bad_request_violation(*field, text.clone());
            }
            Error::InvalidMessage { field, problem } => {
                details.add_bad_request_violation(*field, problem.clone());
            }
            Error::Unreadable { problem, .. } => {
                details.add_bad_request_violation("message", problem.clone());
            }
            Error::SeqGap { expected } => {
                metadata.insert("expected_seq".to_owned(), expected.to_string());
            }
            _ => {}
        }
        details.set_error_info(reason, ERROR_DOMAIN, metadata);
        if let Some(after) = error.retry_after() {
            details.set_retry_info(Some(after));
        }
        Status::with_error_details(code, text, details)
    }
}
