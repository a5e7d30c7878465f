//! Who may do what: tokens and what they grant, what was taken away again, and who has to wait for having failed.

mod claims;
mod jws;
mod keys;
pub mod mint;
mod revoked;
mod throttle;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub use self::{
    claims::{Grant, LEEWAY, RoomPattern, Rules},
    jws::{MAX_TOKEN, TokenId},
    keys::{KeyFile, KeySources, MIN_SECRET},
    throttle::{Caller, Patience},
};
use self::{keys::Keys, revoked::Revoked, throttle::Throttle};
use crate::{error::Error, room::id::RoomName};

/// Decides who may do what.
pub struct Authority {
    tokens: Option<Tokens>,
    throttle: Throttle,
    addresses: Addresses,
}

/// Which addresses tell callers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// All of them.
    All,
    /// All but those of this machine, which are a proxy's or a tunnel's.
    Foreign,
    /// None: a proxy or tunnel of another machine stands in front.
    None,
}

/// What is needed where tokens are.
struct Tokens {
    keys: Arc<Keys>,
    rules: Rules,
    revoked: Revoked,
}

impl Authority {
    /// Lets everybody in; those who guess have to wait.
    pub fn anonymous(patience: Patience) -> Self {
        Self { tokens: None, throttle: Throttle::new(patience), addresses: Addresses::Foreign }
    }

    /// Asks for tokens. Fails when there is no key, or one that cannot be used.
    pub fn with_tokens(sources: KeySources, rules: Rules, patience: Patience) -> Result<Self, String> {
        let tokens = Tokens { keys: Arc::new(Keys::load(sources)?), rules, revoked: Revoked::default() };
        Ok(Self { tokens: Some(tokens), ..Self::anonymous(patience) })
    }

    /// Tells callers apart by these addresses, instead of by foreign ones.
    #[must_use]
    pub fn by_addresses(self, addresses: Addresses) -> Self {
        Self { addresses, ..self }
    }

    /// Whether an address tells a caller apart from others.
    pub fn tells_apart(&self, address: IpAddr) -> bool {
        match self.addresses {
            Addresses::All => true,
            Addresses::Foreign => !address.to_canonical().is_loopback(),
            Addresses::None => false,
        }
    }

    /// Whether tokens are asked for.
    pub fn asks_for_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Checks a token. Where none are asked for nothing is granted and nothing refused.
    pub fn check(&self, token: &str, now: SystemTime) -> Result<Option<Grant>, Error> {
        let Some(Tokens { keys, rules, .. }) = &self.tokens else { return Ok(None) };
        let claims = jws::verify(token, &keys.current())?;
        claims::check(&claims, TokenId::of(token), rules, now).map(Some)
    }

    /// How long a session outlives its token.
    pub fn grace(&self) -> Duration {
        self.tokens.as_ref().map_or(Duration::ZERO, |tokens| tokens.rules.grace)
    }

    /// Takes back what tokens grant that were made until now, for a member who is removed from a room.
    pub fn revoke(&self, room: &RoomName, subject: &str, shown_nbf: u64) {
        if let Some(Tokens { revoked, rules, .. }) = &self.tokens {
            revoked.add(room, subject, shown_nbf, SystemTime::now(), rules);
        }
    }

    /// Whether a token was revoked for that room.
    pub fn is_revoked(&self, room: &RoomName, grant: &Grant) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.revoked.has(room, grant))
    }

    /// Whether a caller may try; else how long it has to wait.
    pub fn may_try(&self, now: Instant, caller: &Caller) -> Result<(), Error> {
        self.throttle.check(now, caller).map_err(Error::RateLimited)
    }

    /// Remembers that a caller failed, if that may have been a guess.
    pub fn failed(&self, now: Instant, caller: Option<Caller>, error: &Error) {
        let is_guess =
            matches!(error, Error::TokenInvalid(_) | Error::RoomForbidden | Error::RoomNotFound | Error::PasscodeWrong);
        if let Some(caller) = caller.filter(|_| is_guess) {
            self.throttle.failed(now, caller);
        }
    }

    /// Keeps the keys as their files are, for as long as the server runs.
    pub async fn watch_keys(self: Arc<Self>) {
        if let Some(tokens) = &self.tokens {
            tokens.keys.clone().watch().await;
        }
    }
}
