//! Authentication and authorisation: tokens and what they grant, revocations, passcodes, and throttling of failed
//! attempts.

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

/// Authenticates callers, and throttles those that guess.
pub struct Authenticator {
    tokens: Option<Tokens>,
    throttle: Throttle,
    addresses: Addresses,
}

/// Which addresses identify a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// All of them.
    All,
    /// All but loopback, which is the address of a local proxy or tunnel.
    Foreign,
    /// None, since a proxy or tunnel on another machine hides them.
    None,
}

/// Token authentication.
struct Tokens {
    keys: Arc<Reloaded<KeySources>>,
    rules: Rules,
    revocations: Revocations,
}

impl Authenticator {
    /// Accepts anonymous callers. Failed attempts are throttled.
    pub fn anonymous(policy: ThrottlePolicy) -> Self {
        Self { tokens: None, throttle: Throttle::new(policy), addresses: Addresses::Foreign }
    }

    /// Requires tokens. Fails if there is no key or an unusable one.
    pub fn with_tokens(sources: KeySources, rules: Rules, policy: ThrottlePolicy) -> Result<Self, String> {
        let tokens = Tokens { keys: Arc::new(Reloaded::load(sources)?), rules, revocations: Revocations::default() };
        Ok(Self { tokens: Some(tokens), ..Self::anonymous(policy) })
    }

    /// Sets which addresses identify a caller. The default is [`Addresses::Foreign`].
    #[must_use]
    pub fn by_addresses(self, addresses: Addresses) -> Self {
        Self { addresses, ..self }
    }

    /// The caller behind an address, if the address identifies one.
    pub fn caller_at(&self, address: IpAddr) -> Option<Caller> {
        let is_identifying = match self.addresses {
            Addresses::All => true,
            Addresses::Foreign => !address.to_canonical().is_loopback(),
            Addresses::None => false,
        };
        is_identifying.then(|| Caller::Subscriber(address.into()))
    }

    /// Whether callers need a token.
    pub fn requires_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Checks a token. `None` if the server requires none.
    pub fn check(&self, token: &str, now: SystemTime) -> Result<Option<Grant>, Error> {
        let Some(Tokens { keys, rules, .. }) = &self.tokens else { return Ok(None) };
        let claims = jws::verify(token, &keys.current())?;
        claims::check(&claims, token_id(token), rules, now).map(Some)
    }

    /// How long a session outlives its token.
    pub fn grace(&self) -> Duration {
        self.tokens.as_ref().map_or(Duration::ZERO, |tokens| tokens.rules.grace)
    }

    /// Revokes the tokens of a removed member for a room: those issued until now, and the one that it used.
    pub fn revoke(&self, room: &RoomName, subject: &str, used_nbf: u64) {
        if let Some(Tokens { revocations, rules, .. }) = &self.tokens {
            revocations.add(room, subject, used_nbf, SystemTime::now(), rules);
        }
    }

    /// Whether a token was revoked for that room.
    pub fn is_revoked(&self, room: &RoomName, grant: &Grant) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.revocations.contains(room, grant))
    }

    /// Rejects a caller that must wait because of failed attempts.
    pub fn check_attempt(&self, now: Instant, caller: &Caller) -> Result<(), Error> {
        self.throttle.check(now, caller).map_err(Error::RateLimited)
    }

    /// Counts a failed attempt of a caller, if the error may be the result of a guess.
    pub fn add_failure(&self, now: Instant, caller: Option<Caller>, error: &Error) {
        let may_be_guess = matches!(
            error,
            Error::TokenInvalid(_) | Error::RoomForbidden | Error::RoomNotFound | Error::Room(RoomError::PasscodeWrong)
        );
        if let Some(caller) = caller.filter(|_| may_be_guess) {
            self.throttle.add_failure(now, caller);
        }
    }

    /// Follows the key files for as long as the server runs.
    pub async fn watch_keys(self: Arc<Self>) {
        if let Some(tokens) = &self.tokens {
            tokens.keys.clone().watch().await;
        }
    }
}
