use std::net::IpAddr;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn throttle() -> Throttle {
    Throttle::new(ThrottlePolicy { failures: 10, window: 30 * MINUTE })
}

fn address(n: u32) -> Caller {
    Caller::Subscriber(IpAddr::from(n.to_be_bytes()).into())
}

#[test]
fn ten_failures_are_allowed_and_then_the_wait_doubles() {
    let (throttle, start) = (throttle(), Instant::now());
    let ann = Caller::Subject("ann".into());
    for _ in 0..10 {
        assert_eq!(throttle.check(start, &ann), Ok(()));
        throttle.add_failure(start, ann.clone());
    }
    let mut now = start;
    let mut waits = Vec::new();
    for _ in 0..6 {
        let wait = throttle.check(now, &ann).expect_err("it must wait");
        waits.push(wait.as_secs().div_ceil(60));
        assert!(throttle.check(now + wait, &ann).is_ok());
        now += wait;
        throttle.add_failure(now, ann.clone());
    }
    assert_eq!(waits, [3, 6, 12, 24, 30, 30]);
    assert_eq!(throttle.check(now, &Caller::Subject("bob".into())), Ok(()));
    // After a day the bucket is empty, and the wait starts at its minimum again.
    now += 24 * 60 * MINUTE;
    for _ in 0..10 {
        assert_eq!(throttle.check(now, &ann), Ok(()));
        throttle.add_failure(now, ann.clone());
    }
    assert_eq!(throttle.check(now, &ann).expect_err("again"), 3 * MINUTE);
}

#[test]
fn occasional_mistakes_are_never_throttled() {
    let (throttle, mut now) = (throttle(), Instant::now());
    for _ in 0..100 {
        now += 3 * MINUTE;
        assert_eq!(throttle.check(now, &address(1)), Ok(()));
        throttle.add_failure(now, address(1));
    }
}

#[test]
fn the_table_is_bounded_and_keeps_callers_that_come_back() {
    let (throttle, now) = (throttle(), Instant::now());
    for _ in 0..10 {
        throttle.add_failure(now, address(0));
    }
    for n in 1..2 * MAX.get() as u32 {
        throttle.add_failure(now, address(n));
        assert!(throttle.check(now, &address(0)).is_err(), "a caller that keeps trying stays throttled");
    }
    assert_eq!(throttle.callers.lock().len(), MAX.get());
}
