use super::*;

fn acquire(limiter: &Arc<ConnectionLimiter>, ip: &str) -> Result<ConnectionPermit, LimitReached> {
    limiter.acquire(ip.parse().expect("an address"))
}

#[test]
fn permits_are_limited_in_total_and_released() {
    let limiter = ConnectionLimiter::new(2, 9);
    let (one, two) = (acquire(&limiter, "127.0.0.1"), acquire(&limiter, "192.0.2.1"));
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(acquire(&limiter, "192.0.2.2").err(), Some(LimitReached::Total(2)));
    drop(two);
    assert!(acquire(&limiter, "192.0.2.2").is_ok());
    drop(one);
    let counts = limiter.counts.lock();
    assert_eq!((counts.total, counts.by_subscriber.len()), (0, 0), "closed connections leave nothing");
}

#[test]
fn each_subscriber_has_its_own_limit() {
    let limiter = ConnectionLimiter::new(100, 2);
    let mut permits = Vec::new();
    for same in [["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:0:1::"]]
    {
        permits.push(acquire(&limiter, same[0]).expect("a permit"));
        permits.push(acquire(&limiter, same[1]).expect("a permit"));
        assert_eq!(acquire(&limiter, same[2]).err(), Some(LimitReached::Subscriber(2)), "{}", same[2]);
    }
    for other in ["192.0.2.2", "2001:db8:0:1::1"] {
        permits.push(acquire(&limiter, other).expect("a permit"));
    }
    permits.clear();
    assert!(acquire(&limiter, "192.0.2.1").is_ok());
}

#[test]
fn connections_of_one_subscriber_share_the_count_of_streams() {
    let limiter = ConnectionLimiter::new(100, 2);
    let streams = |permit: &ConnectionPermit| permit.streams().expect("a public address");
    let (one, two) = (acquire(&limiter, "192.0.2.1").expect("one"), acquire(&limiter, "192.0.2.1").expect("two"));
    let other = acquire(&limiter, "192.0.2.2").expect("another address");
    assert!(Arc::ptr_eq(&streams(&one), &streams(&two)));
    assert!(!Arc::ptr_eq(&streams(&one), &streams(&other)));
    assert!(acquire(&limiter, "127.0.0.1").expect("a private address").streams().is_none());
}

#[test]
fn private_addresses_have_no_limit_of_their_own() {
    let limiter = ConnectionLimiter::new(100, 1);
    for ip in ["127.0.0.1", "::1", "10.0.0.1", "fd00::1"] {
        let permits: Vec<_> = (0..5).map(|_| acquire(&limiter, ip)).collect();
        assert!(permits.iter().all(Result::is_ok), "{ip}");
    }
}
