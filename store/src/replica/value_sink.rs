//! Taking in openings and blocks that come after their events.

use std::collections::{BTreeSet, HashMap};

use quipu_merge::{AuthorKey, BlockId, Dot, EventId, MAX_BLOCK_LEN, OpeningId};

use crate::blocks::{self, BlockSink, Parent};
use crate::bodies::Kept;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::lookup::{self, Stored};
use crate::missing::Found;
use crate::opening;
use crate::schema::{Family, meta};

/// Openings and blocks that are coming in for values that are missing here, in any order.
///
/// Blocks to which nothing refers yet are kept from being collected until this is dropped. It
/// remembers what was put since the last [`Self::commit`], and a few bytes of each block after that: it
/// is for the blocks of some values, not for all that ever comes.
pub struct ValueSink<'l> {
    ledger: &'l Ledger,
    blocks: BlockSink<'l>,
    /// The openings that have come.
    found: Vec<Found>,
    /// The blocks that have come.
    new: Vec<BlockId>,
    /// A block that a value lacked when it was looked at.
    lacking: HashMap<(Dot, u16), BlockId>,
    /// The event whose opening came last: mostly the next one is of the same.
    event: Option<Target>,
}

struct Target {
    id: EventId,
    dot: Dot,
    author: AuthorKey,
    kept: Kept,
}

impl Ledger {
    /// Starts to take in values that are missing here.
    pub fn value_sink(&self) -> ValueSink<'_> {
        ValueSink {
            ledger: self,
            blocks: BlockSink::new(self),
            found: Vec::new(),
            new: Vec::new(),
            lacking: HashMap::new(),
            event: None,
        }
    }
}

impl ValueSink<'_> {
    /// Takes in the opening of a value, with the next [`Self::commit`]. Tells whether it is the one
    /// that the event names there.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn put_opening(
        &mut self,
        event: EventId,
        slot: u16,
        opening: &[u8],
    ) -> Result<bool, StorageError> {
        let Some(target) = self.target(event)? else { return Ok(false) };
        let named = target.kept.value(slot);
        if opening.len() > MAX_BLOCK_LEN || named != Some(OpeningId::of(opening)) {
            return Ok(false);
        }
        let (dot, stored) = (target.dot, opening::pack(target.author, opening));
        self.found.push(Found { dot, slot, opening: Some(stored) });
        Ok(true)
    }

    /// Takes in a block of a long value, at the latest with the next [`Self::commit`]. Tells whether it
    /// is what its id says.
    ///
    /// # Errors
    /// The disk, the database or its content; [`StorageError::NoRoom`].
    pub fn put_block(&mut self, id: BlockId, block: &[u8]) -> Result<bool, StorageError> {
        let fits = (1..=MAX_BLOCK_LEN).contains(&block.len());
        if !fits || BlockId::of(id.codec, block) != id {
            return Ok(false);
        }
        self.ledger.db.check_room()?;
        self.blocks.put(id, block)?;
        self.new.push(id);
        Ok(true)
    }

    /// Makes what has come part of the ledger. Tells how many values have their openings by that, or
    /// are whole. What a crash of the machine takes before the next [`Ledger::sync`] is missing again.
    ///
    /// # Errors
    /// The disk, the database or its content; [`StorageError::NoRoom`]. What is not part of the ledger
    /// by then goes on being missing.
    pub fn commit(&mut self) -> Result<u64, StorageError> {
        self.ledger.db.check_room()?;
        self.blocks.commit()?;
        self.complete()?;
        let mut found = std::mem::take(&mut self.found);
        // One may have come twice.
        found.sort_by_key(|found| (found.dot, found.slot, found.opening.is_none()));
        found.dedup_by_key(|found| (found.dot, found.slot));
        if found.is_empty() { Ok(0) } else { self.ledger.add_found(found) }
    }

    /// Looks which values are whole by the blocks that have come.
    fn complete(&mut self) -> Result<(), StorageError> {
        let reader = self.ledger.latest();
        let mut touched = BTreeSet::new();
        for id in std::mem::take(&mut self.new) {
            let Some(number) = blocks::number_of(reader, id)? else { continue };
            blocks::find_parent(reader, number, |_, parent| {
                if let Parent::Value(dot, slot) = parent {
                    touched.insert((dot, slot));
                }
                Ok(false)
            })?;
        }
        for (dot, slot) in touched {
            // A long value has many blocks: it is not gone through for each.
            if let Some(lacking) = self.lacking.get(&(dot, slot))
                && !blocks::is_here(reader, *lacking)?
            {
                continue;
            }
            if !reader.has(Family::Meta, &meta::missing(dot, slot))? {
                continue;
            }
            let Some(stored) = opening::find(reader, dot, slot)? else { continue };
            let Some(link) = opening::long_value(&stored) else { continue };
            match blocks::first_missing(reader, link)? {
                Some(missing) => drop(self.lacking.insert((dot, slot), missing)),
                None => self.found.push(Found { dot, slot, opening: None }),
            }
        }
        Ok(())
    }

    fn target(&mut self, event: EventId) -> Result<Option<&Target>, StorageError> {
        if self.event.as_ref().is_none_or(|target| target.id != event) {
            self.event = None;
            let reader = self.ledger.latest();
            if let Some(dot) = lookup::dot_of(reader, event)? {
                let stored = Stored::read(reader, dot)?;
                let (author, kept) = (stored.event()?.event().author, stored.kept()?);
                self.event = Some(Target { id: event, dot, author, kept });
            }
        }
        Ok(self.event.as_ref())
    }
}
