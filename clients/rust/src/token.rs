//! The token that a client shows: where it comes from, and when a newer one is due.

use std::{error::Error as StdError, future::Future, pin::Pin, sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use tokio::time::Instant;
use tonic::{Request, metadata::MetadataValue};

use crate::Error;

/// A token is replaced when so much of its time is left, or a fifth if that is less.
const MARGIN: Duration = Duration::from_secs(60);
/// When to try again to get a newer one, and how soon after one another tokens are asked for at most.
const RETRY: Duration = Duration::from_secs(5);

/// Why there is no token.
pub(crate) type Cause = Box<dyn StdError + Send + Sync>;
pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<String, Cause>> + Send>>;

/// Where tokens come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// The server asks for none.
    None,
    /// Always the same.
    Fixed(Arc<str>),
    /// A new one for each call.
    Function(Arc<dyn Fn() -> Pending + Send + Sync>),
}

/// The token of one session.
pub(crate) struct Credentials {
    source: Source,
    token: Option<Arc<str>>,
    /// Whether the server has let it pass.
    proven: bool,
    /// When it came.
    since: Instant,
    /// When a newer one is due.
    due: Option<Instant>,
}

impl Credentials {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, token: None, proven: false, since: Instant::now(), due: None }
    }

    /// Gets a token, unless there is one or none is needed.
    pub(crate) async fn ready(&mut self) -> Result<(), Error> {
        if self.token.is_some() {
            return Ok(());
        }
        match &self.source {
            Source::None => {}
            Source::Fixed(token) => self.token = Some(token.clone()),
            Source::Function(get) => {
                let token = get().await.map_err(|cause| Error::NoToken(cause.to_string()))?;
                self.take(token);
            }
        }
        Ok(())
    }

    /// When a newer token should be asked for.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Asks for a newer token.
    pub(crate) fn renew(&mut self) -> Option<Pending> {
        self.due = Some(Instant::now() + RETRY);
        match &self.source {
            Source::Function(get) => Some(get()),
            Source::None | Source::Fixed(_) => None,
        }
    }

    /// Takes a token that came.
    pub(crate) fn take(&mut self, token: String) {
        self.due = left(&token, unix_now()).map(|left| Instant::now() + (left - MARGIN.min(left / 5)).max(RETRY));
        self.token = Some(token.into());
        self.proven = false;
        self.since = Instant::now();
    }

    /// The server has let the token pass.
    pub(crate) fn accepted(&mut self) {
        self.proven = true;
    }

    /// The server has refused the token. Says whether another may fare better: if this one was good before, or is not
    /// just made.
    pub(crate) fn refused(&mut self) -> bool {
        let was_good = self.proven || self.since.elapsed() >= RETRY;
        let may = matches!(self.source, Source::Function(_)) && was_good;
        if may {
            self.token = None;
            self.proven = false;
        }
        may
    }

    /// A request that shows the token.
    pub(crate) fn request<T>(&self, message: T) -> Result<Request<T>, Error> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let mut value: MetadataValue<_> = format!("Bearer {token}")
                .parse()
                .map_err(|_| Error::NoToken("what came as a token is not one".to_owned()))?;
            value.set_sensitive(true);
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

fn unix_now() -> f64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// How long a token is good; `None` when it does not say. Where this clock cannot be right it is taken as just made.
fn left(token: &str, now: f64) -> Option<Duration> {
    let payload = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let time = |claim: &str| claims.get(claim).and_then(serde_json::Value::as_f64);
    let expires = time("exp")?;
    let left = expires - now;
    let whole = time("iat").or_else(|| time("nbf")).map_or(left, |begins| expires - begins);
    let left = if left > 0.0 && left <= whole { left } else { whole };
    Duration::try_from_secs_f64(left).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_that_of_the_claims_unless_the_clock_is_wrong() {
        let token = |claims: &str| format!("e30.{}.sig", BASE64URL_NOPAD.encode(claims.as_bytes()));
        let seconds = |claims: &str| left(&token(claims), 1000.0).map(|left| left.as_secs());
        assert_eq!(seconds(r#"{"exp":1300,"nbf":1000}"#), Some(300));
        assert_eq!(seconds(r#"{"exp":1100,"nbf":800}"#), Some(100));
        assert_eq!(seconds(r#"{"exp":1300}"#), Some(300));
        assert_eq!(seconds(r#"{"exp":9300,"iat":9000}"#), Some(300), "behind");
        assert_eq!(seconds(r#"{"exp":300,"iat":0}"#), Some(300), "ahead");
        for odd in [r#"{"exp":"soon"}"#, r#"{"exp":900}"#, "{}", "", "[]"] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
        assert_eq!(left("garbage", 0.0), None);
    }
}
