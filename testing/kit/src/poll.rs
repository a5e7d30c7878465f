//! Waiting for a condition for which there is no event.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Time between two probes.
const INTERVAL: Duration = Duration::from_millis(20);

/// Probes until there is a value, which must come within `limit`; `what` names it if it does not.
pub async fn eventually<T>(limit: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let probing = async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            sleep(INTERVAL).await;
        }
    };
    timeout(limit, probing).await.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
}

/// The same for a probe that need not wait. `None`: there was no value within `limit`.
pub async fn poll_until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let value = probe();
        if value.is_some() || Instant::now() >= end {
            return value;
        }
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_value_ends_the_probing() {
        let mut probes = 0;
        let value = eventually(Duration::from_secs(1), "a third probe", async || {
            probes += 1;
            (probes == 3).then_some(probes)
        });
        assert_eq!(value.await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn probing_ends_at_its_limit() {
        assert_eq!(poll_until(Duration::from_secs(1), || None::<()>).await, None);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "an answer: not within 1s")]
    async fn a_hanging_probe_ends_at_its_limit() {
        eventually(Duration::from_secs(1), "an answer", async || std::future::pending::<Option<()>>().await).await;
    }
}
