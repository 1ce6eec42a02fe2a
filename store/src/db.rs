//! The database: opening it, reading from it at an instant, writing batches to it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rocksdb::backup::BackupEngine;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, DBPinnableSlice, DBRawIterator, DBRecoveryMode,
    DataBlockIndexType, ErrorKind, FlushOptions, IngestExternalFileOptions, LiveFile, LogLevel,
    Options, ReadOptions, Snapshot, WriteBatch, WriteOptions,
};

use crate::error::{OpenError, StorageError};
use crate::manifest;
use crate::mark::{Loss, Mark, Tip};
use crate::room::Room;
use crate::schema::{Family, after_prefix};

/// How the database is set up.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Memory for blocks read from the disk, in bytes.
    pub cache: usize,
    /// Memory for what is not in table files yet, in bytes.
    pub write_buffer: usize,
    /// Bytes that stay free on the disk, where something else than usual is asked for.
    pub min_free: Option<u64>,
}

/// An open database.
pub struct Db {
    db: DB,
    /// How table files are written that the database takes over.
    tables: Options,
    mark: Mark,
    room: Room,
    /// Why nothing is written any more.
    broken: OnceLock<String>,
}

impl Db {
    /// Opens the database in `path`, or makes one there. Its mark is in the directory above.
    pub fn open(path: &Path, create: bool, tuning: Tuning) -> Result<Self, OpenError> {
        manifest::check(path)?;
        let cache = Cache::new_lru_cache(tuning.cache);
        let families = Family::ALL.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(family, &cache, tuning))
        });
        match DB::open_cf_descriptors(&database_options(create, tuning), path, families) {
            Ok(db) => {
                let mark = Mark::open(path.parent().unwrap_or(path), db.latest_sequence_number())?;
                Ok(Self {
                    db,
                    tables: family_options(Family::Blocks, &cache, tuning),
                    mark,
                    room: Room::new(path, tuning.min_free),
                    broken: OnceLock::new(),
                })
            }
            Err(error) if is_lock(&error) => Err(OpenError::Locked(path.to_owned())),
            Err(source) if source.kind() == ErrorKind::Corruption => {
                Err(StorageError::Corrupt { path: culprit(path, &source), source }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads one value from the database in `path` whatever families it has, and changes nothing.
    pub fn peek(
        path: &Path,
        tuning: Tuning,
        family: Family,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, rocksdb::Error> {
        let options = database_options(false, tuning);
        let families = DB::list_cf(&options, path)?;
        let db = DB::open_cf_for_read_only(&options, path, families, false)?;
        db.cf_handle(family.name()).map_or(Ok(None), |handle| db.get_cf(handle, key))
    }

    /// Reads the latest state.
    pub const fn latest(&self) -> Reader<'_> {
        Reader { db: self, snapshot: None }
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
        self.db.write_opt(batch, &options).map_err(|error| self.broke(error))?;
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
        Ok(self.db.flush_cfs_opt(&handles, &FlushOptions::default())?)
    }

    /// Rewrites the table files that hold keys from `first` to `last`, without what is deleted.
    pub fn rewrite(&self, family: Family, first: &[u8], last: &[u8]) -> Result<(), StorageError> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let handle = self.family(family)?;
        self.db.compact_range_cf_opt(handle, Some(first), Some(last), &options);
        Ok(())
    }

    /// The table files of a family.
    pub fn tables(&self, family: Family) -> Result<Vec<Table>, StorageError> {
        let files = self.db.live_files()?.into_iter();
        let own = files.filter(|file| file.column_family_name == family.name());
        let table = |file: LiveFile| Some(Table { first: file.start_key?, last: file.end_key? });
        Ok(own.filter_map(table).collect())
    }

    /// The length of all table files, in bytes.
    pub fn table_bytes(&self) -> Result<u64, StorageError> {
        Ok(self.db.live_files()?.iter().map(|file| file.size as u64).sum())
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
        Ok(self.db.ingest_external_file_cf_opts(self.family(family)?, &options, files)?)
    }

    /// Rewrites all table files, so that nothing deleted takes up room.
    pub fn compact(&self) -> Result<(), StorageError> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for family in Family::ALL {
            let handle = self.family(family)?;
            self.db.flush_cf(handle).map_err(|error| self.broke(error))?;
            self.db.compact_range_cf_opt(handle, None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }

    /// Adds a backup of the database as it is now. Whatever was written before is in table files
    /// then, so that the next backup shares them with this one.
    pub fn back_up(&self, engine: &mut BackupEngine) -> Result<(), StorageError> {
        Ok(engine.create_new_backup_flush(&self.db, true)?)
    }

    /// Refuses to write after a failure: RocksDB may try again and go on by itself, and what the
    /// system's cache says then is not what is on the disk.
    fn check(&self) -> Result<(), StorageError> {
        self.broken.get().map_or(Ok(()), |why| Err(StorageError::Poisoned(why.clone())))
    }

    fn broke(&self, error: rocksdb::Error) -> StorageError {
        let _ = self.broken.set(error.to_string());
        error.into()
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

/// Reads the database at one instant, or as it is.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    db: &'a Db,
    snapshot: Option<&'a Snapshot<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads at the instant of `snapshot`, which must be of `db`.
    pub const fn at(db: &'a Db, snapshot: &'a Snapshot<'a>) -> Self {
        Self { db, snapshot: Some(snapshot) }
    }

    /// The value of a key.
    pub fn get(
        &self,
        family: Family,
        key: &[u8],
    ) -> Result<Option<DBPinnableSlice<'a>>, StorageError> {
        let handle = self.db.family(family)?;
        Ok(match self.snapshot {
            Some(snapshot) => snapshot.get_pinned_cf(handle, key)?,
            None => self.db.db.get_pinned_cf(handle, key)?,
        })
    }

    /// Reads the values at many keys, which ascend.
    pub fn get_many(
        &self,
        family: Family,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<DBPinnableSlice<'a>>>, StorageError> {
        self.get_many_with(family, keys, ReadOptions::default())
    }

    /// Like [`Self::get_many`], for what is not going to be read again soon: it stays out of the
    /// cache.
    pub fn get_many_once(
        &self,
        family: Family,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<DBPinnableSlice<'a>>>, StorageError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        self.get_many_with(family, keys, options)
    }

    fn get_many_with(
        &self,
        family: Family,
        keys: &[&[u8]],
        mut options: ReadOptions,
    ) -> Result<Vec<Option<DBPinnableSlice<'a>>>, StorageError> {
        let handle = self.db.family(family)?;
        if let Some(snapshot) = self.snapshot {
            options.set_snapshot(snapshot);
        }
        let keys = keys.iter().copied();
        let found = self.db.db.batched_multi_get_cf_opt(handle, keys, true, &options);
        Ok(found.into_iter().collect::<Result<_, _>>()?)
    }

    /// How many keys begin with `prefix`.
    pub fn count(&self, family: Family, prefix: &[u8]) -> Result<u64, StorageError> {
        let mut walk = self.walk(family, prefix)?;
        walk.first()?;
        let mut count = 0;
        while walk.item().is_some() {
            count += 1;
            walk.next()?;
        }
        Ok(count)
    }

    /// Whether there is something at a key.
    pub fn has(&self, family: Family, key: &[u8]) -> Result<bool, StorageError> {
        Ok(self.get(family, key)?.is_some())
    }

    /// Walks over all keys: for a single move, bounds would cost more than a look at the key.
    pub fn roam(&self, family: Family) -> Result<Walk<'a>, StorageError> {
        let handle = self.db.family(family)?;
        let inner = match self.snapshot {
            Some(snapshot) => snapshot.raw_iterator_cf_opt(handle, ReadOptions::default()),
            None => self.db.db.raw_iterator_cf_opt(handle, ReadOptions::default()),
        };
        Ok(Walk { inner })
    }

    /// Walks over the keys that begin with `prefix`.
    pub fn walk(&self, family: Family, prefix: &[u8]) -> Result<Walk<'a>, StorageError> {
        let handle = self.db.family(family)?;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(prefix);
        if let Some(end) = after_prefix(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let inner = match self.snapshot {
            Some(snapshot) => snapshot.raw_iterator_cf_opt(handle, options),
            None => self.db.db.raw_iterator_cf_opt(handle, options),
        };
        Ok(Walk { inner })
    }
}

