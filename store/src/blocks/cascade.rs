//! What becomes garbage when references go, and what only that refers to: counted, not deleted.

use std::collections::{HashMap, HashSet};

use quipu_merge::BlockId;

use super::{Parent, children, edge_key, number_of, stored};
use crate::db::Reader;
use crate::error::StorageError;
use crate::schema::Family;

/// The references that are left to blocks of which some have gone. Memory grows with the blocks
/// that lose references, some dozens of bytes for each.
pub struct Cascade<'r> {
    reader: Reader<'r>,
    left: HashMap<u64, Left>,
    gone: HashSet<u64>,
    /// How many blocks have gone.
    pub blocks: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// How many of them were pinned: pins do not keep what has been erased.
    pub unpinned: u64,
}

/// What still refers to a block.
#[derive(Clone, Copy)]
struct Left {
    others: u64,
    pinned: bool,
}

impl<'r> Cascade<'r> {
    /// Nothing has gone.
    pub fn new(reader: Reader<'r>) -> Self {
        let (left, gone) = (HashMap::new(), HashSet::new());
        Self { reader, left, gone, blocks: 0, bytes: 0, unpinned: 0 }
    }

    /// A block goes to which nothing refers, or nothing but a pin where it has been erased; with
    /// it goes what only it lists, except what `is_spared` says.
    pub fn take(
        &mut self,
        number: u64,
        id: BlockId,
        erased: bool,
        is_spared: impl Fn(BlockId) -> bool,
    ) -> Result<(), StorageError> {
        let mut open = vec![(number, id)];
        while let Some((number, id)) = open.pop() {
            if !self.gone.insert(number) {
                continue;
            }
            self.unpinned += u64::from(self.is_pinned(number)?);
            let block = stored(self.reader, id)?.unwrap_or_default();
            self.blocks += 1;
            self.bytes += block.len() as u64;
            for child in children(id, &block) {
                if let Some(number) = self.lose_reference(child, erased)?
                    && !is_spared(child)
                {
                    open.push((number, child));
                }
            }
        }
        Ok(())
    }

    /// One of the references to a block goes, and where that was the last one, the block does.
    pub fn release(&mut self, id: BlockId) -> Result<(), StorageError> {
        match self.lose_reference(id, false)? {
            Some(number) => self.take(number, id, false, |_| false),
            None => Ok(()),
        }
    }

    /// Counts a reference less. Gives the number of the block where none is left.
    fn lose_reference(&mut self, id: BlockId, erased: bool) -> Result<Option<u64>, StorageError> {
        let Some(number) = number_of(self.reader, id)? else { return Ok(None) };
        let mut left = match self.left.get(&number) {
            Some(left) => *left,
            None => {
                let edges = self.reader.count(Family::Edges, &number.to_be_bytes())?;
                let pinned = self.is_pinned(number)?;
                Left { others: edges.saturating_sub(pinned.into()), pinned }
            }
        };
        left.others = left.others.saturating_sub(1);
        self.left.insert(number, left);
        Ok((left.others == 0 && (erased || !left.pinned)).then_some(number))
    }

    fn is_pinned(&self, number: u64) -> Result<bool, StorageError> {
        self.reader.has(Family::Edges, &edge_key(number, Parent::Pin))
    }
}
