//! Passcodes of rooms: hashed with argon2id, tried away from the rooms' locks and the async threads, and guarded
//! against guessing.
//!
//! # Guessing
//!
//! The server does not know who is guessing: addresses are worth little behind proxies and tunnels, and identities are
//! free. So attempts are counted per room. The first `FREE` failures cost nothing, since people mistype. After that a
//! room tries one attempt at a time, with a pause before each that doubles up to `LONGEST_PAUSE`: some 900 guesses an
//! hour and room at the most, however many guess. A passcode of six random digits holds for weeks, one of ten random
//! letters for good. Failures are forgotten once there was none for `FORGET`; so after an attack a right passcode
//! waits for one pause at the most.
//!
//! During an attack it is not the fastest who is tried next, or an attacker who polls would always be first, but one
//! drawn by lot among all who have waited for the pause to end: against `n` attempts that wait all the time, somebody
//! with the right passcode has a chance of 1 in `n + 1` at every pause. `MAX_WAITING_FOR_ONE` may wait; who finds no
//! place, or has waited for `PATIENCE`, is told when to try again. So an attack makes newcomers wait while it lasts,
//! and an attacker with many streams makes them wait long, but nothing of it stays. Members who are in the room are not
//! concerned: to resume needs no passcode.
//!
//! # Everybody at once
//!
//! Hashing is meant to be dear, and after a restart everybody comes back at the same time. So what was right once is
//! remembered while the process runs, as a MAC under a key that the process made up: from then on a room's passcode is
//! tried by that, right or wrong, and its hash guards the record only.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use ring::hmac;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time,
};
use tracing::{debug, error};

use crate::{
    error::Error,
    hub::now,
    random::Random,
    room::{RETRY, id::RoomName},
};

/// Parameters of argon2id: the second of those that OWASP's Password Storage Cheat Sheet recommends as equally strong,
/// 19 MiB of memory, 2 passes, 1 lane.
const MEMORY_KIB: u32 = if cfg!(feature = "fuzzing") { 8 } else { 19 * 1024 };
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Passcodes that are hashed at the same time: each takes a core, and 19 MiB.
const PARALLEL: usize = 2;
/// Attempts that may wait for that, and for the next pause of one room; further ones are told to try again.
const MAX_WAITING: usize = 512;
const MAX_WAITING_FOR_ONE: usize = 64;
/// How long an attempt waits to be tried. Clients give a join 10 s or more.
const PATIENCE: Duration = Duration::from_secs(5);

/// Failures before a room is guarded.
const FREE: u32 = 10;
/// The pause after that; doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// After a pause, those who have waited draw a moment within this time: the earliest is tried.
const LOTS: Duration = Duration::from_millis(200);
/// Without a failure for so long, a room's failures are forgotten.
const FORGET: Duration = Duration::from_secs(600);
/// Rooms whose failures are remembered; beyond that the room whose last failure is oldest is forgotten. And rooms whose
/// passcodes are; beyond that all are forgotten, and found again by their hashes.
const MAX_ROOMS: usize = 10_000;

/// Hashes passcodes, and tries them.
pub struct Passcodes {
    random: Random,
    places: Semaphore,
    at_work: Arc<Semaphore>,
    guessed: Mutex<HashMap<RoomName, Guessed>>,
    known: Mutex<HashMap<RoomName, Known>>,
    key: hmac::Key,
}

/// A passcode that was right.
struct Known {
    /// The hash that it fits.
    hash: Arc<str>,
    mac: hmac::Tag,
}

/// A room whose passcode is being tried, or was tried in vain.
struct Guessed {
    /// An attempt counts from its beginning, and no longer once it was right: to go away before the answer does not
    /// help.
    failures: u32,
    last: Instant,
    /// When the next attempt may be tried, if the room is guarded.
    next: Instant,
    waiting: usize,
}

impl Guessed {
    fn new(now: Instant) -> Self {
        Self { failures: 0, last: now, next: now, waiting: 0 }
    }

    fn is_guarded(&self) -> bool {
        self.failures >= FREE
    }

    /// Nothing needs to be remembered of it.
    fn is_over(&self, now: Instant) -> bool {
        self.waiting == 0 && (self.failures == 0 || now.saturating_duration_since(self.last) >= FORGET)
    }

    fn count(&mut self, now: Instant) {
        self.failures += 1;
        self.last = now;
        if self.is_guarded() {
            let doublings = (self.failures - FREE).min(16);
            self.next = now + (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        }
    }
}

/// An attempt's place among those who wait for a guarded room.
struct Waiting<'a>(&'a Passcodes, &'a RoomName);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(guessed) = self.0.guessed().get_mut(self.1) {
            guessed.waiting -= 1;
        }
    }
}