/// A cursor over a range of keys. It stands nowhere until it is moved.
pub struct Walk<'a> {
    inner: DBRawIterator<'a>,
}

impl Walk<'_> {
    /// Moves to the first key.
    pub fn first(&mut self) -> Result<(), StorageError> {
        self.inner.seek_to_first();
        self.check()
    }

    /// Moves to the last key.
    pub fn last(&mut self) -> Result<(), StorageError> {
        self.inner.seek_to_last();
        self.check()
    }

    /// Moves to the first key at or after `key`.
    pub fn seek(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.inner.seek(key);
        self.check()
    }

    /// Moves to the last key at or before `key`.
    pub fn seek_back(&mut self, key: &[u8]) -> Result<(), StorageError> {
        self.inner.seek_for_prev(key);
        self.check()
    }

    /// Moves to the next key.
    pub fn next(&mut self) -> Result<(), StorageError> {
        self.inner.next();
        self.check()
    }

    /// Moves to the key before.
    pub fn back(&mut self) -> Result<(), StorageError> {
        self.inner.prev();
        self.check()
    }

    /// The key and the value that it stands at.
    pub fn item(&self) -> Option<(&[u8], &[u8])> {
        self.inner.item()
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.inner.valid() { Ok(()) } else { Ok(self.inner.status()?) }
    }
}

