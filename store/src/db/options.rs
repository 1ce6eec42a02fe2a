//! How RocksDB is set up, as a whole and for each family.

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, DataBlockIndexType, LogLevel,
    Options,
};

use crate::schema::Family;

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

pub fn database_options(create: bool, tuning: Tuning) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_error_if_exists(create);
    // The default stops in silence before a corrupt record, whatever comes after it.
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

pub fn family_options(family: Family, cache: &Cache, tuning: Tuning) -> Options {
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
        Family::Ids | Family::State | Family::Digests | Family::Tree => {
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
        // Looked up by key, and walked over by index.
        Family::Final => blocks.set_bloom_filter(10.0, false),
        Family::Meta | Family::Versions | Family::Edges => {}
    }
    match family {
        // Digests do not compress.
        Family::Ids | Family::Digests | Family::Tree => {
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