impl Passcodes {
    /// Nothing was guessed yet.
    pub fn new(random: Random) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &random.bits::<32>()),
            known: Mutex::default(),
            random,
            places: Semaphore::new(MAX_WAITING),
            at_work: Arc::new(Semaphore::new(PARALLEL)),
            guessed: Mutex::default(),
        }
    }

    /// The hash of a new passcode, in PHC form.
    pub async fn hash(&self, passcode: &str) -> Result<String, Error> {
        let at_work = time::timeout(PATIENCE, self.free_hands()).await;
        let at_work = at_work.unwrap_or_else(|_| Err(self.try_later(Duration::ZERO)))?;
        let (passcode, salt) = (passcode.to_owned(), self.random.bits::<16>());
        let hash = move || argon2().hash_password_with_salt(passcode.as_bytes(), &salt).map(|hash| hash.to_string());
        let hash = run(at_work, hash).await?;
        hash.map_err(|error| {
            error!(%error, "a passcode could not be hashed");
            Error::invalid("passcode", "cannot be hashed: take another")
        })
    }

    /// Tries a passcode against the hash of a room's.
    pub async fn prove(&self, room: &RoomName, hash: &Arc<str>, passcode: &str) -> Result<(), Error> {
        if passcode.is_empty() {
            return Err(Error::PasscodeWrong);
        }
        let turn = time::timeout(PATIENCE, self.turn(room)).await;
        let at_work = turn.unwrap_or_else(|_| Err(self.try_later(self.pause_left(room))))?;
        let is_right = match self.recall(room, hash, passcode) {
            Some(is_right) => is_right,
            None => self.try_hash(room, hash, passcode, at_work).await?,
        };
        if !is_right {
            debug!(%room, "wrong passcode");
            return Err(Error::PasscodeWrong);
        }
        self.forgive(room);
        Ok(())
    }

    /// Tries a passcode by what is remembered of the right one, in constant time; `None`: nothing is.
    fn recall(&self, room: &RoomName, hash: &Arc<str>, passcode: &str) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(room).filter(|known| known.hash == *hash)?;
        Some(hmac::verify(&self.key, passcode.as_bytes(), known.mac.as_ref()).is_ok())
    }

    async fn try_hash(
        &self,
        room: &RoomName,
        hash: &Arc<str>,
        passcode: &str,
        at_work: OwnedSemaphorePermit,
    ) -> Result<bool, Error> {
        let (tried, against) = (passcode.to_owned(), hash.clone());
        // The hash says with which parameters it was made. Compared in constant time.
        match run(at_work, move || argon2().verify_password(tried.as_bytes(), &*against)).await? {
            Ok(()) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= MAX_ROOMS {
                    known.clear();
                }
                let mac = hmac::sign(&self.key, passcode.as_bytes());
                known.insert(room.clone(), Known { hash: hash.clone(), mac });
                Ok(true)
            }
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => {
                error!(%room, %error, "the stored hash of a passcode is unusable: nobody can join until another is set");
                Ok(false)
            }
        }
    }

    /// Waits until an attempt may be tried, which then counts as a failure.
    async fn turn(&self, room: &RoomName) -> Result<OwnedSemaphorePermit, Error> {
        let mut waiting = None;
        loop {
            // Looked at only when it could be tried at once, so that many at a time are not all among the free ones.
            let at_work = self.free_hands().await?;
            let next = {
                let (now, mut rooms) = (now(), self.guessed());
                make_space(&mut rooms, room, now);
                let guessed = rooms.entry(room.clone()).or_insert_with(|| Guessed::new(now));
                if guessed.is_over(now) {
                    *guessed = Guessed::new(now);
                }
                if !guessed.is_guarded() || (waiting.is_some() && guessed.next <= now) {
                    guessed.count(now);
                    return Ok(at_work);
                }
                if waiting.is_none() {
                    if guessed.waiting >= MAX_WAITING_FOR_ONE {
                        return Err(self.try_later(guessed.next.saturating_duration_since(now)));
                    }
                    guessed.waiting += 1;
                    waiting = Some(Waiting(self, room));
                }
                // Who comes after the pause comes after all who have waited, and so gains nothing by asking again.
                if guessed.next > now { guessed.next } else { now + LOTS }
            };
            drop(at_work);
            time::sleep_until((next + LOTS.mul_f64(self.random.unit())).into()).await;
        }
    }

    /// Waits until a passcode can be hashed, unless too many wait already.
    async fn free_hands(&self) -> Result<OwnedSemaphorePermit, Error> {
        let _place = self.places.try_acquire().map_err(|_| self.try_later(Duration::ZERO))?;
        Ok(self.at_work.clone().acquire_owned().await.expect("the semaphore is never closed"))
    }

    /// The attempt that was counted last was right.
    fn forgive(&self, room: &RoomName) {
        let mut rooms = self.guessed();
        if let Some(guessed) = rooms.get_mut(room) {
            guessed.failures = guessed.failures.saturating_sub(1);
            if guessed.is_over(now()) {
                rooms.remove(room);
            }
        }
    }

    fn pause_left(&self, room: &RoomName) -> Duration {
        self.guessed().get(room).map_or(Duration::ZERO, |guessed| guessed.next.saturating_duration_since(now()))
    }

    /// After the pause, and spread out.
    fn try_later(&self, pause: Duration) -> Error {
        Error::RateLimited(pause + Duration::from_secs(1).mul_f64(self.random.unit()))
    }

    fn guessed(&self) -> MutexGuard<'_, HashMap<RoomName, Guessed>> {
        self.guessed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a room when another comes and there are too many: all that are over, else the one that is quiet longest.
fn make_space(rooms: &mut HashMap<RoomName, Guessed>, newcomer: &RoomName, now: Instant) {
    if rooms.len() < MAX_ROOMS || rooms.contains_key(newcomer) {
        return;
    }
    rooms.retain(|_, guessed| !guessed.is_over(now));
    if rooms.len() >= MAX_ROOMS {
        let quiet = rooms.iter().filter(|(_, guessed)| guessed.waiting == 0).min_by_key(|(_, guessed)| guessed.last);
        if let Some(room) = quiet.map(|(room, _)| room.clone()) {
            rooms.remove(&room);
        }
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("constants within the bounds of RFC 9106");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Works where blocking is allowed. The permit is held until the work is done, whatever becomes of the caller.
async fn run<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let work = move || {
        let result = work();
        drop(permit);
        result
    };
    // Only when the server stops.
    spawn_blocking(work).await.map_err(|_| Error::Draining(RETRY))
}
