//! The client's errors.

use signalbox_proto::reason::{RATE_LIMITED, SERVER_FULL};
use tonic::{Code, Status};
use tonic_types::StatusExt;

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
        match self {
            // A lost connection surfaces as Unknown, Internal or Cancelled, depending on where it broke.
            Self::Refused { code, reason, .. } => match code {
                Code::Unavailable | Code::DeadlineExceeded => true,
                Code::Unknown | Code::Internal | Code::Cancelled => reason.is_empty(),
                Code::ResourceExhausted => reason == RATE_LIMITED || reason == SERVER_FULL,
                _ => false,
            },
            // The application server that issues tokens may be down.
            Self::NoToken(_) => true,
            Self::Address(_) | Self::Certificate | Self::Protocol(_) => false,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        Self::Refused { code: status.code(), reason, message: status.message().to_owned() }
    }
}
