//! Where random bits come from: the system, or a seed in a simulation that must be repeatable.

use std::{fmt, sync::Arc};

/// A source of random bits.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

impl Random {
    /// The operating system's.
    pub fn system() -> Self {
        Self::from_fn(|bits| getrandom::fill(bits).expect("a system without random bits cannot keep a secret"))
    }

    /// A source of the caller's. Secrets are made from it.
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// Fresh bits.
    pub fn bits<const N: usize>(&self) -> [u8; N] {
        let mut bits = [0; N];
        (self.0)(&mut bits);
        bits
    }

    /// A number from 0 to 1.
    pub fn unit(&self) -> f64 {
        f64::from(u32::from_ne_bytes(self.bits())) / f64::from(u32::MAX)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}
