//! How much memory the process has, and whether that leaves room for newcomers.
//!
//! What counts is resident memory, since that is what a process is killed for. But what sessions have had when they end
//! stays with the process: malloc keeps it and gives it to the next, before the process grows. So near the bound what the
//! server itself holds counts beside: whatever of that has gone since it was most is there for newcomers. It is counted
//! low, with what idle sessions and connections take, so that nothing counts as free that is not.

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

/// How often it is looked at. What comes in between is small beside what is left free.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes that an idle session takes, as `scripts/bench.sh idle` measures it, without what its member says of itself.
pub const SESSION: u64 = 7_700;
/// Bytes that a connection takes beside its sessions, measured in the same way.
pub const CONNECTION: u64 = 23_000;

/// The memory of this process, and its bound.
#[derive(Debug)]
pub struct Memory {
    most: u64,
    needed: AtomicU64,
}

impl Memory {
    /// Without a bound.
    pub fn unbounded() -> Arc<Self> {
        Arc::new(Self { most: u64::MAX, needed: AtomicU64::new(0) })
    }

    /// With a bound in MiB, if there is one. Linux tells how much a process has; elsewhere there can be none.
    pub fn new(most: Option<u64>) -> Result<Arc<Self>, String> {
        let Some(most) = most else { return Ok(Self::unbounded()) };
        let resident = resident().map_err(|error| {
            format!("--max-memory-mib needs Linux, which tells the memory of a process in /proc/self/statm: {error}")
        })?;
        Ok(Arc::new(Self { most: most.saturating_mul(1024 * 1024), needed: AtomicU64::new(resident) }))
    }

    /// What is compared with the bound, where there is one: resident memory, less what is free in it, in bytes.
    pub fn needed(&self) -> Option<u64> {
        (self.most != u64::MAX).then(|| self.needed.load(Ordering::Relaxed))
    }

    /// Whether somebody new may join. The last tenth is for those who are there.
    pub fn accepts_joins(&self) -> bool {
        self.needed.load(Ordering::Relaxed) < self.near()
    }

    /// Whether another connection may be taken, if only for those who are there and come back.
    pub fn accepts_connections(&self) -> bool {
        self.needed.load(Ordering::Relaxed) < self.most
    }

    fn near(&self) -> u64 {
        self.most / 10 * 9
    }

    /// Keeps looking, for as long as the server runs. `held` counts the bytes that the server holds at least; it is
    /// asked near the bound only.
    pub async fn watch(self: Arc<Self>, held: impl Fn() -> u64) {
        if self.most == u64::MAX {
            return;
        }
        let mut tick = time::interval(LOOK);
        let mut peak = Peak::default();
        loop {
            tick.tick().await;
            // It was told at the start, so it is told now; and else what was told last holds.
            let Ok(resident) = resident() else { continue };
            let needed = if resident < self.near() {
                peak = Peak::default();
                resident
            } else {
                peak.needed(resident, held())
            };
            self.needed.store(needed, Ordering::Relaxed);
        }
    }
}

/// When the server held most, since its memory came near the bound.
#[derive(Debug, Default)]
struct Peak {
    resident: u64,
    held: u64,
}

impl Peak {
    /// What the process needs of its resident memory.
    fn needed(&mut self, resident: u64, held: u64) -> u64 {
        if held >= self.held {
            *self = Self { resident, held };
        }
        // What the system has got back must not be counted as free again.
        let free = self.held - held;
        resident.max(self.resident).saturating_sub(free).min(resident)
    }
}

/// What this process has, in bytes.
fn resident() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    Ok(pages.ok_or(io::ErrorKind::InvalidData)? * page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_gone_is_free() {
        let mut peak = Peak::default();
        assert_eq!(peak.needed(900, 500), 900);
        assert_eq!(peak.needed(950, 560), 950, "the server holds more than before");
        assert_eq!(peak.needed(950, 460), 850, "malloc keeps what has gone");
        assert_eq!(peak.needed(960, 460), 860, "what the process grows by is not free");
        assert_eq!(peak.needed(900, 460), 850, "the system has got half of it back");
        assert_eq!(peak.needed(840, 460), 840, "the system has got back more than that");
        assert_eq!(peak.needed(950, 560), 950, "others have taken it");
        assert_eq!(peak.needed(950, 0), 390);
        let mut nobody = Peak::default();
        assert_eq!(nobody.needed(900, 0), 900);
    }
}
