//! Giving room back to the disk: what has been deleted stays in table files and logs until they
//! are rewritten. Only files that hold much of it are; those with erased values always.

use std::collections::BTreeSet;

use quipu_merge::Dot;

use crate::db::Table;
use crate::error::StorageError;
use crate::judge::key_of;
use crate::ledger::Ledger;
use crate::lookup::Stored;
use crate::schema::{self, Family, after_prefix, meta};

/// A table file is rewritten where at least one of so many of its blocks has been deleted.
const WORTH_IT: u64 = 5;

/// What has been erased and may still be in files.
#[derive(Debug, Default)]
pub struct Erasures {
    /// Events with erased values.
    pub events: Vec<Dot>,
    /// Deleted blocks of erased values.
    blocks: BTreeSet<u64>,
    /// The marks that say so.
    marks: Vec<Vec<u8>>,
}

impl Ledger {
    /// Rewrites what holds the bytes of deleted blocks and of erased values. Tells of how many
    /// events values were erased.
    pub(crate) fn reclaim(&self, deleted: &BTreeSet<u64>) -> Result<u64, StorageError> {
        let erased = self.erasures()?;
        if deleted.is_empty() && erased.marks.is_empty() {
            return Ok(0);
        }
        // The logs hold what has been written since, and go when all of it is in table files.
        self.db.flush_tables()?;
        let mut tables = self.db.tables(Family::Blocks)?;
        tables.sort_unstable_by(|one, other| one.first.cmp(&other.first));
        // Neighbours are rewritten together: what is rewritten may end up in one file with what
        // comes after it, and would be rewritten again and again.
        let mut runs = Vec::<Table>::new();
        let mut goes_on = false;
        for table in tables {
            let number = |key: &[u8]| key.try_into().map_or(0, u64::from_be_bytes);
            let numbers = number(&table.first)..=number(&table.last);
            let (gone, all) =
                (deleted.range(numbers.clone()).count() as u64, numbers.end() - numbers.start());
            let worth_it = gone > 0 && gone * WORTH_IT > all;
            let rewritten = worth_it || erased.blocks.range(numbers).next().is_some();
            match runs.last_mut() {
                Some(run) if rewritten && goes_on => run.last = table.last.max(run.last.clone()),
                _ if rewritten => runs.push(table),
                _ => {}
            }
            goes_on = rewritten;
        }
        for run in runs {
            self.db.rewrite(Family::Blocks, &run.first, &run.last)?;
        }
        for &dot in &erased.events {
            self.purge(dot)?;
        }
        self.in_bulk(|hold| {
            let mut marks = erased.marks.iter();
            marks.try_for_each(|mark| hold.writer().delete(&self.db, Family::Meta, mark))
        })?;
        Ok(erased.events.len() as u64)
    }

    /// What has been erased since files were rewritten last.
    pub(crate) fn erasures(&self) -> Result<Erasures, StorageError> {
        let damaged = || StorageError::damaged("the mark of an erasure");
        let mut walk = self.latest().walk(Family::Meta, meta::ERASURE)?;
        walk.first()?;
        let mut erasures = Erasures::default();
        while let Some((key, _)) = walk.item() {
            let place = key.strip_prefix(meta::ERASURE).ok_or_else(damaged)?;
            match place.try_into() {
                Ok(number) => {
                    erasures.blocks.insert(u64::from_be_bytes(number));
                }
                Err(_) => erasures.events.push(schema::parse_dot(place).ok_or_else(damaged)?),
            }
            erasures.marks.push(key.to_vec());
            walk.next()?;
        }
        Ok(erasures)
    }

    /// Rewrites the files that held the values of an event, and those of the keys that it wrote.
    fn purge(&self, dot: Dot) -> Result<(), StorageError> {
        self.rewrite_prefix(Family::Openings, &schema::dot_key(dot))?;
        for operation in Stored::read(self.latest(), dot)?.body()?.data() {
            let key = key_of(operation);
            self.rewrite_prefix(Family::State, &key)?;
            self.rewrite_prefix(Family::Versions, &key)?;
        }
        Ok(())
    }

    fn rewrite_prefix(&self, family: Family, prefix: &[u8]) -> Result<(), StorageError> {
        let end = after_prefix(prefix).unwrap_or_else(|| prefix.to_vec());
        self.db.rewrite(family, prefix, &end)
    }
}
