//! What is written to the records of live rooms from time to time: that they are in use, and what was counted in them.
//! Written behind: nobody waits for it, a store that is down holds up nothing, and a crash may lose some of it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time};
use tracing::{info, warn};

use super::{Hub, LiveRoom};
use crate::{
    room::id::RoomName,
    store::{GRACE, Tally},
};

/// How often the records of rooms in use are written to.
const BOOKKEEPING: Duration = Duration::from_secs(30);
/// Rooms whose counts may wait while the store is down; those of further rooms are lost.
const MAX_WAITING: usize = 10_000;

/// Counts on their way to the store.
#[derive(Default)]
pub(super) struct Ledger {
    waiting: Mutex<Waiting>,
    /// A room has emptied: its counts need not wait for the others.
    wanted: Notify,
}

#[derive(Default)]
struct Waiting {
    tallies: HashMap<RoomName, Tally>,
    lost: u64,
}

impl Ledger {
    /// Adds what was counted in a room. Where too many rooms wait, it is lost.
    fn add(&self, tally: Tally) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let has_space = waiting.tallies.len() < MAX_WAITING;
        match waiting.tallies.entry(tally.name.clone()) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.joins += tally.joins;
                known.calls += tally.calls;
                known.last_active_ms = known.last_active_ms.max(tally.last_active_ms);
            }
            Entry::Vacant(new) if has_space => _ = new.insert(tally),
            Entry::Vacant(_) => waiting.lost += 1,
        }
    }

    /// Takes all that waits, and how often something was lost.
    fn take(&self) -> (Vec<Tally>, u64) {
        let Waiting { tallies, lost } =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        (tallies.into_values().collect(), lost)
    }
}

impl Hub {
    /// Nobody is left in a room: what was counted in it is written down soon.
    pub(super) fn emptied(&self, room: &LiveRoom) {
        self.ledger.add(room.tally());
        self.ledger.wanted.notify_one();
    }

    /// Closes a room whose record is deleted. What was counted in it is not counted for another of that name.
    pub fn close(&self, room: &LiveRoom) {
        room.close();
        self.ledger.waiting.lock().unwrap_or_else(PoisonError::into_inner).tallies.remove(room.name());
    }

    /// Keeps the records of rooms in use, lets the others expire, and writes down what was counted, until the server
    /// stops: then nothing more is counted, and all of it is written down.
    pub async fn run_bookkeeping(self: Arc<Self>) {
        let mut tick = time::interval(BOOKKEEPING);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut is_well = true;
        loop {
            tokio::select! {
                biased;
                () = self.drained() => break,
                _ = tick.tick() => self.keep_rooms().await,
                // A store that failed is left alone until the next tick.
                () = self.ledger.wanted.notified(), if is_well => {}
            }
            is_well = self.write_down().await;
        }
        self.count_rooms();
        self.write_down().await;
    }

    /// Adds up what was counted in rooms in use, and says which these are.
    fn count_rooms(&self) -> Vec<RoomName> {
        let mut rooms = self.all();
        rooms.retain(|room| room.is_in_use());
        rooms.iter().for_each(|room| self.ledger.add(room.tally()));
        rooms.iter().map(|room| room.name().clone()).collect()
    }

    async fn keep_rooms(&self) {
        let in_use = self.count_rooms();
        // What fails now is done at the next tick; the store has logged it.
        if let Ok(expired) = self.store.keep(in_use, GRACE).await
            && expired > 0
        {
            info!(expired, "records of empty rooms expired");
        }
        for room in self.all().into_iter().filter(|room| room.is_dormant()) {
            let _gate = self.gate(room.name()).await;
            if room.is_dormant() && matches!(self.store.get(room.name()).await, Ok(None)) {
                room.close();
            }
        }
    }

    /// Writes down what was counted; says whether that worked. What did not waits for the next time.
    async fn write_down(&self) -> bool {
        let (tallies, lost) = self.ledger.take();
        if lost > 0 {
            warn!(lost, "counts of joins and calls were lost: the store was not there for too long");
        }
        let is_done = tallies.is_empty() || self.store.tally(tallies.clone()).await.is_ok();
        if !is_done {
            tallies.into_iter().for_each(|tally| self.ledger.add(tally));
        }
        is_done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(name: &str, joins: u64) -> Tally {
        let name = RoomName::parse(name, "name").expect("a name");
        Tally { name, joins, calls: 1, last_active_ms: joins }
    }

    #[test]
    fn counts_of_one_room_add_up_and_those_of_too_many_are_lost_and_counted() {
        let ledger = Ledger::default();
        for joins in [3, 1] {
            ledger.add(tally("a", joins));
        }
        for other in 1..=MAX_WAITING {
            ledger.add(tally(&format!("b{other}"), 1));
        }
        ledger.add(tally("a", 2));
        let (tallies, lost) = ledger.take();
        assert_eq!((tallies.len(), lost), (MAX_WAITING, 1));
        let a = tallies.iter().find(|tally| tally.name.as_str() == "a").expect("it came first");
        assert_eq!((a.joins, a.calls, a.last_active_ms), (6, 3, 3));
        assert_eq!(ledger.take(), (vec![], 0));
    }
}
