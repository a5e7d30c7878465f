use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::*;

fn room() -> RoomName {
    RoomName::parse("demo", "room").expect("a name")
}

/// Makes failed attempts until the given time, as fast as the room allows. Returns how many the room allowed.
async fn guess(passcodes: Arc<Passcodes>, until: Instant) -> u32 {
    let mut attempts = 0;
    while Instant::now() < until {
        match passcodes.take_attempt(&room()) {
            Ok(()) => attempts += 1,
            Err(Error::RateLimited(_)) => sleep(Duration::from_millis(200)).await,
            Err(other) => panic!("{other:?}"),
        }
    }
    attempts
}

#[tokio::test(start_paused = true)]
async fn the_hourly_rate_holds_for_all_guessers_together() {
    for guessers in [1, 5, 100] {
        let passcodes = Arc::new(Passcodes::new(Random::system()));
        let until = Instant::now() + Duration::from_secs(3600);
        let mut all = JoinSet::new();
        for _ in 0..guessers {
            all.spawn(guess(passcodes.clone(), until));
        }
        let attempts: u32 = all.join_all().await.into_iter().sum();
        assert!((890..=910).contains(&attempts), "{guessers} guessers made {attempts} attempts");
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_attack_the_next_attempt_waits_for_one_interval_at_most() {
    let passcodes = Arc::new(Passcodes::new(Random::system()));
    guess(passcodes.clone(), Instant::now() + Duration::from_secs(601)).await;
    let Err(Error::RateLimited(wait)) = passcodes.take_attempt(&room()) else { panic!("the room allows no attempt") };
    assert!(wait <= ATTEMPT_INTERVAL + JITTER, "{wait:?}");
    sleep(ATTEMPT_INTERVAL).await;
    assert_eq!(passcodes.take_attempt(&room()), Ok(()));
    // The bucket is full again after `FREE_ATTEMPTS` intervals.
    sleep(ATTEMPT_INTERVAL * FREE_ATTEMPTS).await;
    for _ in 0..FREE_ATTEMPTS {
        assert_eq!(passcodes.take_attempt(&room()), Ok(()));
    }
    assert!(passcodes.take_attempt(&room()).is_err());
}

#[tokio::test]
async fn right_passcodes_at_the_same_time_use_up_no_attempts() {
    let passcodes = Arc::new(Passcodes::new(Random::system()));
    let hash: Arc<str> = passcodes.hash("secret").await.expect("a hash").into();
    let mut joins = JoinSet::new();
    for _ in 0..200 {
        let (passcodes, hash) = (passcodes.clone(), hash.clone());
        joins.spawn(async move { passcodes.verify(&room(), &hash, "secret").await });
    }
    assert!(joins.join_all().await.iter().all(Result::is_ok));
    for _ in 0..FREE_ATTEMPTS {
        assert_eq!(passcodes.verify(&room(), &hash, "wrong").await, Err(RoomError::PasscodeWrong.into()));
    }
    // A rate-limited room rejects even a correct passcode that is cached.
    for passcode in ["wrong", "secret"] {
        let result = passcodes.verify(&room(), &hash, passcode).await;
        assert!(matches!(result, Err(Error::RateLimited(_))), "{passcode}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_remembered_rooms_is_bounded() {
    let passcodes = Passcodes::new(Random::system());
    let room = |n: usize| RoomName::parse(&format!("room-{n}"), "room").expect("a name");
    for n in 0..MAX_ROOMS.get() + 5 {
        assert_eq!(passcodes.take_attempt(&room(n)), Ok(()));
    }
    let attempts = passcodes.attempts.lock();
    assert_eq!(attempts.len(), MAX_ROOMS.get());
    assert!(!attempts.contains(&room(4)) && attempts.contains(&room(5)), "the least recently used one is forgotten");
}

#[tokio::test]
async fn a_hash_matches_its_passcode_only() {
    let passcodes = Passcodes::new(Random::system());
    let wrong = || Err(RoomError::PasscodeWrong.into());
    let (one, two) = (passcodes.hash("secret").await.expect("a hash"), passcodes.hash("secret").await.expect("a hash"));
    assert_ne!(one, two, "each has its own salt");
    for hash in [one, two] {
        let hash = Arc::from(hash);
        assert_eq!(passcodes.verify(&room(), &hash, "secret").await, Ok(()));
        for other in ["", "Secret", "secret "] {
            assert_eq!(passcodes.verify(&room(), &hash, other).await, wrong());
        }
    }
    // A cached MAC is valid for one hash and one room only.
    let other = Arc::from(passcodes.hash("other").await.expect("a hash"));
    assert_eq!(passcodes.verify(&room(), &other, "secret").await, wrong());
    assert_eq!(passcodes.verify(&room(), &other, "other").await, Ok(()));
    assert_eq!(passcodes.verify_mac(&room(), &other, "other"), Some(true));
    assert_eq!(passcodes.verify_mac(&room(), &other, "secret"), Some(false));
    let elsewhere = RoomName::parse("elsewhere", "room").expect("a name");
    assert_eq!(passcodes.verify_mac(&elsewhere, &other, "other"), None);
    // A malformed hash matches no passcode.
    assert_eq!(passcodes.verify(&room(), &Arc::from("$argon2id$"), "secret").await, wrong());
}
