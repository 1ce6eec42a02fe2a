//! A readable copy of a database that RocksDB does not open any more: its manifest is gone or
//! damaged, or names files that are.
//!
//! The copy consists of links to the table files and of the logs, and RocksDB's own repair makes a
//! manifest for it. That knows a family only by a table file that says that it is of it, and drops
//! what logs hold of any other: so each family is given a table file without content. It also puts
//! aside the table files of blocks that the database took over whole, which name no family.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{Cache, ColumnFamilyDescriptor, DB, IngestExternalFileOptions, Options};

use super::logs;
use super::options::{Tuning, database_options, family_options};
use super::salvage::Salvage;
use crate::error::StorageError;
use crate::schema::Family;

/// Where RocksDB's repair puts what it cannot use.
const ASIDE: &str = "lost";

/// Makes a copy of the database in `path`, in the new directory `copy`. The copy links to files of
/// the other, and changes none.
pub fn remake(path: &Path, copy: &Path, tuning: Tuning) -> Result<Salvage, StorageError> {
    let frame = copy.join("frame");
    fs::create_dir_all(&frame).map_err(StorageError::file(&frame))?;
    let mut last = 0;
    for file in files(path, &["sst", "log"])? {
        let to = copy.join(file.file_name().unwrap_or_default());
        if file.extension().is_some_and(|end| end == "log") {
            copy_log(&file, &to)?;
        } else {
            link(&file, &to)?;
        }
        last = last.max(number(&file));
    }
    make_frame(&frame, tuning).map_err(StorageError::Database)?;
    for (table, number) in files(&frame, &["sst"])?.into_iter().zip(last + 1..) {
        link(&table, &copy.join(format!("{number:06}.sst")))?;
    }
    fs::remove_dir_all(&frame).map_err(StorageError::file(&frame))?;
    DB::repair(&options(copy, tuning), copy).map_err(StorageError::Database)?;
    let aside = files(&copy.join(ASIDE), &["sst"]).unwrap_or_default();
    take_over(copy, &aside, tuning).map_err(StorageError::Database)?;
    Salvage::open(copy, copy, tuning)
}

/// Makes a database with a table file for each family, and no content.
fn make_frame(path: &Path, tuning: Tuning) -> Result<(), rocksdb::Error> {
    let mut options = options(path, tuning);
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    let db = DB::open_cf_descriptors(&options, path, families(tuning))?;
    for handle in Family::ALL.iter().filter_map(|family| db.cf_handle(family.name())) {
        // A table file without any record would not be written.
        db.delete_cf(handle, b"")?;
        db.flush_cf(handle)?;
    }
    Ok(())
}

/// Takes table files over that hold blocks: whatever else there is, RocksDB refuses.
fn take_over(copy: &Path, tables: &[PathBuf], tuning: Tuning) -> Result<(), rocksdb::Error> {
    if tables.is_empty() {
        return Ok(());
    }
    let db = DB::open_cf_descriptors(&options(copy, tuning), copy, families(tuning))?;
    let Some(blocks) = db.cf_handle(Family::Blocks.name()) else { return Ok(()) };
    for table in tables {
        let mut moved = IngestExternalFileOptions::default();
        moved.set_move_files(true);
        let _ = db.ingest_external_file_cf_opts(blocks, &moved, vec![table]);
    }
    Ok(())
}

fn options(logs: &Path, tuning: Tuning) -> Options {
    let mut options = database_options(false, tuning);
    options.set_db_log_dir(logs);
    options
}

fn families(tuning: Tuning) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(tuning.cache);
    let descriptor = |family: Family| {
        let mut options = family_options(family, &cache, tuning);
        options.set_disable_auto_compactions(true);
        ColumnFamilyDescriptor::new(family.name(), options)
    };
    Family::ALL.map(descriptor).into()
}

/// The files in a directory whose names end so.
fn files(dir: &Path, kinds: &[&str]) -> Result<Vec<PathBuf>, StorageError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(StorageError::file(dir))? {
        let path = entry.map_err(StorageError::file(dir))?.path();
        let end = path.extension().and_then(|end| end.to_str());
        if end.is_some_and(|end| kinds.contains(&end)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn number(file: &Path) -> u64 {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.and_then(|stem| stem.parse().ok()).unwrap_or_default()
}

/// Copies a log as RocksDB can read it.
fn copy_log(from: &Path, to: &Path) -> Result<(), StorageError> {
    let mut bytes = fs::read(from).map_err(StorageError::file(from))?;
    logs::mend(&mut bytes);
    fs::write(to, bytes).map_err(StorageError::file(to))
}

/// Links to a file, or copies it where the file system has no links.
fn link(from: &Path, to: &Path) -> Result<(), StorageError> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(_) => fs::copy(from, to).map(drop).map_err(StorageError::file(from)),
    }
}
