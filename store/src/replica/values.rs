//! Values that did not come along with their events: which ones, and handing out one's own.

use std::ops::Range;

use quipu_merge::{BlockId, Dot, EventId, Key, Link, OpeningId};

use crate::blocks::{self, Garbage, Parent};
use crate::error::{ReadError, StorageError};
use crate::ledger::Ledger;
use crate::lookup::{self, Stored};
use crate::missing::Found;
use crate::opening;
use crate::schema::{Family, meta};
use crate::snapshot::Snapshot;

/// So many missing blocks are named of one value at most. When they have come, the others are.
pub const MAX_MISSING_BLOCKS: usize = 1024;

/// A value that is not whole here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingValue {
    /// The event that wrote it.
    pub event: EventId,
    /// The index of its operation in the event's body.
    pub slot: u16,
    /// The key that it was written to; none where nothing here tells it, because the event's body has been
    /// pruned.
    pub key: Option<Key>,
    /// What of it is not here.
    pub lacks: Lacks,
}

/// What of a value is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// Its opening.
    Opening(OpeningId),
    /// Blocks of a long value, as far as manifests that are here tell, and up to
    /// [`MAX_MISSING_BLOCKS`].
    Blocks(Vec<BlockId>),
}

impl Snapshot<'_> {
    /// The blocks that hold a range of a long value and are not here, as far as manifests that are here
    /// tell, and up to [`MAX_MISSING_BLOCKS`].
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn missing_blocks(
        &self,
        link: Link,
        range: &Range<u64>,
    ) -> Result<Vec<BlockId>, ReadError> {
        Ok(blocks::missing_of(self.reader(), link, range, MAX_MISSING_BLOCKS)?)
    }
}

impl Ledger {
    /// Up to `limit` values that are not whole here, nor erased or pruned, by their places: from the
    /// first one on, or after the value of this event and slot. Fewer are the last ones. Blocks that
    /// came for something else may have made one whole: it is not listed, and counts as missing no
    /// longer.
    ///
    /// # Errors
    /// [`ReadError::NoSuchEvent`] where it is to go on after an event that is not held, and errors of
    /// the disk, the database or its content.
    pub fn missing_values(
        &self,
        after: Option<(EventId, u16)>,
        limit: usize,
    ) -> Result<Vec<MissingValue>, ReadError> {
        let mut from = meta::MISSING.to_vec();
        if let Some((event, slot)) = after {
            let dot = lookup::dot_of(self.latest(), event)?.ok_or(ReadError::NoSuchEvent(event))?;
            from = meta::missing(dot, slot);
            from.push(0);
        }
        let (mut missing, mut whole) = (Vec::new(), Vec::new());
        while missing.len() < limit {
            let marked = self.missing_after(&mut from, limit - missing.len())?;
            if marked.is_empty() {
                break;
            }
            for of_event in marked.chunk_by(|a, b| a.0 == b.0) {
                self.look_at(of_event, &mut missing, &mut whole)?;
            }
        }
        if !whole.is_empty() {
            self.add_found(whole)?;
        }
        Ok(missing)
    }

    /// Tells what values of one event lack, and which ones lack nothing any more.
    fn look_at(
        &self,
        of_event: &[(Dot, u16)],
        missing: &mut Vec<MissingValue>,
        whole: &mut Vec<Found>,
    ) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("the mark of a missing value");
        let Some(&(dot, _)) = of_event.first() else { return Ok(()) };
        let stored = Stored::read(self.latest(), dot)?;
        let (event, kept) = (EventId::of(stored.record()?.event), stored.kept()?);
        for &(dot, slot) in of_event {
            let id = kept.value(slot).ok_or_else(damaged)?;
            let lacks = match opening::find(self.latest(), dot, slot)? {
                None => Lacks::Opening(id),
                Some(stored) => {
                    let missing = match opening::long_value(&stored) {
                        Some(link) => blocks::missing(self.latest(), link, MAX_MISSING_BLOCKS)?,
                        None => Vec::new(),
                    };
                    if missing.is_empty() {
                        whole.push(Found { dot, slot, opening: None });
                        continue;
                    }
                    Lacks::Blocks(missing)
                }
            };
            let operation = kept.operations().get(usize::from(slot));
            let key = match operation {
                Some(operation) => Some(operation.key().clone()),
                None => self.marked_key(dot, slot)?,
            };
            missing.push(MissingValue { event, slot, key, lacks });
        }
        Ok(())
    }

    /// The key of a missing value as its mark has it, which is so below where a shallow store starts.
    fn marked_key(&self, dot: Dot, slot: u16) -> Result<Option<Key>, StorageError> {
        let mark = self.latest().get(Family::Meta, &meta::missing(dot, slot))?;
        let key = mark.as_deref().and_then(|mark| std::str::from_utf8(mark).ok());
        Ok(key.and_then(|key| Key::new(key).ok()))
    }

    /// Those of these blocks that are not here.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn absent_blocks(&self, ids: &[BlockId]) -> Result<Vec<BlockId>, StorageError> {
        let mut absent = Vec::new();
        for id in ids {
            if !blocks::is_here(self.latest(), *id)? {
                absent.push(*id);
            }
        }
        Ok(absent)
    }

    /// Whether a block is not here although something that is here refers to it.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn lacks_block(&self, id: BlockId) -> Result<bool, StorageError> {
        match blocks::entry_of(self.latest(), id)? {
            Some(entry) if entry.len.is_none() => {
                blocks::is_referred_to(self.latest(), entry.number)
            }
            _ => Ok(false),
        }
    }

    /// The openings of these operations of an event, as far as they are at hand and not erased, up to
    /// the first one that would make them more than `max_len` bytes.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn openings(
        &self,
        event: EventId,
        slots: &[u16],
        max_len: usize,
    ) -> Result<Vec<(u16, Vec<u8>)>, ReadError> {
        let snapshot = self.snapshot()?;
        let (mut found, mut left) = (Vec::new(), max_len);
        let Some(dot) = lookup::dot_of(snapshot.reader(), event)? else { return Ok(found) };
        for &slot in slots {
            if snapshot.is_erased(dot, slot)? {
                continue;
            }
            let Some(opening) = snapshot.opening_at(dot, slot)? else { continue };
            let Some(after) = left.checked_sub(opening.len()) else { break };
            left = after;
            found.push((slot, opening));
        }
        Ok(found)
    }

    /// A block of a long value, checked against its hash. `None` where it is not here or damaged, and
    /// where nothing refers to it but values that have been erased: it is not to be sent then.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn block(&self, id: BlockId) -> Result<Option<Vec<u8>>, ReadError> {
        let snapshot = self.snapshot()?;
        let reader = snapshot.reader();
        let Some(number) = blocks::number_of(reader, id)? else { return Ok(None) };
        let may_be_sent = blocks::find_parent(reader, number, |child, parent| match parent {
            Parent::Value(dot, slot) => Ok(!snapshot.is_erased(dot, slot)?),
            Parent::Pin => {
                let mark = reader.get(Family::Meta, &meta::garbage(child))?;
                let mark = mark.and_then(|mark| Garbage::decode(&mark));
                Ok(!mark.is_some_and(|mark| mark.is_erased()))
            }
            Parent::Manifest(_) => Ok(false),
        })?;
        Ok(if may_be_sent { blocks::read(reader, id)? } else { None })
    }
}
