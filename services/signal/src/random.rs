//! Random bits: from the operating system, or from a seed in a reproducible simulation.

use std::{fmt, sync::Arc};

/// A source of random bits.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Random {
    /// Uses the random bits of the operating system.
    pub fn system() -> Self {
        Self::from_fn(|bits| getrandom::fill(bits).expect("the operating system provides random bits"))
    }

    /// Uses `fill` as the source. It must be unpredictable outside tests, because the server generates secrets from it.
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// Returns `N` new random bytes.
    pub fn bits<const N: usize>(&self) -> [u8; N] {
        let mut bits = [0; N];
        (self.0)(&mut bits);
        bits
    }

    /// Returns a random number from 0 to 1.
    pub fn unit(&self) -> f64 {
        f64::from(u32::from_ne_bytes(self.bits())) / f64::from(u32::MAX)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}
