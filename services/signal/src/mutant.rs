//! Deliberate faults, for testing the tests: each breaks one promise that the proof of the guarantee watches, and
//! scripts/mutants.sh, which reads the names below, checks that the proof finds out each of them.
//!
//! Only with the feature `mutants`, which no release has; without it [`is`] is `false` at compile time. The variable
//! `SIGNALBOX_MUTANT` names the one that is active, in the program `signalbox-mutant`.

/// A deliberate fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A message that is sent again is handled again. G1: the receiver sees it twice.
    NoDedupe,
    /// One signal in 10,000 is accepted and thrown away. G1: a later one shows the gap.
    DropSome,
    /// A new entry takes the place before the last that waits. G1 and G5: signals out of order, or before a join.
    SwapTwo,
    /// A signal for a full mailbox is acknowledged as if it had been appended. G6: it is lost in silence.
    AckBeforeAppend,
    /// A replay begins one entry too late. G7: a hole.
    ReplayOffByOne,
    /// A stream of an older generation still takes entries. G1: those are missing in the newer one.
    ForgetGeneration,
    /// The sender is not the one who sent. G4.
    WrongFrom,
    /// Mailboxes have no limit. G6: the fullest one passes the cap, as /metrics tells.
    UnboundedQueue,
    /// A session that times out leaves without a word. G2 and G5: the others never hear of it.
    SilentEnd,
    /// Entries that a snapshot has shown are merged and dropped as if the client did not know of them. G2 and G5: a
    /// member that `Resumed` named leaves, and the client never receives its leave.
    MergeKnown,
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
