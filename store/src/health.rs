//! How a store is doing, for those who watch over it.

use crate::db::DatabaseStats;
use crate::error::StorageError;
use crate::ledger::Ledger;

impl Ledger {
    /// What the database tells of itself. It reads no data.
    ///
    /// # Errors
    /// The disk or the database.
    pub fn database_stats(&self) -> Result<DatabaseStats, StorageError> {
        self.db.stats()
    }

    /// Whether the store takes writes, as far as that can be told without one.
    ///
    /// # Errors
    /// What a write would fail with: [`StorageError::Poisoned`], [`StorageError::NoRoom`].
    pub fn check_writable(&self) -> Result<(), StorageError> {
        self.commits.check()?;
        self.lock_writer().check()?;
        self.db.check_writable()
    }
}
