//! Room passcodes: hashed with argon2id outside room locks and async threads, and rate-limited against guessing.
//!
//! # Guessing
//!
//! Addresses do not identify callers behind proxies and tunnels, and a caller can change its identity. So the server
//! counts failed attempts per room. A room allows [`FREE_ATTEMPTS`] failures at once, then one attempt per
//! [`ATTEMPT_INTERVAL`], which is about 900 per hour for all callers together. At this rate a passcode of six random
//! digits resists for weeks, and one of ten random letters for millions of years.
//!
//! During an attack, callers with the correct passcode compete with the attacker for attempts. Members are not
//! affected, since a resume needs no passcode. Rooms that must admit members during an attack use tokens.
//!
//! # Restarts
//!
//! Hashing is expensive by design, and after a restart every client rejoins at once. So the server caches a verified
//! passcode as a MAC under a key of this process, and computes the hash in the record once per room.

#[cfg(test)]
mod tests;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use lru::LruCache;
use parking_lot::Mutex;
use ring::hmac;
use signalbox_core::{Rate, TokenBucket, id::RoomName};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time,
};
use tracing::{debug, error};

use crate::{
    clock::now,
    error::{Error, RoomError},
    random::Random,
};

/// argon2id parameters: 19 MiB of memory, 2 passes and 1 lane, as OWASP's Password Storage Cheat Sheet recommends. Fuzz
/// targets (`--cfg fuzzing`) use less memory, since they only need the code path.
const MEMORY_KIB: u32 = if cfg!(fuzzing) { 8 } else { 19 * 1024 };
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Maximum number of concurrent hash computations. Each uses one core and 19 MiB.
const MAX_PARALLEL: usize = 2;
/// Maximum number of calls that queue for a hash. The server rejects further calls with a retry time.
const MAX_WAITING: usize = 512;
/// How long a call may queue for a hash. Clients wait at least 10 s for a join.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Failed attempts that a room allows before it is rate-limited.
const FREE_ATTEMPTS: u32 = 10;
/// Interval between the attempts that a rate-limited room allows.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(4);
/// Maximum jitter of a retry time, so that rejected callers do not all return at once.
const JITTER: Duration = Duration::from_secs(1);
/// Maximum number of rooms in each of the caches `attempts` and `verified`. A full cache evicts the least recently used
/// room.
const MAX_ROOMS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// Hashes and verifies passcodes.
pub struct Passcodes {
    random: Random,
    waiting: Semaphore,
    workers: Arc<Semaphore>,
    attempts: Mutex<LruCache<RoomName, TokenBucket>>,
    verified: Mutex<LruCache<RoomName, Verified>>,
    key: hmac::Key,
}

/// A verified passcode, as a MAC under the process's key.
struct Verified {
    /// The argon2id hash that the passcode matched.
    hash: Arc<str>,
    mac: hmac::Tag,
}

fn attempt_rate() -> Rate {
    Rate::every(ATTEMPT_INTERVAL, FREE_ATTEMPTS)
}

