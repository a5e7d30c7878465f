use super::*;

fn activity(rates: Option<Rates>) -> Arc<Activity> {
    Arc::new(Activity::new(rates, Arc::default()))
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
        drop(activity.open());
    }
    assert!(!is_reset_limit_reached(&activity).await);
    tokio::time::advance(Duration::from_millis(500)).await;
    for _ in 0..10 {
        drop(activity.open());
    }
    assert!(!is_reset_limit_reached(&activity).await);
    drop(activity.open());
    assert!(is_reset_limit_reached(&activity).await);
}

#[tokio::test(start_paused = true)]
async fn answered_streams_and_trusted_clients_are_not_limited() {
    for (rates, is_answered) in [(rates((1000, 1000), (1, 1)), true), (None, false)] {
        let activity = activity(rates);
        for _ in 0..1000 {
            let (mut stream, wait) = activity.open();
            stream.is_answered = is_answered;
            assert!(wait.is_zero());
        }
        assert!(!is_reset_limit_reached(&activity).await);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_rate_wait() {
    let activity = activity(rates((100, 10), (0, 1000)));
    let opened = |count: u32| (0..count).map(|_| activity.open().1).collect::<Vec<_>>();
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
    let (one, two) = (activity.open(), activity.open());
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
