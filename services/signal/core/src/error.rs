//! Errors that end a room's streams or fail calls to a room.

use signalbox_proto::reason;

/// Why a room rejects a call or ends a stream. Each error text documents its variant; `field` is the path of the
/// invalid field.
#[allow(missing_docs)]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("invalid room name: use 1 to 64 of A-Z a-z 0-9 _ -")]
    InvalidRoomName { field: &'static str },
    #[error("{field}: {problem}")]
    InvalidMessage { field: &'static str, problem: String },
    #[error("{problem}")]
    Unreadable { is_too_large: bool, problem: String },
    #[error("this stream already has a session: open another stream to join or resume")]
    AlreadyJoined,
    #[error("the token has expired: get a new one")]
    TokenExpired,
    #[error("the room is locked and takes no new members")]
    RoomLocked,
    #[error("missing or wrong passcode: send the room's passcode in join.passcode")]
    PasscodeWrong,
    #[error("this identity is banned from the room")]
    Banned,
    #[error("watcher limit ({0}) reached: end another watch of this room first")]
    TooManyWatches(usize),
    #[error("the room is full: it has {0} members, its max_members")]
    RoomFull(u32),
    #[error("identity already in use in this room")]
    IdentityTaken,
    #[error("no member with that id is in the room")]
    NoSuchMember,
    #[error("the session is gone: join again and renegotiate")]
    SessionGone,
    #[error("gap in seq: expected {expected}; resume and send again from there")]
    SeqGap { expected: u64 },
    #[error("a newer stream is attached to this session")]
    Fenced,
    #[error("the same identity joined again")]
    Replaced,
    #[error("removed from the room")]
    Removed,
    #[error("the room was closed")]
    RoomClosed,
    #[error("too many unread messages: join again, and keep reading")]
    SlowConsumer,
    #[error("no message for too long: resume, and send heartbeats")]
    HeartbeatTimeout,
    #[error("the server is stopping: resume after the given time")]
    Draining,
}

impl Error {
    /// Creates an [`Error::InvalidMessage`].
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidMessage { field, problem: problem.into() }
    }

    /// Returns the stable reason that clients branch on.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidRoomName { .. } => reason::INVALID_ROOM_NAME,
            Self::InvalidMessage { .. } | Self::Unreadable { .. } => reason::INVALID_MESSAGE,
            Self::AlreadyJoined => reason::ALREADY_JOINED,
            Self::TokenExpired => reason::TOKEN_EXPIRED,
            Self::RoomLocked => reason::ROOM_LOCKED,
            Self::PasscodeWrong => reason::PASSCODE_WRONG,
            Self::Banned => reason::ROOM_FORBIDDEN,
            Self::TooManyWatches(_) => reason::TOO_MANY_WATCHES,
            Self::RoomFull(_) => reason::ROOM_FULL,
            Self::IdentityTaken => reason::IDENTITY_TAKEN,
            Self::NoSuchMember => reason::NO_SUCH_MEMBER,
            Self::SessionGone => reason::SESSION_GONE,
            Self::SeqGap { .. } => reason::SEQ_GAP,
            Self::Fenced => reason::FENCED,
            Self::Replaced => reason::REPLACED,
            Self::Removed => reason::REMOVED,
            Self::RoomClosed => reason::ROOM_CLOSED,
            Self::SlowConsumer => reason::SLOW_CONSUMER,
            Self::HeartbeatTimeout => reason::HEARTBEAT_TIMEOUT,
            Self::Draining => reason::DRAINING,
        }
    }
}
