//! The database: opening it, reading from it at an instant, writing batches to it.

mod culprit;
mod logs;
mod open;
mod options;
mod reader;
mod remake;
mod salvage;
mod stats;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rocksdb::backup::BackupEngine;
use rocksdb::{
    BottommostLevelCompaction, Cache, ColumnFamily, CompactOptions, DB, ErrorKind, FlushOptions,
    IngestExternalFileOptions, LiveFile, Options, Snapshot, WriteBatch, WriteOptions, properties,
};

use self::options::family_options;
use crate::error::{OpenError, StorageError};
use crate::mark::{Loss, Mark, Tip};
use crate::room::Room;
use crate::schema::Family;

pub use self::culprit::failure;
use self::open::Families;
pub use self::open::peek;
pub use self::options::Tuning;
pub use self::reader::{Reader, Walk};
pub use self::remake::remake;
pub use self::salvage::Salvage;
pub use self::stats::DatabaseStats;

/// How long to wait before trying again, where RocksDB has to catch up before it takes more.
const CATCHING_UP: Duration = Duration::from_millis(1);

/// An open database.
pub struct Db {
    db: DB,
    path: PathBuf,
    /// How table files are written that the database takes over.
    tables: Options,
    mark: Mark,
    room: Room,
    /// How many errors there have been in the background that somebody was told of.
    told_errors: AtomicU64,
    /// Why nothing is written any more.
    broken: OnceLock<String>,
}

impl Db {
    /// Opens the database in `path`, or makes one there. Its mark is in the directory above.
    pub fn open(path: &Path, create: bool, tuning: Tuning) -> Result<Self, OpenError> {
        Self::open_with(path, if create { Families::New } else { Families::All }, tuning)
    }

    /// Opens the database in `path`, and makes the families that it lacks.
    pub fn open_lacking(path: &Path, tuning: Tuning) -> Result<Self, OpenError> {
        Self::open_with(path, Families::Some, tuning)
    }

    fn open_with(path: &Path, found: Families, tuning: Tuning) -> Result<Self, OpenError> {
        let cache = Cache::new_lru_cache(tuning.cache);
        let db = open::open(path, found, &cache, tuning)?;
        let mark = Mark::open(path.parent().unwrap_or(path), db.latest_sequence_number())?;
        Ok(Self {
            db,
            path: path.to_owned(),
            tables: family_options(Family::Blocks, &cache, tuning),
            mark,
            room: Room::new(path, tuning.min_free),
            told_errors: AtomicU64::new(0),
            broken: OnceLock::new(),
        })
    }

