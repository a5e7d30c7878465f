//! Why a session could not be opened, or ended.

use signalbox_proto::reason::{RATE_LIMITED, SERVER_FULL};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a session could not be opened, or ended for good.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error("not a server address: {0}")]
    Address(String),
    /// What was given as certificates holds none.
    #[error("not a certificate in PEM")]
    Certificate,
    /// The server said no. Branch on code and reason (signal.proto has the table), never on the text.
    #[error("{message} ({code:?}/{reason})")]
    Refused {
        /// The gRPC code.
        code: Code,
        /// `ErrorInfo.reason`; empty when the server gave none.
        reason: String,
        /// For people.
        message: String,
    },
    /// The application's function gave no token.
    #[error("no token: {0}")]
    NoToken(String),
    /// The server broke its contract.
    #[error("the server did not keep to the protocol: {0}")]
    Protocol(&'static str),
}

impl Error {
    /// The reason, where the server gave one.
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason, .. } => reason,
            Self::Address(_) | Self::Certificate | Self::NoToken(_) | Self::Protocol(_) => "",
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            // Lost connections come as Unknown, Internal or Cancelled, depending on where they were cut.
            Self::Refused { code, reason, .. } => match code {
                Code::Unavailable | Code::DeadlineExceeded => true,
                Code::Unknown | Code::Internal | Code::Cancelled => reason.is_empty(),
                Code::ResourceExhausted => reason == RATE_LIMITED || reason == SERVER_FULL,
                _ => false,
            },
            // The application's server has its troubles, too.
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
