//! Giving room back to the disk: what has been deleted stays in table files and logs until they
//! are rewritten. Only files that hold much of it are; those with erased values always.

use std::collections::BTreeSet;

use quipu_merge::Dot;

use crate::bodies::Kept;
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
        self.rewrite(Family::Blocks, self.worth_rewriting(deleted, &erased.blocks)?)?;
        let held = self.held_values(&erased.events)?;
        for (family, ranges) in held {
            self.rewrite(family, ranges)?;
        }
        self.making_room(|hold| {
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

    /// The table files of which much has been deleted, and the places of erased blocks: everywhere,
    /// where nothing tells which they were.
    fn worth_rewriting(
        &self,
        deleted: &BTreeSet<u64>,
        erased: &BTreeSet<u64>,
    ) -> Result<Ranges, StorageError> {
        if erased.contains(&meta::UNKNOWN_BLOCKS) {
            return Ok(Ranges::from([(Vec::new(), u64::MAX.to_be_bytes().to_vec())]));
        }
        let place = |number: &u64| (number.to_be_bytes().to_vec(), number.to_be_bytes().to_vec());
        let mut ranges: Ranges = erased.iter().map(place).collect();
        let mut tables = self.db.tables(Family::Blocks)?;
        tables.sort_unstable_by(|one, other| one.first.cmp(&other.first));
        let worth_it = |table: &Table| {
            let number = |key: &[u8]| key.try_into().map_or(0, u64::from_be_bytes);
            let numbers = number(&table.first)..=number(&table.last);
            let all = numbers.end() - numbers.start();
            let gone = deleted.range(numbers).count() as u64;
            gone > 0 && gone * WORTH_IT > all
        };
        // Neighbours together: one that is rewritten may end up in a file with what comes after it,
        // and would be rewritten with that again.
        for run in tables.chunk_by(|one, other| worth_it(one) == worth_it(other)) {
            let last = run.iter().map(|table| &table.last).max();
            if let (Some(first), Some(last)) = (run.first(), last)
                && worth_it(first)
            {
                ranges.insert((first.first.clone(), last.clone()));
            }
        }
        Ok(ranges)
    }

    /// Where the values of events were, and copies of them beside the keys that they wrote.
    fn held_values(&self, events: &[Dot]) -> Result<[(Family, Ranges); 3], StorageError> {
        let (mut openings, mut keys) = (Ranges::new(), Ranges::new());
        for &dot in events {
            openings.insert(prefixed(&schema::dot_key(dot)));
            match Stored::read(self.latest(), dot)?.kept()? {
                Kept::Whole(body) => {
                    keys.extend(body.data().iter().map(|operation| prefixed(&key_of(operation))));
                }
                // Nothing tells any more which they were.
                Kept::Values(_) => drop(keys.insert((Vec::new(), vec![u8::MAX]))),
            }
        }
        Ok([(Family::Openings, openings), (Family::State, keys.clone()), (Family::Versions, keys)])
    }

    /// Rewrites every table file that holds something of these ranges, once.
    fn rewrite(&self, family: Family, ranges: Ranges) -> Result<(), StorageError> {
        // What lies before this key, and after the first range, has been rewritten.
        let mut done = Vec::new();
        for (first, last) in ranges {
            if last <= done {
                continue;
            }
            self.db.rewrite(family, &first, &last)?;
            // Whole files are: so is what else is in the one where the range ends.
            let tables = self.db.tables(family)?.into_iter();
            let around = tables.filter(|table| table.first <= last && last <= table.last);
            done = around.map(|table| table.last).min().unwrap_or(last);
        }
        Ok(())
    }
}

/// Ranges of keys, by their first and last ones.
type Ranges = BTreeSet<(Vec<u8>, Vec<u8>)>;

fn prefixed(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (prefix.to_vec(), after_prefix(prefix).unwrap_or_else(|| prefix.to_vec()))
}
