//! What RocksDB tells of itself.

use rocksdb::properties;

use super::Db;
use crate::error::StorageError;
use crate::room;
use crate::schema::Family;

/// How the database is doing, over all of its families. What RocksDB estimates is an estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseStats {
    /// Keys, estimated.
    pub keys: u64,
    /// Bytes of live data, estimated.
    pub live_bytes: u64,
    /// Table files.
    pub tables: u64,
    /// Bytes of table files.
    pub table_bytes: u64,
    /// Table files in level 0, which each look-up may have to ask.
    pub level0_tables: u64,
    /// Bytes of memory for what is not in table files yet.
    pub memtable_bytes: u64,
    /// Bytes of memory for indexes and filters of open table files.
    pub table_reader_bytes: u64,
    /// Bytes of the cache in use.
    pub cache_bytes: u64,
    /// Bytes of the cache that cannot be given up now.
    pub cache_pinned_bytes: u64,
    /// Bytes that wait to be compacted, estimated.
    pub pending_compaction_bytes: u64,
    /// Compactions that are under way.
    pub running_compactions: u64,
    /// Flushes that are under way.
    pub running_flushes: u64,
    /// Snapshots that keep old data.
    pub snapshots: u64,
    /// Errors in the background since the store was opened.
    pub background_errors: u64,
    /// Whether writes are held up, because the background does not keep up.
    pub writes_stopped: bool,
    /// Bytes that are free on the file system; `None` where that cannot be told.
    pub free_bytes: Option<u64>,
}

impl Db {
    /// What RocksDB tells of itself.
    pub fn stats(&self) -> Result<DatabaseStats, StorageError> {
        let whole = |property| -> Result<u64, StorageError> {
            let value = self.db.property_int_value(property);
            Ok(value.map_err(|error| self.failure(error))?.unwrap_or_default())
        };
        let mut stats = DatabaseStats {
            // The cache is one for all families.
            cache_bytes: whole(properties::BLOCK_CACHE_USAGE)?,
            cache_pinned_bytes: whole(properties::BLOCK_CACHE_PINNED_USAGE)?,
            running_compactions: whole(properties::NUM_RUNNING_COMPACTIONS)?,
            running_flushes: whole(properties::NUM_RUNNING_FLUSHES)?,
            snapshots: whole(properties::NUM_SNAPSHOTS)?,
            background_errors: whole(properties::BACKGROUND_ERRORS)?,
            writes_stopped: whole(properties::IS_WRITE_STOPPED)? != 0,
            free_bytes: room::free(&self.path, None).map(|(free, _)| free),
            ..DatabaseStats::default()
        };
        for family in Family::ALL {
            let handle = self.family(family)?;
            let of = |property| -> Result<u64, StorageError> {
                let value = self.db.property_int_value_cf(handle, property);
                Ok(value.map_err(|error| self.failure(error))?.unwrap_or_default())
            };
            stats.keys += of(properties::ESTIMATE_NUM_KEYS)?;
            stats.live_bytes += of(properties::ESTIMATE_LIVE_DATA_SIZE)?;
            stats.memtable_bytes += of(properties::CUR_SIZE_ALL_MEM_TABLES)?;
            stats.table_reader_bytes += of(properties::ESTIMATE_TABLE_READERS_MEM)?;
            stats.pending_compaction_bytes += of(properties::ESTIMATE_PENDING_COMPACTION_BYTES)?;
        }
        for file in self.live_files()? {
            stats.tables += 1;
            stats.table_bytes += file.size as u64;
            stats.level0_tables += u64::from(file.level == 0);
        }
        Ok(stats)
    }

    /// Refuses where a write would be refused now.
    pub fn check_writable(&self) -> Result<(), StorageError> {
        self.check()?;
        self.room.check_now()
    }
}
