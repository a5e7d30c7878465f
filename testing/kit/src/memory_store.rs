//! Room records in memory, for tests in which a disk would be slow or would have to be simulated.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use signalbox_core::id::RoomName;
use signalbox_server::{
    clock::now_ms,
    store::{Created, Filter, Record, Settings, Store, Unavailable, Updated, Usage},
};

/// The records, by name; expired ones stay until `renew_expiry` or a new record with that name removes them.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<String, Record>>);

impl MemoryStore {
    /// Deletes all records.
    pub fn clear(&self) {
        self.records().clear();
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.0.lock()
    }
}

fn is_current(record: &Record) -> bool {
    !record.is_expired(now_ms())
}

#[async_trait]
impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn check(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn create(&self, record: Record) -> Result<Created, Unavailable> {
        let mut records = self.records();
        if let Some(existing) = records.get(&record.name).filter(|record| is_current(record)) {
            return Ok(Created::Exists(Box::new(existing.clone())));
        }
        records.insert(record.name.clone(), record);
        Ok(Created::New)
    }

    async fn get(&self, name: &RoomName) -> Result<Option<Record>, Unavailable> {
        Ok(self.records().get(name.as_str()).filter(|record| is_current(record)).cloned())
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Record>, Unavailable> {
        let is_listed = |record: &&Record| {
            is_current(record)
                && filter.after.as_ref().is_none_or(|after| record.name > *after)
                && record.has_labels(&filter.labels)
        };
        Ok(self.records().values().filter(is_listed).take(filter.limit).cloned().collect())
    }

    async fn update(
        &self,
        name: &RoomName,
        expected_version: Option<u64>,
        settings: Settings,
    ) -> Result<Updated, Unavailable> {
        let mut records = self.records();
        let Some(record) = records.get_mut(name.as_str()).filter(|record| is_current(record)) else {
            return Ok(Updated::Missing);
        };
        if expected_version.is_some_and(|expected| expected != record.version) {
            return Ok(Updated::Conflict(Box::new(record.clone())));
        }
        record.update(settings, now_ms());
        Ok(Updated::Done(Box::new(record.clone())))
    }

    async fn delete(&self, name: &RoomName) -> Result<bool, Unavailable> {
        Ok(self.records().remove(name.as_str()).is_some_and(|record| is_current(&record)))
    }

    async fn renew_expiry(&self, in_use: Vec<RoomName>, grace: Duration) -> Result<usize, Unavailable> {
        let mut records = self.records();
        for name in &in_use {
            let record = records.get_mut(name.as_str());
            if let Some(record) = record.filter(|record| record.settings.empty_timeout_ms.is_some()) {
                record.renew_expiry(now_ms(), grace);
            }
        }
        let before = records.len();
        records.retain(|_, record| is_current(record));
        Ok(before - records.len())
    }

    async fn add_usage(&self, usages: Vec<Usage>) -> Result<(), Unavailable> {
        let mut records = self.records();
        for tally in &usages {
            if let Some(record) = records.get_mut(tally.name.as_str()) {
                record.add_usage(tally);
            }
        }
        Ok(())
    }
}
