//! The only mapping of errors to gRPC statuses. Clients branch on code and reason (signal.proto has the table), never
//! on the text.

use std::collections::HashMap;

use signalbox_proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::{Error, RoomError};

fn code(error: &Error) -> Code {
    match error {
        Error::Room(error) => room_code(error),
        Error::JoinTimeout(_) => Code::DeadlineExceeded,
        Error::NotServedHere { .. } | Error::RoomForbidden => Code::PermissionDenied,
        Error::TokenInvalid(_) => Code::Unauthenticated,
        Error::RateLimited(_) | Error::ServerFull => Code::ResourceExhausted,
        Error::EtagMismatch => Code::Aborted,
        Error::RoomNotFound => Code::NotFound,
        Error::RoomExists => Code::AlreadyExists,
        Error::StoreUnavailable | Error::Draining(_) => Code::Unavailable,
    }
}

fn room_code(error: &RoomError) -> Code {
    match error {
        RoomError::Unreadable { is_too_large: true, .. } => Code::OutOfRange,
        RoomError::InvalidRoomName { .. }
        | RoomError::InvalidMessage { .. }
        | RoomError::Unreadable { .. }
        | RoomError::AlreadyJoined => Code::InvalidArgument,
        RoomError::TokenExpired | RoomError::PasscodeWrong => Code::Unauthenticated,
        RoomError::RoomLocked | RoomError::Banned => Code::PermissionDenied,
        RoomError::TooManyWatches(_) | RoomError::RoomFull(_) | RoomError::SlowConsumer => Code::ResourceExhausted,
        RoomError::IdentityTaken => Code::AlreadyExists,
        RoomError::NoSuchMember | RoomError::SessionGone => Code::NotFound,
        RoomError::SeqGap { .. } => Code::FailedPrecondition,
        RoomError::Fenced | RoomError::Replaced | RoomError::Removed | RoomError::RoomClosed => Code::Aborted,
        RoomError::HeartbeatTimeout | RoomError::Draining => Code::Unavailable,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let mut details = ErrorDetails::new();
        let mut metadata = HashMap::new();
        match &error {
            Error::Room(RoomError::InvalidRoomName { field }) => {
                details.add_bad_request_violation(*field, text.clone());
            }
            Error::Room(RoomError::InvalidMessage { field, problem }) => {
                details.add_bad_request_violation(*field, problem.clone());
            }
            Error::Room(RoomError::Unreadable { problem, .. }) => {
                details.add_bad_request_violation("message", problem.clone());
            }
            Error::Room(RoomError::SeqGap { expected }) => {
                metadata.insert("expected_seq".to_owned(), expected.to_string());
            }
            _ => {}
        }
        details.set_error_info(error.reason(), ERROR_DOMAIN, metadata);
        if let Some(after) = error.retry_after() {
            details.set_retry_info(Some(after));
        }
        Status::with_error_details(code(&error), text, details)
    }
}

/// Converts the status of a message that cannot be read. A lost connection yields the same error, but no client
/// receives it.
pub(super) fn unreadable(status: &Status) -> RoomError {
    let is_too_large = status.code() == Code::OutOfRange;
    RoomError::Unreadable { is_too_large, problem: status.message().to_owned() }
}
