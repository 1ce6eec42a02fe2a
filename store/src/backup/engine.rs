//! RocksDB's backup engine, and how far it has come.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rocksdb::Env;
use rocksdb::backup::{BackupEngine, BackupEngineOptions, RestoreOptions};

use super::{BackupError, BackupId};
use crate::db::{Db, failure};
use crate::error::StorageError;
use crate::merge::Progress;
use crate::status::size_of;

const INTERVAL: Duration = Duration::from_millis(100);

/// The engine, at work in a directory that nobody else changes.
pub struct Engine<'d> {
    dir: &'d Path,
    inner: BackupEngine,
}

impl<'d> Engine<'d> {
    pub fn open(dir: &'d Path) -> Result<Self, BackupError> {
        // Copied files are on the disk before the backup counts, by default.
        let open = || BackupEngine::open(&BackupEngineOptions::new(dir)?, &Env::new()?);
        let inner = open().map_err(|error| failure(dir, error))?;
        Ok(Self { dir, inner })
    }

    /// Makes a backup, all of whose files have the sizes that they should have.
    pub fn create(&mut self, db: &Db) -> Result<BackupId, BackupError> {
        db.back_up(&mut self.inner)?;
        let newest = self.ids().max();
        let id = newest.ok_or_else(|| StorageError::damaged("the new backup is not there"))?;
        self.inner.verify_backup(id.0).map_err(|error| failure(self.dir, error))?;
        Ok(id)
    }

    /// Copies a backup to a directory, and compares every file with its checksum.
    pub fn restore(&mut self, id: BackupId, to: &Path) -> Result<(), BackupError> {
        let restored = self.inner.restore_from_backup(to, to, &RestoreOptions::default(), id.0);
        Ok(restored.map_err(|error| failure(self.dir, error))?)
    }

    /// Removes the backups before `first`, and what they alone consist of.
    pub fn remove_before(&mut self, first: BackupId) -> Result<(), BackupError> {
        let kept = self.ids().filter(|id| *id >= first).count();
        Ok(self.inner.purge_old_backups(kept).map_err(|error| failure(self.dir, error))?)
    }

    fn ids(&self) -> impl Iterator<Item = BackupId> + use<> {
        self.inner.get_backup_info().into_iter().map(|info| BackupId(info.backup_id))
    }
}

/// Does `work`, and tells by how many bytes the files below `dir` have grown, of about `total`.
pub fn watch<T>(
    dir: &Path,
    total: u64,
    progress: Progress<'_>,
    work: impl FnOnce() -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    // Files come and go meanwhile: what cannot be measured is not told.
    let before = size_of(dir).unwrap_or_default();
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Ok(size) = size_of(dir) {
                    progress(size.saturating_sub(before).min(total), total);
                }
            }
            progress(total, total);
        });
        let result = work();
        drop(done);
        result
    })
}
