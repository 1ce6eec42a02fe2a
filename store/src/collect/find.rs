//! Finding what is likely to go, while others write.

use std::time::Duration;

use super::MARKS;
use super::fate::{Fate, fate};
use crate::blocks::{Edges, Garbage};
use crate::db::{Reader, Walk};
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::schema::{Family, after_prefix, meta};

/// A block with a mark: its number, and what the mark says.
pub type Marked = (u64, Garbage);

/// What looking at some marks has come to.
pub struct Found {
    /// What is likely to go, or to lose its mark, by ascending numbers.
    pub likely: Vec<Marked>,
    /// Blocks whose grace period is not over.
    pub young: u64,
}

impl Ledger {
    /// The next marks, by ascending numbers, and where to go on after them.
    pub(super) fn marked_after(&self, after: &mut u64) -> Result<Vec<Marked>, StorageError> {
        let mut marks = Marks::between(self.latest(), *after, u64::MAX)?;
        let mut marked = Vec::new();
        while let Some(next) = marks.next()?
            && marked.len() < MARKS
        {
            *after = next.0 + 1;
            marked.push(next);
        }
        Ok(marked)
    }

    /// Looks at marked blocks.
    pub(super) fn find(&self, marked: Vec<Marked>, grace: Duration) -> Result<Found, StorageError> {
        let mut found = Found { likely: Vec::with_capacity(marked.len()), young: 0 };
        let mut edges = edges_of(self.latest(), &marked)?;
        for (number, garbage) in marked {
            match fate(edges.held(number)?, &garbage, grace, false) {
                Fate::Young => found.young += 1,
                _ => found.likely.push((number, garbage)),
            }
        }
        Ok(found)
    }
}

/// The edges to marked blocks.
pub fn edges_of<'r>(reader: Reader<'r>, marked: &[Marked]) -> Result<Edges<'r>, StorageError> {
    let number = |marked: Option<&Marked>| marked.map_or(0, |(number, _)| *number);
    Edges::between(reader, number(marked.first()), number(marked.last()))
}

/// The marks of blocks, by ascending numbers.
pub struct Marks<'r> {
    walk: Walk<'r>,
    started: bool,
}

impl<'r> Marks<'r> {
    /// Those of the blocks from `first` to `last`.
    pub fn between(reader: Reader<'r>, first: u64, last: u64) -> Result<Self, StorageError> {
        let end = after_prefix(&meta::garbage(last));
        let walk = reader.walk_between(Family::Meta, &meta::garbage(first), end)?;
        Ok(Self { walk, started: false })
    }

    /// The next one.
    pub fn next(&mut self) -> Result<Option<Marked>, StorageError> {
        if self.started {
            self.walk.next()?;
        } else {
            self.walk.first()?;
            self.started = true;
        }
        let damaged = || StorageError::damaged("the mark of a block that may be garbage");
        let Some((key, value)) = self.walk.item() else { return Ok(None) };
        let number = key.strip_prefix(meta::GARBAGE).and_then(|number| number.try_into().ok());
        let number = number.map(u64::from_be_bytes).ok_or_else(damaged)?;
        Ok(Some((number, Garbage::decode(value).ok_or_else(damaged)?)))
    }
}
