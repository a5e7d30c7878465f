//! Random delays.

use std::time::Duration;

/// Returns a random duration between `min` and `max`, so that shares that lost their tunnels together do not reconnect
/// together.
pub(crate) fn jitter(min: Duration, max: Duration) -> Duration {
    let mut random = [0];
    // Without random bytes the delay is `min`. Missing jitter is no reason to fail.
    let _ = getrandom::fill(&mut random);
    min + max.saturating_sub(min).mul_f64(f64::from(random[0]) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_bounds() {
        let (min, max) = (Duration::from_millis(500), Duration::from_secs(8));
        assert!((0..100).all(|_| (min..=max).contains(&jitter(min, max))));
    }
}
