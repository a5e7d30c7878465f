//! Why a room rejects a call or ends a stream.

use signalbox_proto::reason;

/// Why a room rejects a call or ends a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A room name breaks the rules of [`RoomName`](crate::id::RoomName).
    #[error("invalid room name: use 1 to 64 of A-Z a-z 0-9 _ -")]
    InvalidRoomName {
        /// Path of the field that holds it.
        field: &'static str,
    },
    /// A field breaks a rule.
    #[error("{field}: {problem}")]
    InvalidMessage {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A message could not be decoded, or is larger than the transport reads.
    #[error("{problem}")]
    Unreadable {
        /// Whether its size is the problem.
        is_too_large: bool,
        /// What is wrong with it.
        problem: String,
    },
    /// A join or resume on a stream that has a session.
    #[error("this stream already has a session: open another stream to join or resume")]
    AlreadyJoined,
    /// The session's permit has ended.
    #[error("the token has expired: get a new one")]
    TokenExpired,
    /// The room takes no new members.
    #[error("the room is locked and takes no new members")]
    RoomLocked,
    /// The room needs a passcode, and none or a wrong one was given.
    #[error("missing or wrong passcode: send the room's passcode in join.passcode")]
    PasscodeWrong,
    /// The identity is banned from the room.
    #[error("this identity is banned from the room")]
    Banned,
    /// The room has as many watchers as it may have.
    #[error("watcher limit ({0}) reached: end another watch of this room first")]
    TooManyWatches(usize),
    /// The room has as many members as it may have.
    #[error("the room is full: it has {0} members, its max_members")]
    RoomFull(u32),
    /// Another member has the identity, and the room does not allow duplicates.
    #[error("identity already in use in this room")]
    IdentityTaken,
    /// No member has that id.
    #[error("no member with that id is in the room")]
    NoSuchMember,
    /// The session has ended, or never existed.
    #[error("the session is gone: join again and renegotiate")]
    SessionGone,
    /// A client skipped a sequence number.
    #[error("gap in seq: expected {expected}; resume and send again from there")]
    SeqGap {
        /// The expected number.
        expected: u64,
    },
    /// A newer stream is attached to the session.
    #[error("a newer stream is attached to this session")]
    Fenced,
    /// The identity joined again.
    #[error("the same identity joined again")]
    Replaced,
    /// An operator removed the member.
    #[error("removed from the room")]
    Removed,
    /// The room was closed.
    #[error("the room was closed")]
    RoomClosed,
    /// The client does not read fast enough.
    #[error("too many unread messages: join again, and keep reading")]
    SlowConsumer,
    /// A session on `Subscribe` sent nothing for too long.
    #[error("no message for too long: resume, and send heartbeats")]
    HeartbeatTimeout,
    /// The server is stopping.
    #[error("the server is stopping: resume after the given time")]
    Draining,
}

impl Error {
    /// An [`Error::InvalidMessage`].
    pub fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::InvalidMessage { field, problem: problem.into() }
    }

    /// The stable reason that clients branch on.
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
