//! Reading what can still be read of a damaged database, which stays as it is.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::{
    Cache, ColumnFamilyDescriptor, DB, DBRawIterator, DBRecoveryMode, Options, ReadOptions,
};

use super::culprit::open_failure;
use super::logs;
use super::options::{Tuning, database_options, family_options};
use crate::error::StorageError;
use crate::schema::{Family, after_prefix};

/// A database of which perhaps not everything can be read.
pub struct Salvage {
    db: DB,
    /// How many places could not be read.
    unreadable: AtomicU64,
}

impl Salvage {
    /// Opens the database in `path`, whose files stay as they are: damaged records of its log and
    /// missing table files are passed over. What RocksDB has to say goes to `logs`.
    pub fn open(path: &Path, logs: &Path, tuning: Tuning) -> Result<Self, StorageError> {
        logs::check(path)?;
        let options = salvage_options(logs, tuning);
        let failed = |error| open_failure(path, error);
        let names = DB::list_cf(&options, path).map_err(failed)?;
        let cache = Cache::new_lru_cache(tuning.cache);
        let families =
            Family::ALL.into_iter().filter(|family| names.iter().any(|name| name == family.name()));
        let families = families.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(family, &cache, tuning))
        });
        let db = DB::open_cf_descriptors_read_only(&options, path, families, false);
        Ok(Self { db: db.map_err(failed)?, unreadable: AtomicU64::new(0) })
    }

    /// How many places could not be read so far. The same place may count several times.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Whether there is a family in which nothing can be read: a table file of it that holds its
    /// latest records cannot be opened, and might hide any key.
    pub fn is_stuck(&self) -> bool {
        Family::ALL.into_iter().any(|family| {
            self.db.cf_handle(family.name()).is_none_or(|handle| {
                let mut walk = self.db.raw_iterator_cf(handle);
                !can_seek(&mut walk, u128::MAX)
            })
        })
    }

    /// The value of a key, where it can be read.
    pub fn get(&self, family: Family, key: &[u8]) -> Option<Vec<u8>> {
        let found = self.db.get_cf(self.db.cf_handle(family.name())?, key);
        found.unwrap_or_else(|_| {
            self.unreadable.fetch_add(1, Ordering::Relaxed);
            None
        })
    }

    /// Visits what can be read of the records that begin with `prefix`.
    pub fn visit<E>(
        &self,
        family: Family,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(handle) = self.db.cf_handle(family.name()) else { return Ok(()) };
        let start = || {
            let mut options = ReadOptions::default();
            options.set_iterate_lower_bound(prefix);
            if let Some(end) = after_prefix(prefix) {
                options.set_iterate_upper_bound(end);
            }
            self.db.raw_iterator_cf_opt(handle, options)
        };
        let mut walk = start();
        let mut next = position(prefix);
        walk.seek_to_first();
        loop {
            while let Some((key, value)) = walk.item() {
                next = position(key).saturating_add(1);
                visit(key, value)?;
                walk.next();
            }
            if walk.status().is_ok() {
                return Ok(());
            }
            self.unreadable.fetch_add(1, Ordering::Relaxed);
            let Some(beyond) = skip(start, next) else { return Ok(()) };
            walk = beyond;
        }
    }
}

fn salvage_options(logs: &Path, tuning: Tuning) -> Options {
    let mut options = database_options(false, tuning);
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    options.set_track_and_verify_wals_in_manifest(false);
    options.set_paranoid_checks(false);
    options.set_db_log_dir(logs);
    options
}

/// A cursor at the first key from a position on that can be reached, past those that cannot, or at
/// the end; `None` where not even that can be reached. After a failure, each attempt takes a new
/// cursor.
fn skip<'d>(start: impl Fn() -> DBRawIterator<'d>, from: u128) -> Option<DBRawIterator<'d>> {
    let reach = |position| {
        let mut walk = start();
        can_seek(&mut walk, position).then_some(walk)
    };
    if let Some(walk) = reach(from) {
        return Some(walk);
    }
    let (mut unreadable, mut step) = (from, 1_u128);
    let (mut readable, mut found) = loop {
        let at = from.saturating_add(step);
        if let Some(walk) = reach(at) {
            break (at, walk);
        }
        if at == u128::MAX {
            return None;
        }
        unreadable = at;
        step = step.saturating_mul(2);
    };
    while readable - unreadable > 1 {
        let middle = unreadable + (readable - unreadable) / 2;
        match reach(middle) {
            Some(walk) => (readable, found) = (middle, walk),
            None => unreadable = middle,
        }
    }
    Some(found)
}

fn can_seek(walk: &mut DBRawIterator<'_>, position: u128) -> bool {
    let bytes = position.to_be_bytes();
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    // A shorter key comes before a longer one that goes on with zeros.
    walk.seek(bytes.get(..bytes.len() - zeros).unwrap_or_default());
    walk.valid() || walk.status().is_ok()
}

/// Where a key is among all keys, as far as its first bytes say.
fn position(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TUNING: Tuning = Tuning { cache: 1 << 20, write_buffer: 1 << 20, min_free: None };

    /// A database with a table file of many blocks, some of which are damaged.
    fn damaged(dir: &Path, damage: &[usize]) -> Salvage {
        let path = dir.join("db");
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = DB::open_cf(&options, &path, Family::ALL.map(Family::name)).unwrap();
        let events = db.cf_handle("events").unwrap();
        for number in 0..1_000_u64 {
            let key = [&(number / 250).to_be_bytes()[4..], &number.to_be_bytes()].concat();
            // It does not compress: places in the file are places in its blocks.
            let mut value = [0; 128];
            blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut value);
            db.put_cf(events, key, value).unwrap();
        }
        db.flush_cf(events).unwrap();
        drop(db);
        let tables = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let table = tables.into_iter().find(|path| path.extension().is_some_and(|e| e == "sst"));
        let mut bytes = fs::read(table.as_ref().unwrap()).unwrap();
        damage.iter().for_each(|place| bytes[*place] ^= 1);
        fs::write(table.unwrap(), bytes).unwrap();
        Salvage::open(&path, dir, TUNING).unwrap()
    }

    fn count(salvage: &Salvage, prefix: &[u8]) -> usize {
        let mut keys = Vec::new();
        let visit = |key: &[u8], _: &[u8]| {
            keys.push(key.to_vec());
            Ok::<_, ()>(())
        };
        salvage.visit(Family::Events, prefix, visit).unwrap();
        assert!(keys.is_sorted() && keys.windows(2).all(|two| two[0] != two[1]));
        keys.len()
    }

    #[test]
    fn what_lies_between_unreadable_places_is_read() {
        for (damage, least) in [
            (&[][..], 1_000),
            (&[10], 960),
            (&[10, 60_000], 920),
            (&[30_000, 60_000, 90_000, 130_000], 840),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let salvage = damaged(dir.path(), damage);
            let read = count(&salvage, &[]);
            assert!(read >= least && (read < 1_000) != damage.is_empty(), "{damage:?}: {read}");
            assert_eq!(salvage.unreadable() == 0, damage.is_empty());
            assert!(!salvage.is_stuck());
            let parts: usize = (0..4).map(|lane| count(&salvage, &[0, 0, 0, lane])).sum();
            assert_eq!(parts, read);
        }
    }

    #[test]
    fn positions_are_in_the_order_of_keys() {
        let keys: [&[u8]; 6] = [b"", b"\0\x01", b"\x01", b"\x01\x01", b"\x02", &[0xff; 16]];
        assert!(keys.windows(2).all(|two| position(two[0]) < position(two[1])));
        assert_eq!(position(&[0xff; 20]), u128::MAX);
    }
}
