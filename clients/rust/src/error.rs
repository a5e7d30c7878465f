//! The client's errors.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::policy::{self, Step};

/// Why a session failed to open, or ended permanently.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The server URL is invalid. Holds the URL and the problem.
    #[error("invalid server URL {0}")]
    Address(String),
    /// The PEM text contains no valid root certificate.
    #[error("invalid root certificates: use one or more certificates in PEM")]
    Certificate,
    /// The server rejected the call, or the connection failed. Branch on `code` and `reason` (see the table in
    /// signal.proto), never on `message`.
    #[error("{message} ({code:?}/{reason})")]
    Refused {
        /// The gRPC status code.
        code: Code,
        /// `ErrorInfo.reason`; empty if the server sent none.
        reason: String,
        /// Human-readable description.
        message: String,
        /// How long the server asks the client to wait before a retry (`RetryInfo`).
        retry_after: Option<Duration>,
        /// The HTTP status, if a proxy or the server's request filter answered without a gRPC status.
        http_status: Option<u16>,
    },
    /// The application's token function failed, or returned an invalid token.
    #[error("failed to get a token: {0}")]
    NoToken(String),
    /// The server violated the contract.
    #[error("protocol violation by the server: {0}")]
    Protocol(&'static str),
}

impl Error {
    /// Returns the server's reason, or an empty string if the server sent none.
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } => reason,
            Self::Address(_) | Self::Certificate | Self::NoToken(_) | Self::Protocol(_) => "",
        }
    }

    /// Returns whether a retry of the call may succeed.
    pub fn is_temporary(&self) -> bool {
        policy::after_join(self) == Step::Rejoin
    }

    /// Returns how long the server asks the client to wait before a retry.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Address(_) | Self::Certificate | Self::NoToken(_) | Self::Protocol(_) => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        Self::Refused {
            code: status.code(),
            reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            http_status: http_status(&status),
        }
    }
}

/// Returns the HTTP status from which tonic inferred a gRPC status. Only the text of the status has it.
fn http_status(status: &Status) -> Option<u16> {
    let (_, number) = status.message().rsplit_once("mapped from HTTP status code ")?;
    number.get(..3)?.parse().ok()
}
