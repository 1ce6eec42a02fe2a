//! The numbers of blocks, and who is using which block.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quipu_merge::BlockId;
use rocksdb::WriteBatch;

use super::{Entry, Garbage, number_of};
use crate::db::{Db, Reader};
use crate::error::StorageError;
use crate::record::{self, put_number};
use crate::schema::{self, Family, meta};

/// So many numbers are set aside in the database at once. Those not used by then are lost.
const SET_ASIDE: u64 = 1 << 16;

/// What is in memory of the blocks of a store.
pub struct Blocks(Mutex<State>);

/// The next number, and the leases. Whoever adds or removes blocks holds it.
pub struct State {
    next: u64,
    set_aside: u64,
    leases: HashMap<BlockId, usize>,
}

impl Blocks {
    /// Goes on after the numbers that were set aside.
    pub fn load(reader: Reader<'_>) -> Result<Self, StorageError> {
        let damaged = || StorageError::damaged("the record of the block numbers");
        let next = match reader.get(Family::Meta, meta::NUMBERS)? {
            Some(bytes) => record::Reader(&bytes).number().ok_or_else(damaged)?,
            None => 0,
        };
        Ok(Self(Mutex::new(State { next, set_aside: next, leases: HashMap::new() })))
    }

    /// The number of a block, which it is given if it has none: something is going to refer to it,
    /// whether it is here or not.
    pub fn number_for(&self, db: &Db, id: BlockId) -> Result<u64, StorageError> {
        let mut state = self.lock();
        if let Some(number) = number_of(db.latest(), id)? {
            return Ok(number);
        }
        let number = state.take(db, 1)?;
        let mut batch = WriteBatch::default();
        put_index(db, &mut batch, id, Entry { number, len: None })?;
        // What is going to refer to it may never be written.
        db.put(&mut batch, Family::Meta, &meta::garbage(number), &Garbage::now(id).encode())?;
        db.write(batch, false)?;
        Ok(number)
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The first of so many numbers that nobody has.
    pub fn take(&mut self, db: &Db, count: u64) -> Result<u64, StorageError> {
        let (first, after) = (self.next, self.next + count);
        if after > self.set_aside {
            let set_aside = after + SET_ASIDE;
            let (mut batch, mut record) = (WriteBatch::default(), Vec::new());
            put_number(&mut record, set_aside);
            db.put(&mut batch, Family::Meta, meta::NUMBERS, &record)?;
            // Whatever uses the numbers comes later in the same log, or syncs it first.
            db.write(batch, false)?;
            self.set_aside = set_aside;
        }
        self.next = after;
        Ok(first)
    }

    /// Keeps a block from being collected.
    pub fn lease(&mut self, id: BlockId) {
        *self.leases.entry(id).or_default() += 1;
    }

    /// Whether somebody is about to refer to a block.
    pub fn is_leased(&self, id: BlockId) -> bool {
        self.leases.contains_key(&id)
    }

    /// Ends a lease.
    pub fn release(&mut self, id: BlockId) {
        if let Some(count) = self.leases.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.leases.remove(&id);
            }
        }
    }
}

/// Adds to a batch what the index is to say of a block.
pub fn put_index(
    db: &Db,
    batch: &mut WriteBatch,
    id: BlockId,
    entry: Entry,
) -> Result<(), StorageError> {
    db.put(batch, Family::Digests, &schema::digest_key(id), &entry.encode())
}

/// Removes the blocks whose files were taken in without anything knowing of them: a crash came in
/// between.
pub fn remove_unfinished(db: &Db) -> Result<(), StorageError> {
    let damaged = || StorageError::damaged("the record of unfinished blocks");
    let mut batch = WriteBatch::default();
    let mut walk = db.latest().walk(Family::Meta, meta::UNFINISHED)?;
    walk.first()?;
    while let Some((key, value)) = walk.item() {
        let first = key.strip_prefix(meta::UNFINISHED).ok_or_else(damaged)?;
        let after: [u8; 8] = value.try_into().map_err(|_| damaged())?;
        db.delete_range(&mut batch, Family::Blocks, first, &after)?;
        db.delete(&mut batch, Family::Meta, key)?;
        walk.next()?;
    }
    if batch.is_empty() { Ok(()) } else { db.write(batch, true) }
}
