//! A redb file that is opened again after an I/O error, such as a full disk. redb refuses every further write until then.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::RwLock;
use redb::{Database, TableDefinition};
use tracing::{info, warn};

/// A table that only [`DatabaseFile::probe`] uses.
const PROBE: TableDefinition<'_, (), &[u8]> = TableDefinition::new("probe");
/// More bytes than a record has: labels of 4 KiB with the overhead of JSON, and settings.
const PROBE_BYTES: usize = 16 * 1024;

/// A redb file.
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// `None` while the file cannot be opened again.
    database: RwLock<Option<Database>>,
    /// Whether an I/O error occurred, and no probe has succeeded since.
    has_failed: AtomicBool,
}

impl DatabaseFile {
    /// Opens the file, or creates it if missing.
    pub(super) fn open(path: PathBuf) -> Result<Self, redb::Error> {
        let database = RwLock::new(Some(Database::create(&path)?));
        Ok(Self { path, database, has_failed: AtomicBool::new(false) })
    }

    /// Returns whether an I/O error occurred, and no probe has succeeded since.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Runs `work` with the database. After an I/O error, opens the file again for the next call.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        if self.database.read().is_none() {
            self.reopen()?;
        }
        let result = match &*self.database.read() {
            Some(database) => work(database),
            None => Err(redb::Error::PreviousIo),
        };
        if let Err(redb::Error::Io(_) | redb::Error::PreviousIo) = &result {
            self.has_failed.store(true, Ordering::Relaxed);
            // The error of the call says more than one of this attempt, and the next call tries again.
            if let Err(error) = self.reopen() {
                warn!(%error, "cannot reopen the room store");
            }
        }
        result
    }

    /// Closes the file, if it is open, and opens it again. Waits for calls that use it. A missing file is an error, since
    /// an empty one would hide that all records are lost.
    fn reopen(&self) -> Result<(), redb::Error> {
        let mut database = self.database.write();
        *database = None;
        *database = Some(Database::open(&self.path)?);
        Ok(())
    }

    /// Writes as much as a record needs, and removes it. A success ends the failure that [`has_failed`] reports.
    ///
    /// [`has_failed`]: Self::has_failed
    pub(super) fn probe(&self) -> Result<(), redb::Error> {
        let write = |database: &Database, bytes: Option<&[u8]>| {
            let transaction = database.begin_write()?;
            let mut table = transaction.open_table(PROBE)?;
            match bytes {
                Some(bytes) => drop(table.insert((), bytes)?),
                None => drop(table.remove(())?),
            }
            drop(table);
            Ok::<_, redb::Error>(transaction.commit()?)
        };
        self.with(|database| {
            write(database, Some(&[0; PROBE_BYTES]))?;
            write(database, None)
        })?;
        self.has_failed.store(false, Ordering::Relaxed);
        info!("room store recovered");
        Ok(())
    }
}
