//! Authentication and authorization: tokens, their grants, revocations, passcodes, and throttling of failed attempts.

mod claims;
mod jws;
mod keys;
mod passcode;
mod revocations;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use signalbox_core::id::RoomName;

use self::revocations::Revocations;
pub(crate) use self::{claims::MAX_NAME, jws::sign, keys::ED25519_SPKI};
pub use self::{
    claims::{Grant, LEEWAY, RoomPattern, Rules},
    jws::{MAX_TOKEN, token_id},
    keys::{KeyFile, KeySources, MIN_SECRET},
    passcode::Passcodes,
};
use crate::{
    error::{Error, RoomError},
    limits::{Caller, Throttle, ThrottlePolicy},
    reload::Reloaded,
};

/// Authenticates callers and throttles failed attempts.
pub struct Authenticator {
    tokens: Option<Tokens>,
    throttle: Throttle,
    addresses: Addresses,
}

/// The remote addresses that identify a caller when the server counts failed attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Every address identifies a caller.
    All,
    /// Every address except loopback identifies a caller. All clients of a local proxy or tunnel share loopback.
    Foreign,
    /// No address identifies a caller, because a proxy or tunnel on another machine hides the clients' addresses.
    None,
}

struct Tokens {
    keys: Arc<Reloaded<KeySources>>,
    rules: Rules,
    revocations: Revocations,
}

impl Authenticator {
    /// Creates an authenticator that accepts callers without a token. It still throttles failed attempts.
    pub fn anonymous(policy: ThrottlePolicy) -> Self {
        Self { tokens: None, throttle: Throttle::new(policy), addresses: Addresses::Foreign }
    }

    /// Creates an authenticator that requires a token. Fails if there is no key, or an unusable one.
    pub fn with_tokens(sources: KeySources, rules: Rules, policy: ThrottlePolicy) -> Result<Self, String> {
        let tokens = Tokens { keys: Arc::new(Reloaded::load(sources)?), rules, revocations: Revocations::default() };
        Ok(Self { tokens: Some(tokens), ..Self::anonymous(policy) })
    }

    /// Sets which addresses identify a caller. The default is [`Addresses::Foreign`].
    #[must_use]
    pub fn by_addresses(self, addresses: Addresses) -> Self {
        Self { addresses, ..self }
    }

    /// Returns the caller behind an address, or `None` if the address does not identify one.
    pub fn caller_at(&self, address: IpAddr) -> Option<Caller> {
        let is_identifying = match self.addresses {
            Addresses::All => true,
            Addresses::Foreign => !address.to_canonical().is_loopback(),
            Addresses::None => false,
        };
        is_identifying.then(|| Caller::Subscriber(address.into()))
    }

    /// Returns whether callers need a token.
    pub fn requires_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Verifies a token and returns its grant, or `None` if the server requires no tokens.
    pub fn check(&self, token: &str, now: SystemTime) -> Result<Option<Grant>, Error> {
        let Some(Tokens { keys, rules, .. }) = &self.tokens else { return Ok(None) };
        let claims = jws::verify(token, &keys.current())?;
        claims::check(&claims, token_id(token), rules, now).map(Some)
    }

    /// Returns how long a session may outlive its token.
    pub fn grace(&self) -> Duration {
        self.tokens.as_ref().map_or(Duration::ZERO, |tokens| tokens.rules.grace)
    }

    /// Revokes a removed member's tokens for a room. `used_nbf` is the `nbf` of its newest known token, which is in the
    /// future if the issuer's clock is ahead.
    pub fn revoke(&self, room: &RoomName, subject: &str, used_nbf: u64) {
        if let Some(Tokens { revocations, rules, .. }) = &self.tokens {
            revocations.add(room, subject, used_nbf, SystemTime::now(), rules);
        }
    }

    /// Returns whether the token of a grant is revoked for a room.
    pub fn is_revoked(&self, room: &RoomName, grant: &Grant) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.revocations.contains(room, grant))
    }

    /// Rejects a caller that is throttled after failed attempts.
    pub fn check_attempt(&self, now: Instant, caller: &Caller) -> Result<(), Error> {
        self.throttle.check(now, caller).map_err(Error::RateLimited)
    }

    /// Counts a failed attempt if the error may be the result of guessing.
    pub fn add_failure(&self, now: Instant, caller: Option<Caller>, error: &Error) {
        let may_be_guess = matches!(
            error,
            Error::TokenInvalid(_) | Error::RoomForbidden | Error::RoomNotFound | Error::Room(RoomError::PasscodeWrong)
        );
        if let Some(caller) = caller.filter(|_| may_be_guess) {
            self.throttle.add_failure(now, caller);
        }
    }

    /// Reloads the key files when they change, for as long as the server runs.
    pub async fn watch_keys(self: Arc<Self>) {
        if let Some(tokens) = &self.tokens {
            tokens.keys.clone().watch().await;
        }
    }
}
