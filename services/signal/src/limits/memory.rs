//! The memory of the process and its limit (`--max-memory-mib`).
//!
//! The limit applies to resident memory, because the system kills a process that uses too much of it. Resident memory
//! does not fall when sessions end: the allocator keeps their memory for reuse. So near the limit, memory that was
//! freed since the peak counts as available. The server estimates a lower bound of the memory that it holds, from idle
//! sessions and connections, so that memory in use never counts as available.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::param::page_size;
use tokio::time;

/// Memory of this process, in pages (proc(5)).
const STATM: &str = "/proc/self/statm";
/// Interval between measurements. A process can allocate little within it, compared with the last tenth of the limit.
const INTERVAL: Duration = Duration::from_millis(50);

/// Resident memory of an idle session without attributes, in bytes. Measured with `scripts/bench.sh idle` over shared
/// connections: 7.7 kB per member (1 kB is 1,000 bytes).
pub const SESSION: u64 = 7_700;
/// Resident memory of a connection without its sessions, in bytes. Measured with `scripts/bench.sh idle` with one
/// connection per member: 31 kB per member, minus [`SESSION`].
pub const CONNECTION: u64 = 23_000;
/// Resident memory of a stream without a session, in bytes. Rounded down from 7.9 kB, measured with 16 streams instead
/// of 1 on each of 50 connections.
pub const STREAM: u64 = 7_500;

/// The memory of the process, and its limit.
#[derive(Debug)]
pub struct Memory {
    /// The limit in bytes; `u64::MAX` = no limit.
    limit: u64,
    needed: AtomicU64,
}

impl Memory {
    /// Creates an instance without a limit.
    pub fn unbounded() -> Arc<Self> {
        Arc::new(Self { limit: u64::MAX, needed: AtomicU64::new(0) })
    }

    /// Creates an instance with a limit in MiB, if any. A limit needs Linux, because it is compared with
    /// `/proc/self/statm`.
    pub fn new(limit_mib: Option<u64>) -> Result<Arc<Self>, String> {
        let Some(limit_mib) = limit_mib else { return Ok(Self::unbounded()) };
        let resident =
            resident().map_err(|error| format!("--max-memory-mib needs Linux: cannot read {STATM}: {error}"))?;
        Ok(Arc::new(Self { limit: limit_mib.saturating_mul(1024 * 1024), needed: AtomicU64::new(resident) }))
    }

    /// Returns the bytes that count against the limit: resident memory minus available memory. `None` without a limit.
    pub fn needed(&self) -> Option<u64> {
        (self.limit != u64::MAX).then(|| self.needed.load(Ordering::Relaxed))
    }

    /// Returns whether new members may join. The last tenth of the limit is reserved for existing sessions.
    pub fn accepts_joins(&self) -> bool {
        self.needed.load(Ordering::Relaxed) < self.join_limit()
    }

    /// Returns whether the listener may accept another connection. Connections may use the full limit, so that existing
    /// sessions can resume.
    pub fn accepts_connections(&self) -> bool {
        self.needed.load(Ordering::Relaxed) < self.limit
    }

    fn join_limit(&self) -> u64 {
        self.limit / 10 * 9
    }

    /// Measures memory for as long as the server runs. `held` returns a lower bound of the bytes that the server holds;
    /// it visits every room, so `watch` calls it only near the limit.
    pub async fn watch(self: Arc<Self>, held: impl Fn() -> u64) {
        if self.limit == u64::MAX {
            return;
        }
        let mut tick = time::interval(INTERVAL);
        let mut peak = Peak::default();
        loop {
            tick.tick().await;
            // The read in `new` succeeded, so an error is transient: keep the last value.
            let Ok(resident) = resident() else { continue };
            let needed = if resident < self.join_limit() {
                peak = Peak::default();
                resident
            } else {
                peak.needed(resident, held())
            };
            self.needed.store(needed, Ordering::Relaxed);
        }
    }
}

/// Memory at the moment when the server held the most bytes since it came near the limit.
#[derive(Debug, Default)]
struct Peak {
    resident: u64,
    held: u64,
}

impl Peak {
    /// Returns the resident memory minus the available memory.
    fn needed(&mut self, resident: u64, held: u64) -> u64 {
        if held >= self.held {
            *self = Self { resident, held };
        }
        let freed = self.held - held;
        // Subtract from the peak, because memory that the allocator returned to the system must not count as available
        // again.
        resident.max(self.resident).saturating_sub(freed).min(resident)
    }
}

/// Reads the resident memory of this process, in bytes.
fn resident() -> io::Result<u64> {
    let statm = fs::read_to_string(STATM)?;
    let pages: Option<u64> = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    Ok(pages.ok_or(io::ErrorKind::InvalidData)? * page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_memory_is_available() {
        let mut peak = Peak::default();
        assert_eq!(peak.needed(900, 500), 900);
        assert_eq!(peak.needed(950, 560), 950, "the server holds more than before");
        assert_eq!(peak.needed(950, 460), 850, "the allocator keeps what was freed");
        assert_eq!(peak.needed(960, 460), 860, "growth of the process is not available");
        assert_eq!(peak.needed(900, 460), 850, "half of it went back to the system");
        assert_eq!(peak.needed(840, 460), 840, "more than that went back to the system");
        assert_eq!(peak.needed(950, 560), 950, "new sessions reuse it");
        assert_eq!(peak.needed(950, 0), 390);
        let mut empty = Peak::default();
        assert_eq!(empty.needed(900, 0), 900);
    }
}
