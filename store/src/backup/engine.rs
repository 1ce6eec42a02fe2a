//! RocksDB's backup engine, and how far it has come.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rocksdb::Env;
use rocksdb::backup::{BackupEngine, BackupEngineOptions, RestoreOptions};

use super::{BackupError, BackupId};
use crate::db::Db;
use crate::error::StorageError;
use crate::merge::Progress;
use crate::status::size_of;

const INTERVAL: Duration = Duration::from_millis(100);

/// The engine, at work in a directory that nobody else changes.
pub struct Engine(BackupEngine);

impl Engine {
    pub fn open(dir: &Path) -> Result<Self, BackupError> {
        // Copied files are on the disk before the backup counts, by default.
        let options = BackupEngineOptions::new(dir)?;
        Ok(Self(BackupEngine::open(&options, &Env::new()?)?))
    }

    /// Makes a backup, all of whose files have the sizes that they should have.
    pub fn create(&mut self, db: &Db) -> Result<BackupId, BackupError> {
        db.back_up(&mut self.0)?;
        let newest = self.ids().max();
        let id = newest.ok_or_else(|| StorageError::damaged("the new backup is not there"))?;
        self.0.verify_backup(id.0)?;
        Ok(id)
    }

    /// Copies a backup to a directory, and compares every file with its checksum.
    pub fn restore(&mut self, id: BackupId, to: &Path) -> Result<(), BackupError> {
        Ok(self.0.restore_from_backup(to, to, &RestoreOptions::default(), id.0)?)
    }

    /// Removes the backups before `first`, and what they alone consist of.
    pub fn remove_before(&mut self, first: BackupId) -> Result<(), BackupError> {
        let kept = self.ids().filter(|id| *id >= first).count();
        Ok(self.0.purge_old_backups(kept)?)
    }

    fn ids(&self) -> impl Iterator<Item = BackupId> + use<> {
        self.0.get_backup_info().into_iter().map(|info| BackupId(info.backup_id))
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
