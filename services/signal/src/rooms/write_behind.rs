//! Write-behind of room records: expiry and usage counters. No caller waits for these writes, and a crash may lose some
//! usage.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_core::id::RoomName;
use tokio::{sync::Notify, time};
use tracing::{info, warn};

use super::{LiveRoom, Rooms};
use crate::store::{GRACE, Usage};

/// Interval at which the server writes the records of rooms in use.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);
/// Maximum rooms whose usage waits for an unavailable store. The buffer drops the usage of further rooms.
const MAX_PENDING: usize = 10_000;

/// Usage that the store does not have yet.
#[derive(Default)]
pub(super) struct UsageBuffer {
    pending: Mutex<Pending>,
    /// Notified when a room becomes empty, to write its usage at once.
    flush: Notify,
}

#[derive(Default)]
struct Pending {
    usage: HashMap<RoomName, Usage>,
    dropped: u64,
}

impl UsageBuffer {
    /// Adds the usage of a room, or drops it if too many rooms wait.
    fn add(&self, usage: Usage) {
        let mut pending = self.pending.lock();
        let has_space = pending.usage.len() < MAX_PENDING;
        match pending.usage.entry(usage.name.clone()) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.joins += usage.joins;
                known.calls += usage.calls;
                known.last_active_ms = known.last_active_ms.max(usage.last_active_ms);
            }
            Entry::Vacant(new) if has_space => _ = new.insert(usage),
            Entry::Vacant(_) => pending.dropped += 1,
        }
    }

    /// Takes all buffered usage, and the number of dropped entries.
    fn take(&self) -> (Vec<Usage>, u64) {
        let Pending { usage, dropped } = std::mem::take(&mut *self.pending.lock());
        (usage.into_values().collect(), dropped)
    }
}

impl Rooms {
    /// Schedules the usage of a room whose last member has left.
    pub(super) fn room_emptied(&self, room: &LiveRoom) {
        self.usage.add(room.take_usage());
        self.usage.flush.notify_one();
    }

    /// Closes a deleted room and discards its usage, which must not count for a new room with the same name.
    pub fn close(&self, room: &LiveRoom) {
        room.close();
        self.usage.pending.lock().usage.remove(room.name());
    }

    /// Renews the records of rooms in use, expires other records and writes usage until the server drains. Then writes
    /// the remaining usage.
    pub async fn run_write_behind(self: Arc<Self>) {
        let mut tick = time::interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut is_available = true;
        loop {
            tokio::select! {
                biased;
                () = self.draining() => break,
                _ = tick.tick() => self.renew_rooms().await,
                // After a failed write, the next attempt waits for the tick.
                () = self.usage.flush.notified(), if is_available => {}
            }
            is_available = self.flush().await;
        }
        self.collect_usage();
        self.flush().await;
    }

    /// Collects the usage of rooms in use and returns their names.
    fn collect_usage(&self) -> Vec<RoomName> {
        let mut rooms = self.all();
        rooms.retain(|room| room.is_in_use());
        rooms.iter().for_each(|room| self.usage.add(room.take_usage()));
        rooms.iter().map(|room| room.name().clone()).collect()
    }

    async fn renew_rooms(&self) {
        let in_use = self.collect_usage();
        // The store logs a failure, and the next tick retries.
        if let Ok(expired) = self.store.renew_expiry(in_use, GRACE).await
            && expired > 0
        {
            info!(expired, "room records expired");
        }
        for room in self.all().into_iter().filter(|room| room.is_dormant()) {
            let _lock = self.room_lock(room.name()).await;
            if room.is_dormant() && matches!(self.store.get(room.name()).await, Ok(None)) {
                room.close();
            }
        }
    }

    /// Writes the collected usage and returns whether the write succeeded. After a failure, the usage waits for the
    /// next flush.
    async fn flush(&self) -> bool {
        let (usage, dropped) = self.usage.take();
        if dropped > 0 {
            warn!(dropped, "usage counters dropped: the store was unavailable for too long");
        }
        let is_done = usage.is_empty() || self.store.add_usage(usage.clone()).await.is_ok();
        if !is_done {
            usage.into_iter().for_each(|usage| self.usage.add(usage));
        }
        is_done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(name: &str, joins: u64) -> Usage {
        let name = RoomName::parse(name, "name").expect("a name");
        Usage { name, joins, calls: 1, last_active_ms: joins }
    }

    #[test]
    fn usage_of_a_room_is_summed_and_usage_of_too_many_rooms_is_dropped() {
        let buffer = UsageBuffer::default();
        for joins in [3, 1] {
            buffer.add(usage("a", joins));
        }
        for other in 1..=MAX_PENDING {
            buffer.add(usage(&format!("b{other}"), 1));
        }
        buffer.add(usage("a", 2));
        let (pending, dropped) = buffer.take();
        assert_eq!((pending.len(), dropped), (MAX_PENDING, 1));
        let a = pending.iter().find(|usage| usage.name.as_str() == "a").expect("it came first");
        assert_eq!((a.joins, a.calls, a.last_active_ms), (6, 3, 3));
        assert_eq!(buffer.take(), (vec![], 0));
    }
}
