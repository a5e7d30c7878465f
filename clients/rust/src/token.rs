//! The token of a session: where it comes from and when to renew it.

use std::{error::Error as StdError, future::Future, pin::Pin, sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use tokio::time::Instant;
use tonic::{Request, metadata::MetadataValue};

use crate::Error;

/// How long before its expiry the client renews a token, capped at one fifth of the remaining validity.
const RENEWAL_MARGIN: Duration = Duration::from_secs(60);
/// Shortest interval between calls of the application's token function, and the delay after a failed call.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(5);

/// The error of the application's token function.
pub(crate) type TokenError = Box<dyn StdError + Send + Sync>;
/// A pending call of the application's token function.
pub(crate) type TokenFuture = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

/// Where the client gets its tokens.
#[derive(Clone)]
pub(crate) enum TokenSource {
    /// The server requires no token.
    None,
    /// One token for every session.
    Fixed(Arc<str>),
    /// A function of the application that returns tokens.
    Function(Arc<dyn Fn() -> TokenFuture + Send + Sync>),
}

/// The token of one session.
pub(crate) struct Credentials {
    source: TokenSource,
    token: Option<Arc<str>>,
    /// Whether the server has accepted the token.
    is_accepted: bool,
    received_at: Instant,
    renewal_due: Option<Instant>,
}

impl Credentials {
    pub(crate) fn new(source: TokenSource) -> Self {
        Self { source, token: None, is_accepted: false, received_at: Instant::now(), renewal_due: None }
    }

    /// Gets a token, unless there is one already or the server requires none.
    pub(crate) async fn ensure_token(&mut self) -> Result<(), Error> {
        if self.token.is_some() {
            return Ok(());
        }
        match &self.source {
            TokenSource::None => {}
            TokenSource::Fixed(token) => self.token = Some(token.clone()),
            TokenSource::Function(get) => {
                let token = get().await.map_err(|error| Error::NoToken(error.to_string()))?;
                self.set_token(token);
            }
        }
        Ok(())
    }

    /// Returns when to renew the token, or `None` if it needs no renewal.
    pub(crate) fn renewal_due(&self) -> Option<Instant> {
        self.renewal_due
    }

    /// Calls the token function for the next token, and schedules a retry in case the call fails.
    pub(crate) fn renew(&mut self) -> Option<TokenFuture> {
        self.renewal_due = Some(Instant::now() + RENEWAL_INTERVAL);
        match &self.source {
            TokenSource::Function(get) => Some(get()),
            TokenSource::None | TokenSource::Fixed(_) => None,
        }
    }

    /// Replaces the token and schedules its renewal.
    pub(crate) fn set_token(&mut self, token: String) {
        self.renewal_due = time_left(&token, unix_now())
            .map(|left| Instant::now() + (left - RENEWAL_MARGIN.min(left / 5)).max(RENEWAL_INTERVAL));
        self.token = Some(token.into());
        self.is_accepted = false;
        self.received_at = Instant::now();
    }

    /// Records that the server accepted the current token.
    pub(crate) fn mark_accepted(&mut self) {
        self.is_accepted = true;
    }

    /// Records that the server rejected the token, and returns whether to retry with a new one. A retry cannot help if
    /// the server rejected a fresh token that it never accepted.
    pub(crate) fn mark_rejected(&mut self) -> bool {
        let may_be_outdated = self.is_accepted || self.received_at.elapsed() >= RENEWAL_INTERVAL;
        let can_retry = matches!(self.source, TokenSource::Function(_)) && may_be_outdated;
        if can_retry {
            self.token = None;
            self.is_accepted = false;
        }
        can_retry
    }

    /// Creates a request with the token in its metadata.
    pub(crate) fn request<T>(&self, message: T) -> Result<Request<T>, Error> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let mut value: MetadataValue<_> = format!("Bearer {token}")
                .parse()
                .map_err(|_| Error::NoToken("the token contains characters that are invalid in metadata".to_owned()))?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

fn unix_now() -> f64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// Returns the time until a token expires, or `None` without a usable `exp`. If the claims contradict the local clock,
/// the token counts as just issued.
fn time_left(token: &str, now: f64) -> Option<Duration> {
    let payload = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let time = |claim: &str| claims.get(claim).and_then(serde_json::Value::as_f64);
    let expires_at = time("exp")?;
    let left = expires_at - now;
    let lifetime = time("iat").or_else(|| time("nbf")).map_or(left, |issued_at| expires_at - issued_at);
    let left = if left > 0.0 && left <= lifetime { left } else { lifetime };
    Duration::try_from_secs_f64(left).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_survives_a_wrong_clock() {
        let token = |claims: &str| format!("e30.{}.sig", BASE64URL_NOPAD.encode(claims.as_bytes()));
        let seconds = |claims: &str| time_left(&token(claims), 1000.0).map(|left| left.as_secs());
        assert_eq!(seconds(r#"{"exp":1300,"nbf":1000}"#), Some(300));
        assert_eq!(seconds(r#"{"exp":1100,"nbf":800}"#), Some(100));
        assert_eq!(seconds(r#"{"exp":1300}"#), Some(300));
        assert_eq!(seconds(r#"{"exp":9300,"iat":9000}"#), Some(300), "local clock is behind");
        assert_eq!(seconds(r#"{"exp":300,"iat":0}"#), Some(300), "local clock is ahead");
        for invalid in [r#"{"exp":"soon"}"#, r#"{"exp":900}"#, "{}", "", "[]"] {
            assert_eq!(seconds(invalid), None, "{invalid}");
        }
        assert_eq!(time_left("garbage", 0.0), None);
    }
}
