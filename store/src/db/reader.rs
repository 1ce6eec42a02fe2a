//! Reading from the database, at an instant or as it is.

use rocksdb::{DBPinnableSlice, DBRawIterator, ReadOptions, Snapshot};

use super::Db;
use crate::error::StorageError;
use crate::schema::{Family, after_prefix};

/// Reads the database at one instant, or as it is.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    db: &'a Db,
    snapshot: Option<&'a Snapshot<'a>>,
}

impl<'a> Reader<'a> {
    /// Reads the latest state of `db`.
    pub const fn latest(db: &'a Db) -> Self {
        Self { db, snapshot: None }
    }

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
        let found = match self.snapshot {
            Some(snapshot) => snapshot.get_pinned_cf(handle, key),
            None => self.db.db.get_pinned_cf(handle, key),
        };
        found.map_err(|error| self.db.failure(error))
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
        found.into_iter().collect::<Result<_, _>>().map_err(|error| self.db.failure(error))
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
        Ok(Walk { db: self.db, inner })
    }

    /// Walks over the keys that begin with `prefix`.
    pub fn walk(&self, family: Family, prefix: &[u8]) -> Result<Walk<'a>, StorageError> {
        self.walk_between(family, prefix, after_prefix(prefix))
    }

    /// Walks over the keys from `first` on, and before `end` where there is one.
    pub fn walk_between(
        &self,
        family: Family,
        first: &[u8],
        end: Option<Vec<u8>>,
    ) -> Result<Walk<'a>, StorageError> {
        let handle = self.db.family(family)?;
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(first);
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let inner = match self.snapshot {
            Some(snapshot) => snapshot.raw_iterator_cf_opt(handle, options),
            None => self.db.db.raw_iterator_cf_opt(handle, options),
        };
        Ok(Walk { db: self.db, inner })
    }
}

/// A cursor over a range of keys. It stands nowhere until it is moved.
pub struct Walk<'a> {
    db: &'a Db,
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
        if self.inner.valid() {
            return Ok(());
        }
        self.inner.status().map_err(|error| self.db.failure(error))
    }
}
