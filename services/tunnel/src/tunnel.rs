//! Opens the control connection to the tunnel server, which announces visitors' connections on it.

use std::{fmt, net::SocketAddr, time::Duration};

use bore_cli::client::Client;
use tokio::time;

/// Deadline for opening a tunnel, including name resolution. bore allows 3 s for each step.
const OPEN_TIMEOUT: Duration = Duration::from_secs(8);

/// Why a tunnel failed to open.
#[derive(Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The requested public port is taken.
    PortTaken(u16),
    /// Any other failure, as text.
    Other(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken(port) => write!(f, "public port {port} is taken"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// Opens a tunnel from a public port of `tunnel_server` to `local`. Port 0 requests any port.
pub async fn open(
    tunnel_server: &str,
    port: u16,
    local: SocketAddr,
    secret: Option<&str>,
) -> Result<Client, OpenError> {
    let host = local.ip().to_string();
    let opening = Client::new(&host, local.port(), tunnel_server, port, secret);
    match time::timeout(OPEN_TIMEOUT, opening).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(open_error(port, tunnel_server, &format!("{error:#}"))),
        Err(_) => Err(OpenError::Other(format!("{tunnel_server} does not respond"))),
    }
}

/// Classifies an error of bore by its text, since bore has no error codes.
fn open_error(port: u16, tunnel_server: &str, error: &str) -> OpenError {
    if error.contains("port already in use") {
        return OpenError::PortTaken(port);
    }
    OpenError::Other(match error {
        error if error.contains("invalid secret") => {
            "the tunnel server rejected the secret: set BORE_SECRET to the right one".to_owned()
        }
        error if error.contains("no client secret was provided") => {
            "the tunnel server requires a secret: set BORE_SECRET".to_owned()
        }
        error if error.contains("no secret was required") => {
            "the tunnel server uses no secret: unset BORE_SECRET".to_owned()
        }
        error if error.contains("not in allowed range") => {
            format!("public port {port} is outside the tunnel server's range: choose another with --port")
        }
        error if error.contains("timed out waiting") => format!("{tunnel_server} does not respond"),
        error => error.replace("server error: ", "tunnel server error: "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_say_what_to_do() {
        assert_eq!(open_error(20001, "bore.test", "server error: port already in use"), OpenError::PortTaken(20001));
        for (error, expected) in [
            ("server error: invalid secret", "set BORE_SECRET"),
            ("server requires authentication, but no client secret was provided", "set BORE_SECRET"),
            ("expected authentication challenge, but no secret was required", "unset BORE_SECRET"),
            ("server error: client port number not in allowed range", "--port"),
            ("timed out waiting for initial message: deadline has elapsed", "bore.test does not respond"),
            ("could not connect to bore.test:7835: Connection refused", "Connection refused"),
        ] {
            let text = open_error(20001, "bore.test", error).to_string();
            assert!(text.contains(expected), "{error}: {text}");
        }
    }
}
