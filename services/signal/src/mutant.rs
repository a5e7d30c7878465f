//! Deliberate faults, for testing the tests: each breaks one promise that the proof of the guarantee watches.
//!
//! Only with the feature `mutants`, which no release has; without it [`is`] is `false` at compile time. The variable
//! `SIGNALBOX_MUTANT` names the one that is active.

/// A deliberate fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A message that is sent again is handled again.
    NoDedupe,
    /// One signal in 10,000 is accepted and thrown away.
    DropSome,
    /// Now and then two waiting entries change places.
    SwapTwo,
    /// A signal for a full mailbox is acknowledged as if it had been appended.
    AckBeforeAppend,
    /// A replay begins one entry too late.
    ReplayOffByOne,
    /// A stream of an older generation still takes entries.
    ForgetGeneration,
    /// The sender is not the one who sent.
    WrongFrom,
    /// Mailboxes have no limit.
    UnboundedQueue,
    /// A session that times out leaves without a word.
    SilentEnd,
}

/// Whether that fault is active, and this is one of the few signals that it hits: one in 10,000 of the whole server.
pub(crate) fn hits(mutant: Mutant) -> bool {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SIGNALS: AtomicU64 = AtomicU64::new(1);
    is(mutant) && SIGNALS.fetch_add(1, Ordering::Relaxed).is_multiple_of(10_000)
}

/// Whether that fault is active.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}

/// Whether that fault is active.
#[cfg(feature = "mutants")]
pub(crate) fn is(mutant: Mutant) -> bool {
    static ACTIVE: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| std::env::var("SIGNALBOX_MUTANT").unwrap_or_default());
    *ACTIVE == format!("{mutant:?}")
}
