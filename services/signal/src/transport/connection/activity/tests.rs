use super::*;

fn activity(rates: Option<Rates>) -> Arc<Activity> {
    Arc::new(Activity::new(rates, Arc::default(), Bounds::default()))
}

fn rates(calls: (u32, u32), resets: (u32, u32)) -> Option<Rates> {
    let [calls, resets] = [calls, resets].map(|(per_second, burst)| Rate::per_second(per_second, burst));
    Some(Rates { calls, resets })
}

async fn is_reset_limit_reached(activity: &Activity) -> bool {
    tokio::time::timeout(Duration::ZERO, activity.reset_limit_reached()).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn resets_are_limited_by_burst_and_rate() {
    let activity = activity(rates((1000, 1000), (20, 40)));
    for _ in 0..40 {
        drop(activity.open(false));
    }
    assert!(!is_reset_limit_reached(&activity).await);
    tokio::time::advance(Duration::from_millis(500)).await;
    for _ in 0..10 {
        drop(activity.open(false));
    }
    assert!(!is_reset_limit_reached(&activity).await);
    drop(activity.open(false));
    assert!(is_reset_limit_reached(&activity).await);
}

#[tokio::test(start_paused = true)]
async fn answered_streams_and_trusted_clients_are_not_limited() {
    for (rates, is_answered) in [(rates((1000, 1000), (1, 1)), true), (None, false)] {
        let activity = activity(rates);
        for _ in 0..1000 {
            let mut opened = activity.open(false);
            opened.stream.is_answered = is_answered;
            assert!(opened.wait.is_zero());
        }
        assert!(!is_reset_limit_reached(&activity).await);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_rate_wait() {
    let activity = activity(rates((100, 10), (0, 1000)));
    let opened = |count: u32| (0..count).map(|_| activity.open(false).wait).collect::<Vec<_>>();
    assert!(opened(10).iter().all(Duration::is_zero));
    assert_eq!(opened(3), [10, 20, 30].map(Duration::from_millis));
    tokio::time::advance(Duration::from_millis(30)).await;
    assert_eq!(opened(1), [Duration::from_millis(10)]);
    // Idle time allows no more than the burst.
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(opened(10).iter().all(Duration::is_zero));
    assert_eq!(opened(1), [Duration::from_millis(10)]);
}

#[tokio::test(start_paused = true)]
async fn idle_time_starts_after_the_last_stream() {
    let idle = Duration::from_secs(60);
    let activity = activity(None);
    let start = Instant::now();
    assert_eq!(activity.due(start, idle), start + idle);
    let (one, two) = (activity.open(false), activity.open(false));
    tokio::time::advance(Duration::from_secs(100)).await;
    assert!(activity.due(Instant::now(), idle) > Instant::now());
    drop(one);
    tokio::time::advance(Duration::from_secs(100)).await;
    assert!(activity.due(Instant::now(), idle) > Instant::now());
    drop(two);
    let end = Instant::now();
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(activity.due(Instant::now(), idle), end + idle);
}

#[test]
fn sessions_beyond_the_limit_exceed_it_and_short_calls_do_not() {
    let bounds = Bounds { sessions: Some(2), address: None };
    let activity = Arc::new(Activity::new(None, Arc::default(), bounds));
    let mut sessions: Vec<_> = (0..2).map(|_| activity.open(true)).collect();
    assert!(sessions.iter().all(|opened| opened.exceeded.is_none()));
    let calls: Vec<_> = (0..10).map(|_| activity.open(false)).collect();
    assert!(calls.iter().all(|opened| opened.exceeded.is_none()));
    assert_eq!(activity.open(true).exceeded, Some(Error::TooManySessions(2)));
    sessions.pop();
    assert_eq!(activity.open(true).exceeded, None, "the place is free again");
}

#[test]
fn streams_of_an_address_are_counted_over_its_connections() {
    let streams = Arc::new(AtomicUsize::new(0));
    let connection = || {
        let bounds = Bounds { sessions: None, address: Some((streams.clone(), 3)) };
        Arc::new(Activity::new(None, Arc::default(), bounds))
    };
    let (one, two) = (connection(), connection());
    let opened = [one.open(true), one.open(false), two.open(true)];
    assert!(opened.iter().all(|opened| opened.exceeded.is_none()));
    for connection in [&one, &two] {
        assert_eq!(connection.open(false).exceeded, Some(Error::TooManyStreams(3)));
    }
    drop(opened);
    assert_eq!(streams.load(Ordering::Relaxed), 0);
    assert_eq!(two.open(false).exceeded, None);
}
