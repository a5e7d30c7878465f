//! What the client does after an error: the tables of docs/protocol.md, "Reason and action".

use signalbox_proto::reason::{
    DRAINING, FENCED, HEARTBEAT_TIMEOUT, INVALID_MESSAGE, JOIN_TIMEOUT, RATE_LIMITED, SEQ_GAP, SERVER_FULL,
    SESSION_GONE, SLOW_CONSUMER, STORE_UNAVAILABLE, TOKEN_EXPIRED, TOKEN_INVALID,
};
use tonic::Code;

use crate::Error;

/// The next step of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Resume the session.
    Resume,
    /// Join the room again, with a new session.
    Rejoin,
    /// Get another token and repeat the call. Stop if the new token is rejected too.
    RenewToken,
    /// Report the error to the application.
    Stop,
}

/// Returns the step after a stream of an open session ended.
pub(crate) fn after_stream(error: &Error) -> Step {
    match error.reason() {
        // FENCED means that an abandoned resume of this client arrived late, since no other client has the session token.
        DRAINING | FENCED | HEARTBEAT_TIMEOUT | SEQ_GAP => Step::Resume,
        SESSION_GONE | SLOW_CONSUMER | TOKEN_EXPIRED => Step::Rejoin,
        _ => retry(error, Step::Resume),
    }
}

/// Returns the step after a resume was rejected.
pub(crate) fn after_resume(error: &Error) -> Step {
    match error.reason() {
        DRAINING | JOIN_TIMEOUT | RATE_LIMITED => Step::Resume,
        SESSION_GONE | INVALID_MESSAGE => Step::Rejoin,
        TOKEN_INVALID | TOKEN_EXPIRED => Step::RenewToken,
        _ => retry(error, Step::Resume),
    }
}

/// Returns the step after a join was rejected.
pub(crate) fn after_join(error: &Error) -> Step {
    match error.reason() {
        DRAINING | JOIN_TIMEOUT | RATE_LIMITED | SERVER_FULL | STORE_UNAVAILABLE => Step::Rejoin,
        TOKEN_INVALID | TOKEN_EXPIRED => Step::RenewToken,
        _ => retry(error, Step::Rejoin),
    }
}

/// Returns the step after an error without a row of its own: `step` if a repetition may help.
fn retry(error: &Error, step: Step) -> Step {
    let may_help = match error {
        // Without a reason the network or a proxy failed. These HTTP statuses are configuration.
        Error::Refused { reason, http_status, .. } if reason.is_empty() => {
            !matches!(http_status, Some(403 | 415 | 421))
        }
        Error::Refused { code, .. } => matches!(code, Code::Unavailable | Code::DeadlineExceeded),
        // The application server that issues tokens may be down.
        Error::NoToken(_) => true,
        Error::Address(_) | Error::Certificate | Error::Protocol(_) => false,
    };
    if may_help { step } else { Step::Stop }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../../docs/protocol.md");

    fn refused(code: Code, reason: &str, http_status: Option<u16>) -> Error {
        Error::Refused { code, reason: reason.to_owned(), message: String::new(), retry_after: None, http_status }
    }

    fn code(name: &str) -> Code {
        match name {
            "ABORTED" => Code::Aborted,
            "ALREADY_EXISTS" => Code::AlreadyExists,
            "DEADLINE_EXCEEDED" => Code::DeadlineExceeded,
            "FAILED_PRECONDITION" => Code::FailedPrecondition,
            "INVALID_ARGUMENT" => Code::InvalidArgument,
            "NOT_FOUND" => Code::NotFound,
            "OUT_OF_RANGE" => Code::OutOfRange,
            "PERMISSION_DENIED" => Code::PermissionDenied,
            "RESOURCE_EXHAUSTED" => Code::ResourceExhausted,
            "UNAUTHENTICATED" => Code::Unauthenticated,
            "UNAVAILABLE" => Code::Unavailable,
            _ => panic!("unknown code in docs/protocol.md: {name}"),
        }
    }

    /// Returns the errors and the action of each row of the table that follows a heading.
    fn table(heading: &str) -> Vec<(Error, String)> {
        let rows = DOCS.split_once(heading).expect(heading).1.lines().skip_while(|line| !line.starts_with('|'));
        let mut errors = Vec::new();
        for row in rows.skip(2).take_while(|line| line.starts_with('|')) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
            let (mut reasons, mut codes) = (quoted(cells[1]), quoted(cells[2]));
            codes.retain(|name| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'));
            if cells[1].starts_with("none, with HTTP") {
                let statuses = [(403, Code::PermissionDenied), (415, Code::Unknown), (421, Code::Unknown)];
                errors.extend(statuses.map(|(http, code)| (refused(code, "", Some(http)), cells[3].to_owned())));
                continue;
            }
            match cells[1] {
                "none" => reasons.push(String::new()),
                "any other" => reasons.push("OF_A_NEWER_SERVER".to_owned()),
                _ => {}
            }
            let codes: Vec<_> = match codes.is_empty() {
                true if cells[1] == "none" => vec![Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled],
                true => vec![Code::Internal, Code::PermissionDenied],
                false => codes.iter().map(|name| code(name)).collect(),
            };
            for reason in &reasons {
                errors.extend(codes.iter().map(|code| (refused(*code, reason, None), cells[3].to_owned())));
            }
        }
        assert!(errors.len() > 15, "{heading}: {} errors", errors.len());
        errors
    }

    fn check(heading: &str, step: fn(&Error) -> Step) {
        for (error, action) in table(heading) {
            let expected = match action.split([' ', ':', ',']).next().expect("an action") {
                // The documentation allows it for clients that keep their session token.
                "stop" if error.reason() == FENCED => Step::Resume,
                "resume" => Step::Resume,
                "rejoin" | "join" => Step::Rejoin,
                "get" => Step::RenewToken,
                "stop" => Step::Stop,
                other => panic!("unknown action in docs/protocol.md: {other}"),
            };
            assert_eq!(step(&error), expected, "{heading}: {error:?}: {action}");
        }
    }

    #[test]
    fn steps_are_those_of_the_documentation() {
        check("A stream of an open session ended", after_stream);
        check("A `resume` was refused", after_resume);
        check("A `join` was refused", after_join);
    }
}
