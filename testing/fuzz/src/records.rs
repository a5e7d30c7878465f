//! Room records in memory: fuzzing is about what strangers send, and a disk would make it slow.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use signalbox_server::{
    room::id::RoomName,
    store::{Created, Filter, Record, Settings, Store, Tally, Unavailable, Updated, now_ms},
};

/// The records by name.
#[derive(Default)]
pub struct Records(Mutex<BTreeMap<String, Record>>);

impl Records {
    /// Forgets all of them.
    pub fn clear(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, record| !record.is_expired(now_ms()));
        all
    }
}

#[async_trait]
impl Store for Records {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn create(&self, record: Record) -> Result<Created, Unavailable> {
        let mut all = self.all();
        Ok(match all.get(&record.name) {
            Some(existing) => Created::Exists(Box::new(existing.clone())),
            None => {
                all.insert(record.name.clone(), record);
                Created::New
            }
        })
    }

    async fn get(&self, name: &RoomName) -> Result<Option<Record>, Unavailable> {
        Ok(self.all().get(name.as_str()).cloned())
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Record>, Unavailable> {
        let all = self.all();
        let after = |record: &&Record| filter.after.as_ref().is_none_or(|after| record.name > *after);
        let listed = all.values().filter(after).filter(|record| record.has_labels(&filter.labels));
        Ok(listed.take(filter.limit).cloned().collect())
    }

    async fn update(
        &self,
        name: &RoomName,
        expected_version: Option<u64>,
        settings: Settings,
    ) -> Result<Updated, Unavailable> {
        let mut all = self.all();
        Ok(match all.get_mut(name.as_str()) {
            None => Updated::Missing,
            Some(record) if expected_version.is_some_and(|expected| expected != record.version) => {
                Updated::Conflict(Box::new(record.clone()))
            }
            Some(record) => {
                record.update(settings, now_ms());
                Updated::Done(Box::new(record.clone()))
            }
        })
    }

    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable> {
        Ok(self.all().remove(name.as_str()).is_some())
    }

    async fn keep(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable> {
        let mut all = self.all();
        for name in in_use {
            if let Some(record) = all.get_mut(name.as_str()) {
                record.keep(now_ms(), grace);
            }
        }
        Ok(0)
    }

    async fn tally(&self, tallies: Vec<Tally>) -> Result<(), Unavailable> {
        let mut all = self.all();
        for tally in &tallies {
            if let Some(record) = all.get_mut(tally.name.as_str()) {
                record.tally(tally);
            }
        }
        Ok(())
    }
}