impl Passcodes {
    /// Creates empty caches and a random MAC key.
    pub fn new(random: Random) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &random.bits::<32>()),
            waiting: Semaphore::new(MAX_WAITING),
            workers: Arc::new(Semaphore::new(MAX_PARALLEL)),
            attempts: Mutex::new(LruCache::new(MAX_ROOMS)),
            verified: Mutex::new(LruCache::new(MAX_ROOMS)),
            random,
        }
    }

    /// Hashes a new passcode. Returns the hash in PHC string format.
    pub async fn hash(&self, passcode: &str) -> Result<String, Error> {
        let worker = self.acquire_worker().await?;
        let (passcode, salt) = (passcode.to_owned(), self.random.bits::<16>());
        let hash = move || argon2().hash_password_with_salt(passcode.as_bytes(), &salt).map(|hash| hash.to_string());
        let hash = run(worker, hash).await?;
        hash.map_err(|error| {
            error!(%error, "cannot hash a passcode");
            Error::invalid("passcode", "cannot be hashed: choose another")
        })
    }

    /// Verifies a passcode against a room's hash, within the room's rate limit.
    pub async fn verify(&self, room: &RoomName, hash: &Arc<str>, passcode: &str) -> Result<(), Error> {
        if passcode.is_empty() {
            return Err(RoomError::PasscodeWrong.into());
        }
        let is_right = match self.verify_mac(room, hash, passcode) {
            Some(is_right) => {
                self.take_attempt(room)?;
                is_right
            }
            None => self.verify_hash(room, hash, passcode).await?,
        };
        if !is_right {
            debug!(%room, "wrong passcode");
            return Err(RoomError::PasscodeWrong.into());
        }
        self.record_success(room);
        Ok(())
    }

    /// Counts an attempt as failed before it is verified, so that abandoned calls do not evade the rate limit.
    fn take_attempt(&self, room: &RoomName) -> Result<(), Error> {
        let (now, mut attempts) = (now(), self.attempts.lock());
        let bucket = attempts.get_or_insert_mut(room.clone(), || TokenBucket::full(now));
        bucket.take(now, attempt_rate()).map_err(|wait| self.try_later(wait))
    }

    fn record_success(&self, room: &RoomName) {
        if let Some(bucket) = self.attempts.lock().peek_mut(room) {
            bucket.refund(attempt_rate());
        }
    }

    /// Compares a passcode with the cached MAC in constant time. Returns `None` if no MAC is cached for the hash.
    fn verify_mac(&self, room: &RoomName, hash: &Arc<str>, passcode: &str) -> Option<bool> {
        let mut verified = self.verified.lock();
        let verified = verified.get(room).filter(|verified| verified.hash == *hash)?;
        Some(hmac::verify(&self.key, passcode.as_bytes(), verified.mac.as_ref()).is_ok())
    }

    async fn verify_hash(&self, room: &RoomName, hash: &Arc<str>, passcode: &str) -> Result<bool, Error> {
        let worker = self.acquire_worker().await?;
        // Take the attempt after the wait for a worker, so that waiting calls do not exhaust the free attempts.
        self.take_attempt(room)?;
        // Another call may have verified and cached the passcode while this call waited.
        if let Some(is_right) = self.verify_mac(room, hash, passcode) {
            return Ok(is_right);
        }
        let (tried, against) = (passcode.to_owned(), hash.clone());
        // `verify_password` takes the parameters from the PHC string and compares in constant time.
        match run(worker, move || argon2().verify_password(tried.as_bytes(), &*against)).await? {
            Ok(()) => {
                let mac = hmac::sign(&self.key, passcode.as_bytes());
                self.verified.lock().put(room.clone(), Verified { hash: hash.clone(), mac });
                Ok(true)
            }
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => {
                error!(%room, %error, "unusable passcode hash on record: set a new passcode to let members join");
                Ok(false)
            }
        }
    }

    /// Waits for a permit to compute a hash.
    async fn acquire_worker(&self) -> Result<OwnedSemaphorePermit, Error> {
        let _waiting = self.waiting.try_acquire().map_err(|_| self.try_later(Duration::ZERO))?;
        let worker = time::timeout(MAX_WAIT, self.workers.clone().acquire_owned()).await;
        Ok(worker.map_err(|_| self.try_later(Duration::ZERO))?.expect("the semaphore is never closed"))
    }

    fn try_later(&self, wait: Duration) -> Error {
        Error::RateLimited(wait + JITTER.mul_f64(self.random.unit()))
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants within the bounds of RFC 9106");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Runs `work` on a blocking thread. The work owns the permit, so a cancelled call does not free a worker that is still
/// busy.
async fn run<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let work = move || {
        let result = work();
        drop(permit);
        result
    };
    // The task fails only at the runtime's shutdown, since `work` does not panic.
    spawn_blocking(work).await.map_err(|_| RoomError::Draining.into())
}
