use std::sync::atomic::{AtomicU64, Ordering};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::*;

/// Random bits that are the same each time.
fn dice() -> Random {
    let state = AtomicU64::new(1);
    Random::from_fn(move |bits| {
        for byte in bits {
            // Knuth's MMIX; its high bits are good enough for lots.
            let next =
                |old: u64| Some(old.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
            let old = state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).expect("always some");
            *byte = old.to_be_bytes()[0];
        }
    })
}

fn room() -> RoomName {
    RoomName::parse("demo", "room").expect("a name")
}

/// Somebody who guesses wrongly, over and over, as fast as it is let; says how often it was tried.
async fn guess(passcodes: Arc<Passcodes>, until: Instant) -> u32 {
    let mut tried = 0;
    while Instant::now() < until {
        match time::timeout(PATIENCE, passcodes.turn(&room())).await {
            Ok(Ok(at_work)) => {
                tried += 1;
                drop(at_work);
            }
            // Told to wait: it asks again at once.
            Ok(Err(Error::RateLimited(_))) => sleep(Duration::from_millis(10)).await,
            Ok(Err(other)) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    tried
}

#[tokio::test(start_paused = true)]
async fn so_many_guesses_an_hour_and_no_more_however_many_guess() {
    for guessers in [1, 5, 100] {
        let passcodes = Arc::new(Passcodes::new(dice()));
        let until = Instant::now() + Duration::from_secs(3600);
        let mut all = JoinSet::new();
        for _ in 0..guessers {
            all.spawn(guess(passcodes.clone(), until));
        }
        let tried: u32 = all.join_all().await.into_iter().sum();
        assert!((800..=930).contains(&tried), "{guessers} guessers were tried {tried} times");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_right_has_its_turn_while_others_guess() {
    let passcodes = Arc::new(Passcodes::new(dice()));
    let until = Instant::now() + Duration::from_secs(3600);
    // Each has its next attempt at the door at once.
    let mut attack = JoinSet::new();
    for _ in 0..7 {
        attack.spawn(guess(passcodes.clone(), until));
    }
    sleep(Duration::from_secs(60)).await;
    let mut waits = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        loop {
            if let Ok(Ok(at_work)) = time::timeout(PATIENCE, passcodes.turn(&room())).await {
                drop(at_work);
                passcodes.forgive(&room());
                break;
            }
        }
        waits.push(start.elapsed());
    }
    waits.sort_unstable();
    // One of eight lots at each pause of 4 s: half get in within about 5 pauses.
    assert!(waits[25] < Duration::from_secs(40), "{:?}", waits[25]);
    assert!(waits[49] < Duration::from_secs(300), "{:?}", waits[49]);
    attack.abort_all();

    // After the attack nobody waits for longer than a pause, and in the end for nothing.
    while attack.join_next().await.is_some() {}
    let start = Instant::now();
    drop(passcodes.turn(&room()).await.expect("its turn"));
    passcodes.forgive(&room());
    assert!(start.elapsed() <= LONGEST_PAUSE + LOTS, "{:?}", start.elapsed());
    sleep(FORGET).await;
    let start = Instant::now();
    for _ in 0..FREE {
        drop(passcodes.turn(&room()).await.expect("its turn"));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn asking_more_often_helps_nobody() {
    let passcodes = Arc::new(Passcodes::new(dice()));
    for _ in 0..FREE {
        drop(passcodes.turn(&room()).await.expect("its turn"));
    }
    // These are back a millisecond after each attempt, and first whenever a pause is over.
    let mut attack = JoinSet::new();
    for _ in 0..7 {
        let passcodes = passcodes.clone();
        attack.spawn(async move {
            loop {
                let turn = time::timeout(Duration::from_millis(1), passcodes.turn(&room())).await;
                assert!(turn.is_err(), "who does not wait for its lot has no turn");
            }
        });
    }
    for _ in 0..20 {
        drop(time::timeout(PATIENCE, passcodes.turn(&room())).await.expect("it has waited").expect("its turn"));
    }
    attack.abort_all();
    while let Some(end) = attack.join_next().await {
        assert!(end.is_err_and(|end| end.is_cancelled()), "one of them had a turn");
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_are_right_wait_for_nothing_and_leave_nothing() {
    let passcodes = Passcodes::new(dice());
    let start = Instant::now();
    for _ in 0..200 {
        drop(passcodes.turn(&room()).await.expect("its turn"));
        passcodes.forgive(&room());
    }
    assert_eq!((start.elapsed(), passcodes.guessed().len()), (Duration::ZERO, 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_rooms_are_remembered() {
    let passcodes = Passcodes::new(dice());
    for n in 0..MAX_ROOMS + 5 {
        sleep(Duration::from_millis(1)).await;
        let room = RoomName::parse(&format!("room-{n}"), "room").expect("a name");
        drop(passcodes.turn(&room).await.expect("its turn"));
    }
    let guessed = passcodes.guessed();
    assert_eq!(guessed.len(), MAX_ROOMS);
    assert!(!guessed.keys().any(|room| room.as_str() == "room-4"), "the one that was quiet longest is forgotten");
}

#[tokio::test]
async fn a_hash_fits_its_passcode_only() {
    let passcodes = Passcodes::new(Random::system());
    let (one, two) = (passcodes.hash("secret").await.expect("a hash"), passcodes.hash("secret").await.expect("a hash"));
    assert_ne!(one, two, "each has salt of its own");
    for hash in [one, two] {
        let hash = Arc::from(hash);
        assert_eq!(passcodes.prove(&room(), &hash, "secret").await, Ok(()));
        for wrong in ["", "Secret", "secret "] {
            assert_eq!(passcodes.prove(&room(), &hash, wrong).await, Err(Error::PasscodeWrong));
        }
    }
    // What is remembered of one is not taken for another.
    let other = Arc::from(passcodes.hash("other").await.expect("a hash"));
    assert_eq!(passcodes.prove(&room(), &other, "secret").await, Err(Error::PasscodeWrong));
    assert_eq!(passcodes.prove(&room(), &other, "other").await, Ok(()));
    assert_eq!(passcodes.recall(&room(), &other, "other"), Some(true));
    assert_eq!(passcodes.recall(&room(), &other, "secret"), Some(false));
    let elsewhere = RoomName::parse("elsewhere", "room").expect("a name");
    assert_eq!(passcodes.recall(&elsewhere, &other, "other"), None);
    // One that is damaged lets nobody in.
    assert_eq!(passcodes.prove(&room(), &Arc::from("$argon2id$"), "secret").await, Err(Error::PasscodeWrong));
}