fn is_lock(error: &rocksdb::Error) -> bool {
    let text = error.to_string();
    text.contains("lock file") || text.contains("lock hold")
}

/// The file that keeps a database from being opened. RocksDB names it, except where it is a log.
fn culprit(path: &Path, error: &rocksdb::Error) -> PathBuf {
    let text = error.to_string();
    // It may blame the manifest for a table that the manifest names.
    let mut named: Vec<_> = files(path).filter(|(_, name)| text.contains(name.as_str())).collect();
    named.sort_by_key(|(_, name)| !name.ends_with(".sst"));
    if let Some((file, _)) = named.into_iter().next() {
        return file;
    }
    let mut logs = files(path).filter(|(_, name)| name.ends_with(".log"));
    match (logs.next(), logs.next()) {
        (Some((log, _)), None) => log,
        _ => path.to_owned(),
    }
}

fn files(dir: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
}

fn database_options(create: bool, tuning: Tuning) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_error_if_exists(create);
    // The default stops in silence before a corrupt record in the middle of the log.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_db_write_buffer_size(tuning.write_buffer);
    options.set_max_total_wal_size(4 * tuning.write_buffer as u64);
    options.increase_parallelism(2);
    options.set_max_open_files(512);
    options.set_skip_stats_update_on_db_open(true);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(2);
    options
}

fn family_options(family: Family, cache: &Cache, tuning: Tuning) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Indexes and filters stay with their open files (about two bytes a key): in the cache, whose
    // shards are small, one that is larger than a shard would be read again for every look-up.
    let mut options = Options::default();
    options.set_write_buffer_size(tuning.write_buffer / 2);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    match family {
        // Looked up by whole keys, and often for what is not there.
        Family::Ids | Family::State | Family::Digests => {
            blocks.set_bloom_filter(10.0, false);
            options.set_memtable_prefix_bloom_ratio(0.02);
            options.set_memtable_whole_key_filtering(true);
            blocks.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            // One record of a block is wanted, and the others only take up room in the cache.
            blocks.set_block_size(1024);
        }
        Family::Events => blocks.set_block_size(2048),
        // Mostly read in runs: larger blocks compress better.
        Family::Openings | Family::Order => blocks.set_block_size(16 * 1024),
        // Files of a source tree, say, compress well together.
        Family::Blocks => blocks.set_block_size(256 * 1024),
        Family::Meta | Family::Versions | Family::Edges => {}
    }
    match family {
        // Digests do not compress.
        Family::Ids | Family::Digests => {
            options.set_compression_type(DBCompressionType::None);
            options.set_bottommost_compression_type(DBCompressionType::None);
        }
        // What is read at random is to be read fast, rather than to take the least room.
        Family::State | Family::Events => {
            options.set_bottommost_compression_type(DBCompressionType::Lz4)
        }
        _ => {}
    }
    options.set_block_based_table_factory(&blocks);
    options
}
