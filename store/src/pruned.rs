//! Which values have been pruned: their openings were dropped because no state that is kept shows
//! them.
//!
//! There is a record for each event, which lists slots as runs: an event all of whose values are
//! pruned takes up a few bytes. It is written in the batch that drops the openings. For long values
//! it also holds the number of the block that the opening referred to, so that a redact that comes
//! later finds what has not been collected yet. A value may be erased as well; then it is shown as
//! erased.

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{Dot, EventId};

use crate::blocks::{self, Entry, Garbage};
use crate::db::{Db, Reader};
use crate::error::StorageError;
use crate::ingest::BATCH;
use crate::ledger::Ledger;
use crate::lookup;
use crate::opening;
use crate::record::{self, put_number};
use crate::schema::{Family, meta};
use crate::writer::Writer;

/// The pruned values of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    slots: BTreeSet<u16>,
    /// The blocks that long ones referred to.
    blocks: BTreeMap<u16, u64>,
}

impl Pruned {
    /// Reads the record of an event; without one, nothing of it is pruned.
    pub fn of(reader: Reader<'_>, dot: Dot) -> Result<Self, StorageError> {
        let Some(record) = reader.get(Family::Meta, &meta::pruned(dot))? else {
            return Ok(Self::default());
        };
        Self::decode(&record).ok_or_else(damaged)
    }

    /// The slots, ascending.
    pub const fn slots(&self) -> &BTreeSet<u16> {
        &self.slots
    }

    /// Adds a value, with the number of the block that it referred to, if it was long and there is
    /// one.
    pub fn insert(&mut self, slot: u16, block: Option<u64>) {
        self.slots.insert(slot);
        if let Some(number) = block {
            self.blocks.insert(slot, number);
        }
    }

    /// A value is at hand again. Tells whether it was pruned.
    pub fn remove(&mut self, slot: u16) -> bool {
        self.blocks.remove(&slot);
        self.slots.remove(&slot)
    }

    fn encode(&self) -> Vec<u8> {
        let mut runs = Vec::<(u16, u16)>::new();
        for &slot in &self.slots {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(slot) => *last = slot,
                _ => runs.push((slot, slot)),
            }
        }
        let mut record = Vec::new();
        put_number(&mut record, runs.len() as u64);
        for (first, last) in runs {
            put_number(&mut record, u64::from(first));
            put_number(&mut record, u64::from(last));
        }
        for (slot, number) in &self.blocks {
            put_number(&mut record, u64::from(*slot));
            put_number(&mut record, *number);
        }
        record
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = record::Reader(bytes);
        let (mut slots, mut blocks) = (BTreeSet::new(), BTreeMap::new());
        for _ in 0..r.number()? {
            let (first, last) = run(&mut r)?;
            slots.extend(first..=last);
        }
        while !r.0.is_empty() {
            blocks.insert(u16::try_from(r.number()?).ok()?, r.number()?);
        }
        Some(Self { slots, blocks })
    }
}

fn run(r: &mut record::Reader<'_>) -> Option<(u16, u16)> {
    Some((u16::try_from(r.number()?).ok()?, u16::try_from(r.number()?).ok()?))
}

/// Whether a value has been pruned. The record is searched where it lies: it may be asked for each
/// value of an event.
pub fn is_pruned(reader: Reader<'_>, dot: Dot, slot: u16) -> Result<bool, StorageError> {
    let Some(record) = reader.get(Family::Meta, &meta::pruned(dot))? else { return Ok(false) };
    let mut r = record::Reader(&record);
    for _ in 0..r.number().ok_or_else(damaged)? {
        let (first, last) = run(&mut r).ok_or_else(damaged)?;
        if (first..=last).contains(&slot) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Ledger {
    /// How many values have been pruned here.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn count_pruned(&self) -> Result<u64, StorageError> {
        let mut walk = self.latest().walk(Family::Meta, meta::PRUNED)?;
        walk.first()?;
        let mut count = 0;
        while let Some((_, record)) = walk.item() {
            count += Pruned::decode(record).ok_or_else(damaged)?.slots.len() as u64;
            walk.next()?;
        }
        Ok(count)
    }
}

impl Ledger {
    /// Records which values were pruned elsewhere, of events that are here: where they have not come,
    /// they are not missing, and are not to be fetched.
    pub(crate) fn note_pruned(&self, events: &[(EventId, Pruned)]) -> Result<(), StorageError> {
        for some in events.chunks(BATCH) {
            self.in_bulk(|hold| {
                for (event, before) in some {
                    let Some(dot) = lookup::dot_of(self.latest(), *event)? else { continue };
                    // More may be known of it here.
                    let mut pruned = Pruned::of(self.latest(), dot)?;
                    for &slot in before.slots() {
                        if opening::find(self.latest(), dot, slot)?.is_none() {
                            // Its blocks are not taken over: nothing refers to them.
                            pruned.insert(slot, None);
                            let mark = meta::missing(dot, slot);
                            hold.writer().delete(&self.db, Family::Meta, &mark)?;
                        }
                    }
                    hold.writer().put_pruned(&self.db, dot, &pruned)?;
                }
                Ok::<_, StorageError>(())
            })?;
        }
        Ok(())
    }
}

impl Writer {
    /// Writes the record of an event, or deletes it where nothing is pruned.
    pub fn put_pruned(&mut self, db: &Db, dot: Dot, pruned: &Pruned) -> Result<(), StorageError> {
        let key = meta::pruned(dot);
        if pruned.slots.is_empty() {
            return self.delete(db, Family::Meta, &key);
        }
        self.put(db, Family::Meta, &key, &pruned.encode())
    }

    /// Values of an event have been erased: where they had been pruned before, the blocks that are
    /// still here have no grace period from now on. Those that have been collected may still be in
    /// files, and nothing tells in which.
    pub fn erase_pruned(&mut self, db: &Db, dot: Dot, slots: &[u16]) -> Result<(), StorageError> {
        let pruned = Pruned::of(db.latest(), dot)?;
        for number in slots.iter().filter_map(|slot| pruned.blocks.get(slot)) {
            let record = db.latest().get(Family::Blocks, &number.to_be_bytes())?;
            match record.as_deref().and_then(blocks::decode) {
                Some((id, bytes)) => {
                    let block = Entry::of(*number, bytes);
                    self.mark_garbage(db, block, Garbage::erased(id))?;
                }
                None => {
                    let anywhere = meta::erased_block(meta::UNKNOWN_BLOCKS);
                    self.put(db, Family::Meta, &anywhere, &[])?;
                }
            }
        }
        Ok(())
    }
}

fn damaged() -> StorageError {
    StorageError::damaged("the record of the pruned values of an event")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let mut pruned = Pruned::default();
        for slot in [0, 1, 2, 7, 9, 10, u16::MAX - 1, u16::MAX] {
            pruned.insert(slot, (slot % 2 == 1).then_some(u64::from(slot) << 20));
            assert_eq!(Pruned::decode(&pruned.encode()).as_ref(), Some(&pruned));
        }
        assert!(pruned.remove(1) && !pruned.remove(1));
        assert_eq!(Pruned::decode(&pruned.encode()).as_ref(), Some(&pruned));
        assert_eq!(Pruned::decode(&[2, 0, 1]), None);
        let all = Pruned { slots: (0..10_000).collect(), blocks: BTreeMap::new() };
        assert!(all.encode().len() < 5);
    }
}
