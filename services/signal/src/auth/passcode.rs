//! Passcodes of rooms: hashed with argon2id, away from room locks and async threads, and guarded against guessing.
//!
//! # Guessing
//!
//! Addresses identify nobody behind proxies and tunnels, and identities are free, so failed attempts are counted per
//! room. [`FREE_ATTEMPTS`] mistakes are allowed at once, then one attempt per [`ATTEMPT_INTERVAL`], about 900 per hour
//! for all callers together. A passcode of six random digits then holds for weeks, and one of ten random letters for
//! good. During an attack a newcomer with the right passcode competes with the attacker for attempts; members are not
//! affected, since a resume needs no passcode. Rooms that must admit members during an attack use tokens.
//!
//! # Restarts
//!
//! Hashing is expensive by design, and after a restart every client comes back at once. So a verified passcode is
//! remembered as a MAC under a key of this process: the hash in the record is computed once per room.

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

/// Parameters of argon2id: 19 MiB of memory, 2 passes, 1 lane. OWASP's Password Storage Cheat Sheet lists them among its
/// equally strong recommendations. A fuzz target, which `--cfg fuzzing` builds, only needs the code path.
const MEMORY_KIB: u32 = if cfg!(fuzzing) { 8 } else { 19 * 1024 };
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes computed at the same time. Each takes a core and 19 MiB.
const MAX_PARALLEL: usize = 2;
/// Calls that may queue for a hash. Further ones are rejected and may retry.
const MAX_WAITING: usize = 512;
/// How long a call may queue for a hash. Clients give a join 10 s or more.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Failed attempts that a room allows at once.
const FREE_ATTEMPTS: u32 = 10;
/// Then it allows one attempt per interval.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(4);
/// Retries are spread over this time.
const JITTER: Duration = Duration::from_secs(1);
/// Most rooms whose attempts, and whose verified passcodes, are remembered. Beyond it the least recently used is
/// forgotten.
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

/// A passcode that was right.
struct Verified {
    /// The hash that it matches.
    hash: Arc<str>,
    mac: hmac::Tag,
}

fn attempt_rate() -> Rate {
    Rate::every(ATTEMPT_INTERVAL, FREE_ATTEMPTS)
}

impl Passcodes {
    /// No attempts yet.
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

    /// The hash of a new passcode, in PHC string format.
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

    /// Verifies a passcode against the hash of a room.
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

    /// An attempt counts as failed from its beginning, so abandoning it does not help a guesser.
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

    /// Verifies a passcode by the MAC of the right one, in constant time. `None`: no MAC is known.
    fn verify_mac(&self, room: &RoomName, hash: &Arc<str>, passcode: &str) -> Option<bool> {
        let mut verified = self.verified.lock();
        let verified = verified.get(room).filter(|verified| verified.hash == *hash)?;
        Some(hmac::verify(&self.key, passcode.as_bytes(), verified.mac.as_ref()).is_ok())
    }

    async fn verify_hash(&self, room: &RoomName, hash: &Arc<str>, passcode: &str) -> Result<bool, Error> {
        let worker = self.acquire_worker().await?;
        // Only now, so that calls that wait for a worker do not use up the free attempts.
        self.take_attempt(room)?;
        // Another call may have verified the passcode meanwhile.
        if let Some(is_right) = self.verify_mac(room, hash, passcode) {
            return Ok(is_right);
        }
        let (tried, against) = (passcode.to_owned(), hash.clone());
        // The hash holds its own parameters. Compared in constant time.
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

    /// Waits until a hash can be computed.
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

/// Runs `work` on a thread that may block. The permit is held until the work is done, even if the caller is gone.
async fn run<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let work = move || {
        let result = work();
        drop(permit);
        result
    };
    // It fails only when the server stops.
    spawn_blocking(work).await.map_err(|_| RoomError::Draining.into())
}
