//! Pins: what this replica keeps although nothing refers to it, or no state shows it.
//!
//! A pin of a block is an edge like any other, with a mark beside it by which it is listed. A pin
//! of an event is a mark that pruning looks at. Neither ever leaves the replica, and neither keeps
//! what has been erased.

use std::collections::BTreeSet;

use quipu_merge::{BlockId, Dot, EventId};

use crate::blocks::{self, Entry, Garbage, Parent};
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::lookup::{self, Stored};
use crate::schema::{self, Family, meta};

/// Something that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pin {
    /// A block, and all that it lists: [`Ledger::gc`] keeps it although nothing refers to it.
    /// [`Ledger::prune`] keeps the values that hold it.
    Block(BlockId),
    /// An event: [`Ledger::prune`] keeps its values.
    Event(EventId),
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Block(id) => write!(f, "block {id}"),
            Self::Event(id) => write!(f, "event {id}"),
        }
    }
}

/// Something cannot be pinned, or is not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// It is not here.
    #[error("{0} is not here; nothing was pinned")]
    NotHere(Pin),
    /// A block of an erased value, or an event of which all values are erased: it is gone, or about to go.
    #[error("{0} has been erased; nothing was pinned")]
    Erased(Pin),
    /// There is no such pin.
    #[error("{0} is not pinned; no pin was removed")]
    NotPinned(Pin),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Ledger {
    /// Pins blocks and events, all of them or none. Tells how many were not pinned before.
    ///
    /// # Errors
    /// [`PinError::NotHere`] and [`PinError::Erased`]; nothing has been pinned.
    pub fn pin(&self, pins: &[Pin]) -> Result<u64, PinError> {
        self.exclusively(|hold| {
            let new = self.places_of(pins, false)?;
            for place in &new {
                hold.writer().put(&self.db, Family::Meta, &place.mark(), &[])?;
                if let Place::Block(_, entry) = place {
                    let edge = blocks::edge_key(entry.number, Parent::Pin);
                    hold.writer().put(&self.db, Family::Edges, &edge, &[])?;
                }
            }
            Ok(new.len() as u64)
        })
    }

    /// Removes pins, all of them or none.
    ///
    /// # Errors
    /// [`PinError::NotPinned`]; no pin has been removed.
    pub fn unpin(&self, pins: &[Pin]) -> Result<(), PinError> {
        self.exclusively(|hold| {
            for place in self.places_of(pins, true)? {
                let writer = hold.writer();
                if let Place::Block(id, entry) = place {
                    // First what may fail: a mark too many does no harm.
                    writer.mark_garbage(&self.db, entry, Garbage::now(id))?;
                    let edge = blocks::edge_key(entry.number, Parent::Pin);
                    writer.delete(&self.db, Family::Edges, &edge)?;
                }
                writer.delete(&self.db, Family::Meta, &place.mark())?;
            }
            Ok(())
        })
    }

    /// Everything that is pinned: blocks, then events.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn pins(&self) -> Result<Vec<Pin>, StorageError> {
        let damaged = || StorageError::damaged("the mark of a pin");
        let mut pins: Vec<_> = self.pinned_blocks()?.into_iter().map(Pin::Block).collect();
        let mut walk = self.latest().walk(Family::Meta, meta::PINNED_EVENT)?;
        walk.first()?;
        while let Some((key, _)) = walk.item() {
            let dot = key.strip_prefix(meta::PINNED_EVENT).and_then(schema::parse_dot);
            let stored = Stored::read(self.latest(), dot.ok_or_else(damaged)?)?;
            pins.push(Pin::Event(EventId::of(stored.record()?.event)));
            walk.next()?;
        }
        Ok(pins)
    }

    /// The blocks that are pinned, ascending.
    pub(crate) fn pinned_blocks(&self) -> Result<BTreeSet<BlockId>, StorageError> {
        let damaged = || StorageError::damaged("the mark of a pin");
        let mut pinned = BTreeSet::new();
        let mut walk = self.latest().walk(Family::Meta, meta::PINNED_BLOCK)?;
        walk.first()?;
        while let Some((key, _)) = walk.item() {
            let id = key.strip_prefix(meta::PINNED_BLOCK).and_then(blocks::decode);
            pinned.insert(id.ok_or_else(damaged)?.0);
            walk.next()?;
        }
        Ok(pinned)
    }

    /// Where these are, each once, of those that are pinned or of those that are not.
    fn places_of(&self, pins: &[Pin], pinned: bool) -> Result<Vec<Place>, PinError> {
        let mut places = Vec::with_capacity(pins.len());
        for &pin in pins.iter().collect::<BTreeSet<_>>() {
            let place = self.place_of(pin, pinned)?;
            let is_pinned = match &place {
                Some(place) => self.latest().has(Family::Meta, &place.mark())?,
                None => false,
            };
            match place {
                Some(place) if is_pinned == pinned => places.push(place),
                // It stays pinned.
                Some(_) if is_pinned => {}
                _ if pinned => return Err(PinError::NotPinned(pin)),
                _ => return Err(PinError::NotHere(pin)),
            }
        }
        if !pinned {
            self.check_not_erased(&places)?;
        }
        Ok(places)
    }

    /// Where something is. What has been pinned may have been lost since.
    fn place_of(&self, pin: Pin, pinned: bool) -> Result<Option<Place>, StorageError> {
        Ok(match pin {
            Pin::Block(id) => {
                let entry = blocks::entry_of(self.latest(), id)?;
                let entry = entry.filter(|entry| entry.len.is_some() || pinned);
                entry.map(|entry| Place::Block(id, entry))
            }
            Pin::Event(id) => lookup::dot_of(self.latest(), id)?.map(Place::Event),
        })
    }

    /// What has been erased is gone, even before it is collected.
    fn check_not_erased(&self, places: &[Place]) -> Result<(), PinError> {
        for place in places {
            let (pin, erased) = match *place {
                Place::Block(id, Entry { number, .. }) => {
                    (Pin::Block(id), self.is_erased_block(number)?)
                }
                Place::Event(dot) => {
                    let stored = Stored::read(self.latest(), dot)?;
                    let values = stored.kept()?.values();
                    let mut erased = !values.is_empty();
                    for (slot, _) in values {
                        erased = erased && self.is_erased_value(dot, slot)?;
                    }
                    (Pin::Event(EventId::of(stored.record()?.event)), erased)
                }
            };
            if erased {
                return Err(PinError::Erased(pin));
            }
        }
        Ok(())
    }

    /// Whether a block was of an erased value, or is of nothing else: until the redact is certified, the
    /// bytes may have to stay.
    fn is_erased_block(&self, number: u64) -> Result<bool, StorageError> {
        let mark = self.latest().get(Family::Meta, &meta::garbage(number))?;
        let mut erased =
            mark.and_then(|mark| Garbage::decode(&mark)).is_some_and(|m| m.is_erased());
        let mut walk = self.latest().walk(Family::Edges, &number.to_be_bytes())?;
        walk.first()?;
        while let Some((edge, _)) = walk.item() {
            let damaged = || StorageError::damaged("an edge between blocks");
            match blocks::parse_edge(edge).ok_or_else(damaged)?.1 {
                Parent::Value(dot, slot) if self.is_erased_value(dot, slot)? => erased = true,
                Parent::Value(..) | Parent::Manifest(_) => return Ok(false),
                Parent::Pin => {}
            }
            walk.next()?;
        }
        Ok(erased)
    }

    fn is_erased_value(&self, dot: Dot, slot: u16) -> Result<bool, StorageError> {
        self.latest().has(Family::Meta, &meta::erased(dot, slot))
    }
}

/// Where something is that is pinned.
#[derive(Clone, Copy)]
enum Place {
    Block(BlockId, Entry),
    Event(Dot),
}

impl Place {
    /// The key of its mark.
    fn mark(&self) -> Vec<u8> {
        match *self {
            Self::Block(id, _) => meta::pinned_block(id),
            Self::Event(dot) => meta::pinned_event(dot),
        }
    }
}