    /// Reads the latest state.
    pub const fn latest(&self) -> Reader<'_> {
        Reader::latest(self)
    }

    /// An instant to read at.
    pub fn snapshot(&self) -> Snapshot<'_> {
        self.db.snapshot()
    }

    /// Writes a batch as a whole, and waits until it is on the disk where `sync` says so. What is
    /// not synced is content, of any length: it is refused where there is no room for more.
    pub fn write(&self, batch: WriteBatch, sync: bool) -> Result<(), StorageError> {
        if !sync {
            self.room.check()?;
        }
        self.write_up_to(batch, sync, None)
    }

    /// Refuses where there is no room on the disk for more events or content.
    pub fn check_room(&self) -> Result<(), StorageError> {
        self.room.check()
    }

    /// Counts what is written to its disk otherwise.
    pub fn wrote_beside(&self, bytes: usize) {
        self.room.wrote(bytes);
    }

    /// Writes a batch of events like [`Self::write`], after which the last ones are those of `tip`.
    pub fn commit(&self, batch: WriteBatch, sync: bool, tip: Tip) -> Result<(), StorageError> {
        self.write_up_to(batch, sync, Some(tip))
    }

    fn write_up_to(
        &self,
        batch: WriteBatch,
        sync: bool,
        tip: Option<Tip>,
    ) -> Result<(), StorageError> {
        self.check()?;
        // Others may write meanwhile, and what they write may not be on the disk: so far it is.
        let written = self.db.latest_sequence_number() + batch.len() as u64;
        self.room.wrote(batch.size_in_bytes());
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        options.set_no_slowdown(true);
        self.write_patiently(batch, &options)?;
        if let Some(tip) = tip {
            self.mark.advance(tip);
        }
        if sync {
            self.mark.raise(written);
        }
        Ok(())
    }

    /// Waits until everything written is on the disk.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.check()?;
        let written = self.db.latest_sequence_number();
        self.db.flush_wal(true).map_err(|error| self.broke(error))?;
        self.mark.raise(written);
        Ok(())
    }

    /// Starts marking from what the database holds, of which these are the last events.
    pub fn start_mark(&self, tip: Tip) {
        self.mark.start(tip);
    }

    /// What was acknowledged, is gone, and has not been dealt with.
    pub fn loss(&self) -> Option<Loss> {
        self.mark.loss()
    }

    /// Whether the loss was noticed when this database was opened, and not before.
    pub fn is_loss_new(&self) -> bool {
        self.mark.is_loss_new()
    }

    /// Says that what was lost is back, or that somebody has dealt with it.
    pub fn settle_loss(&self) -> Result<(), StorageError> {
        self.mark.settle()
    }

    /// Adds a put to a batch.
    pub fn put(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StorageError> {
        batch.put_cf(self.family(family)?, key, value);
        Ok(())
    }

    /// Adds a delete to a batch.
    pub fn delete(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        key: &[u8],
    ) -> Result<(), StorageError> {
        batch.delete_cf(self.family(family)?, key);
        Ok(())
    }

    /// Moves everything into table files, so that the logs can go.
    pub fn flush_tables(&self) -> Result<(), StorageError> {
        let handles = Family::ALL.map(|family| self.family(family));
        let handles = handles.into_iter().collect::<Result<Vec<_>, _>>()?;
        let handles: Vec<_> = handles.iter().collect();
        self.db.flush_cfs_opt(&handles, &FlushOptions::default()).map_err(|error| self.broke(error))
    }

    /// Rewrites the table files that hold keys from `first` to `last`, without what is deleted.
    pub fn rewrite(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StorageError> {
        self.compact_range(family, Some(first), Some(last))
    }

    /// RocksDB does not tell of failures here, but counts them.
    fn compact_range(
        &self,
        family: Family,
        first: Option<&[u8]>,
        last: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let before = self.background_errors()?;
        self.db.compact_range_cf_opt(self.family(family)?, first, last, &options);
        let after = self.background_errors()?;
        if after > before {
            self.told_errors.fetch_add(after - before, Ordering::Relaxed);
            return Err(StorageError::NotRewritten(family.name()));
        }
        Ok(())
    }

    /// Writes a batch, as soon as it is taken. RocksDB itself would wait for room where it has failed
    /// in the background for want of it, and nobody would be told.
    fn write_patiently(
        &self,
        mut batch: WriteBatch,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        let bytes = batch.data().to_vec();
        loop {
            match self.db.write_opt(batch, options) {
                Err(error) if error.kind() == ErrorKind::Incomplete => {
                    if self.background_errors()? > self.told_errors.load(Ordering::Relaxed) {
                        let why = "a file could not be written, as the database's log LOG tells";
                        let _ = self.broken.set(why.to_owned());
                        return self.check();
                    }
                    std::thread::sleep(CATCHING_UP);
                    batch = WriteBatch::from_data(&bytes);
                }
                written => return written.map_err(|error| self.broke(error)),
            }
        }
    }

    fn background_errors(&self) -> Result<u64, StorageError> {
        let errors = self.db.property_int_value(properties::BACKGROUND_ERRORS);
        Ok(errors.map_err(|error| self.failure(error))?.unwrap_or_default())
    }

    /// The table files of a family.
    pub fn tables(&self, family: Family) -> Result<Vec<Table>, StorageError> {
        let files = self.live_files()?.into_iter();
        let own = files.filter(|file| file.column_family_name == family.name());
        let table = |file: LiveFile| Some(Table { first: file.start_key?, last: file.end_key? });
        Ok(own.filter_map(table).collect())
    }

    fn live_files(&self) -> Result<Vec<LiveFile>, StorageError> {
        self.db.live_files().map_err(|error| self.failure(error))
    }

    /// The length of all table files, in bytes.
    pub fn table_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.live_files()?.iter().map(|file| file.size as u64).sum())
    }

    /// Adds the deletion of all keys from `first` on and before `after` to a batch.
    pub fn delete_range(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        first: &[u8],
        after: &[u8],
    ) -> Result<(), StorageError> {
        batch.delete_range_cf(self.family(family)?, first, after);
        Ok(())
    }

    /// How to write table files for [`Self::take_over`].
    pub const fn table_options(&self) -> &Options {
        &self.tables
    }

    /// Takes over whole table files, all of them or none. They are on the disk then.
    pub fn take_over(&self, family: Family, files: Vec<&PathBuf>) -> Result<(), StorageError> {
        self.check()?;
        self.room.check()?;
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let taken = self.db.ingest_external_file_cf_opts(self.family(family)?, &options, files);
        taken.map_err(|error| self.failure(error))
    }

    /// Rewrites all table files, so that nothing deleted takes up room.
    pub fn compact(&self) -> Result<(), StorageError> {
        for family in Family::ALL {
            self.db.flush_cf(self.family(family)?).map_err(|error| self.broke(error))?;
            self.compact_range(family, None, None)?;
        }
        Ok(())
    }

    /// Adds a backup of the database as it is now. Whatever was written before is in table files
    /// then, so that the next backup shares them with this one.
    pub fn back_up(&self, engine: &mut BackupEngine) -> Result<(), StorageError> {
        engine.create_new_backup_flush(&self.db, true).map_err(|error| self.failure(error))
    }

    /// Refuses to write after a failure: RocksDB may try again and go on by itself, and what the
    /// system's cache says then is not what is on the disk.
    fn check(&self) -> Result<(), StorageError> {
        self.broken.get().map_or(Ok(()), |why| Err(StorageError::Poisoned(why.clone())))
    }

    fn broke(&self, error: rocksdb::Error) -> StorageError {
        let _ = self.broken.set(error.to_string());
        self.failure(error)
    }

    /// An error of this database, and which file it is about.
    pub fn failure(&self, error: rocksdb::Error) -> StorageError {
        failure(&self.path, error)
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, StorageError> {
        let missing =
            || StorageError::damaged(format!("column family {} is missing", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }
}

/// A table file.
pub struct Table {
    /// Its first key.
    pub first: Vec<u8>,
    /// Its last key.
    pub last: Vec<u8>,
}
