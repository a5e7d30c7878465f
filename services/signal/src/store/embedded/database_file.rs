//! A redb file that is reopened after an I/O error, such as a full disk, because redb rejects all writes until then.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::RwLock;
use redb::{Database, TableDefinition};
use tracing::{info, warn};

/// A table that only [`DatabaseFile::probe`] uses.
const PROBE: TableDefinition<'_, (), &[u8]> = TableDefinition::new("probe");
/// Size of the value that a probe writes, in bytes. It exceeds a record with 4 KiB of labels and few bans.
const PROBE_BYTES: usize = 16 * 1024;

/// A redb file.
pub(super) struct DatabaseFile {
    path: PathBuf,
    /// `None` while the file cannot be reopened.
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

    /// Runs `work` with the database. After an I/O error, reopens the file for the next call.
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
            // Return the error of `work`, which is more specific. The next call tries to reopen the file again.
            if let Err(error) = self.reopen() {
                warn!(%error, "cannot reopen the room store");
            }
        }
        result
    }

    /// Reopens the file after the calls that use it have ended. A missing file is an error, since a new one would hide
    /// that all records are lost.
    fn reopen(&self) -> Result<(), redb::Error> {
        let mut database = self.database.write();
        *database = None;
        *database = Some(Database::open(&self.path)?);
        Ok(())
    }

    /// Writes a value of [`PROBE_BYTES`] and removes it. Success resets [`has_failed`].
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
