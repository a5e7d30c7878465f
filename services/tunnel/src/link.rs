//! The connection to the tunnel server, over which it tells of visitors.

use std::{fmt, net::SocketAddr, time::Duration};

use bore_cli::client::Client;
use tokio::time;

/// How long it may take to be given a public port, with finding the server; bore itself allows each step 3 s.
const OPEN_TIMEOUT: Duration = Duration::from_secs(8);

/// Why there is no tunnel.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody has the public port that was asked for.
    PortTaken(u16),
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken(port) => write!(f, "public port {port} is taken"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// Opens a tunnel to `local` at the given public port; 0 = any.
pub async fn open(to: &str, port: u16, local: SocketAddr, secret: Option<&str>) -> Result<Client, Refusal> {
    let host = local.ip().to_string();
    let opening = Client::new(&host, local.port(), to, port, secret);
    match time::timeout(OPEN_TIMEOUT, opening).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(refusal(port, to, &format!("{error:#}"))),
        Err(_) => Err(Refusal::Other(format!("{to} does not answer"))),
    }
}

/// bore's errors are texts.
fn refusal(port: u16, to: &str, error: &str) -> Refusal {
    if error.contains("port already in use") {
        return Refusal::PortTaken(port);
    }
    Refusal::Other(match error {
        error if error.contains("invalid secret") => {
            "the tunnel server takes another secret: set BORE_SECRET".to_owned()
        }
        error if error.contains("no client secret was provided") => {
            "the tunnel server asks for a secret: set BORE_SECRET".to_owned()
        }
        error if error.contains("no secret was required") => {
            "the tunnel server asks for no secret: unset BORE_SECRET".to_owned()
        }
        error if error.contains("not in allowed range") => {
            format!("the tunnel server does not give out port {port}: --port takes another")
        }
        error if error.contains("timed out waiting") => format!("{to} does not answer"),
        error => error.replace("server error: ", "the tunnel server says: "),
    })
}

/// A time between these, so that those who were cut off together do not come back together.
pub fn jitter(least: Duration, most: Duration) -> Duration {
    let mut random = [0];
    // Without random bits there is no spread, which is no reason to fail.
    let _ = getrandom::fill(&mut random);
    least + most.saturating_sub(least).mul_f64(f64::from(random[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do() {
        let refused = |error: &str| refusal(20001, "bore.test", error).to_string();
        assert_eq!(refusal(20001, "bore.test", "server error: port already in use"), Refusal::PortTaken(20001));
        for (error, said) in [
            ("server error: invalid secret", "set BORE_SECRET"),
            ("server requires authentication, but no client secret was provided", "set BORE_SECRET"),
            ("expected authentication challenge, but no secret was required", "unset BORE_SECRET"),
            ("server error: client port number not in allowed range", "--port"),
            ("timed out waiting for initial message: deadline has elapsed", "bore.test does not answer"),
            ("could not connect to bore.test:7835: Connection refused", "Connection refused"),
        ] {
            assert!(refused(error).contains(said), "{error}: {}", refused(error));
        }
    }

    #[test]
    fn jitter_keeps_its_bounds() {
        let (least, most) = (Duration::from_millis(500), Duration::from_secs(8));
        assert!((0..100).all(|_| (least..=most).contains(&jitter(least, most))));
    }
}
