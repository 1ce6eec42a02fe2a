//! Bodies that have been pruned, and what stays in their place.
//!
//! Below a certified checkpoint, a body goes where none of its operations counts for any state from
//! that checkpoint on: see [`Ledger::prune`]. Its event stays, with the openings that the body named:
//! a redact erases these wherever their author used them. How far bodies may be gone is recorded as
//! the height of that checkpoint, in the batch that drops the first of them. From then on, what needs
//! the operations of events up to there is [`ReadError::Pruned`], whether or not those that it asks
//! for are still here. In a store that starts from a checkpoint they were never here, and it is
//! [`ReadError::BelowStart`].
//!
//! [`Ledger::prune`]: crate::Ledger::prune

use quipu_merge::{Body, Clock, Height, OpeningId, Operation};

use crate::db::Reader;
use crate::error::{ReadError, StorageError};
use crate::extent::Extent;
use crate::record::{self, put_number};
use crate::schema::{Family, meta};
use crate::snapshot::Snapshot;

/// What stands in the place of a body begins so, which no body does: those are lists or maps.
const PRUNED: u8 = 0;

/// What is kept of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole(Body),
    /// The openings that it named, by the index of their operation.
    Values(Vec<(u16, OpeningId)>),
}

impl Kept {
    /// Reads what a record of an event has as its body.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let Some(values) = bytes.strip_prefix(&[PRUNED]) else {
            return Body::decode(bytes).ok().map(Self::Whole);
        };
        let mut r = record::Reader(values);
        let mut values = Vec::new();
        while !r.0.is_empty() {
            let slot = u16::try_from(r.number()?).ok()?;
            values.push((slot, OpeningId(r.take(32)?.try_into().ok()?)));
        }
        Some(Self::Values(values))
    }

    /// The data operations that are here.
    pub fn operations(&self) -> &[Operation] {
        match self {
            Self::Whole(body) => body.data(),
            Self::Values(_) => &[],
        }
    }

    /// The openings that the body names, or named, by the index of their operation, ascending.
    pub fn values(&self) -> Vec<(u16, OpeningId)> {
        match self {
            Self::Whole(body) => values_of(body),
            Self::Values(values) => values.clone(),
        }
    }

    /// The opening that the operation with this index names.
    pub fn value(&self, slot: u16) -> Option<OpeningId> {
        match self {
            Self::Whole(body) => body.data().get(usize::from(slot)).and_then(Operation::value),
            Self::Values(values) => {
                let at = values.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
                values.get(at).map(|(_, opening)| *opening)
            }
        }
    }

    /// The body, where all of it is here.
    pub fn whole(self) -> Option<Body> {
        match self {
            Self::Whole(body) => Some(body),
            Self::Values(_) => None,
        }
    }
}

fn values_of(body: &Body) -> Vec<(u16, OpeningId)> {
    let slots = (0_u16..).zip(body.data());
    slots.filter_map(|(slot, operation)| Some((slot, operation.value()?))).collect()
}

/// What is kept of a body that goes.
pub fn remains(body: &Body) -> Vec<u8> {
    pack_values(&values_of(body))
}

/// What stands in the place of a body that named these openings, ascending by the index of their
/// operation.
pub fn pack_values(values: &[(u16, OpeningId)]) -> Vec<u8> {
    let mut bytes = vec![PRUNED];
    for (slot, opening) in values {
        put_number(&mut bytes, u64::from(*slot));
        bytes.extend_from_slice(&opening.0);
    }
    bytes
}

/// Whether these bytes stand in the place of a body that is gone.
pub fn is_gone(bytes: &[u8]) -> bool {
    bytes.first() == Some(&PRUNED)
}

/// Up to which checkpoint bodies may be gone.
pub fn pruned_to(reader: Reader<'_>) -> Result<Option<Height>, StorageError> {
    let Some(record) = reader.get(Family::Meta, meta::BODIES)? else { return Ok(None) };
    let damaged = || StorageError::damaged("the record of pruned bodies");
    decode_height(&record).map(Some).ok_or_else(damaged)
}

/// Reads the record of how far bodies may be gone.
pub fn decode_height(record: &[u8]) -> Option<Height> {
    Some(Height(u64::from_be_bytes(record.try_into().ok()?)))
        .filter(|height| *height >= Height::FIRST)
}

impl Snapshot<'_> {
    /// Whether the state of the cut can be told from what is kept.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] or [`ReadError::BelowStart`] where bodies may be gone that it needs.
    pub(crate) fn check_kept(&self) -> Result<(), ReadError> {
        match self.lacks_below()? {
            Some(height) => Err(self.without_bodies(height)),
            None => Ok(()),
        }
    }

    /// The checkpoint up to which bodies may be gone, where the cut does not contain its cut.
    fn lacks_below(&self) -> Result<Option<Height>, ReadError> {
        // Everything contains all that is certified.
        if matches!(self.extent(), Extent::Everything) {
            return Ok(None);
        }
        if let Some(known) = self.lacks_below.get() {
            return Ok(*known);
        }
        let lacks = match pruned_to(self.reader())? {
            Some(height) if !self.is_within(height, &self.frontier()?)? => Some(height),
            _ => None,
        };
        Ok(*self.lacks_below.get_or_init(|| lacks))
    }

    /// The checkpoint up to which bodies may be gone, and how far its cut goes on each lane.
    pub(crate) fn pruned_bodies(&self) -> Result<Option<(Height, Clock)>, ReadError> {
        let Some(height) = pruned_to(self.reader())? else { return Ok(None) };
        if let Some(floor) = self.ledger_handle().floor.as_ref().filter(|f| f.height() == height) {
            return Ok(Some((height, floor.shallow.floor.clone())));
        }
        let clock = match self.checkpoint_cut(height)? {
            Some(cut) => self.clock_of_heads(cut.heads())?,
            None => Clock::new(),
        };
        Ok(Some((height, clock)))
    }

    /// Whether the operations of all events are here, and not only those that some state shows.
    ///
    /// # Errors
    /// [`ReadError::Pruned`] or [`ReadError::BelowStart`] where bodies may be gone.
    pub fn check_history(&self) -> Result<(), ReadError> {
        match pruned_to(self.reader())? {
            Some(height) => Err(self.without_bodies(height)),
            None => Ok(()),
        }
    }

    /// What reading comes to that needs bodies which may be gone up to a checkpoint. Those up to the one that
    /// the store starts from were not dropped: they have not come.
    pub(crate) fn without_bodies(&self, height: Height) -> ReadError {
        match &self.ledger_handle().floor {
            Some(floor) if floor.height() >= height => floor.pruned(),
            _ => ReadError::Pruned(height),
        }
    }
}

#[cfg(test)]
mod tests {
    use quipu_merge::Key;

    use super::*;

    #[test]
    fn values_outlast_their_bodies() {
        let key = |text: &str| Key::new(text).unwrap();
        let value = OpeningId([7; 32]);
        let body = Body::Data(vec![
            Operation::Del { key: key("a") },
            Operation::Put { key: key("b"), value },
        ]);
        let bytes = body.encode().unwrap();
        assert!(!is_gone(&bytes));
        let whole = Kept::decode(&bytes).unwrap();
        assert_eq!((whole.values(), whole.operations().len()), (vec![(1, value)], 2));
        assert_eq!(whole.whole(), Some(body.clone()));
        let left = remains(&body);
        assert!(is_gone(&left) && Body::decode(&left).is_err());
        let kept = Kept::decode(&left).unwrap();
        assert_eq!((kept.values(), kept.operations().len()), (vec![(1, value)], 0));
        assert_eq!((kept.value(0), kept.value(1)), (None, Some(value)));
        assert_eq!(kept.whole(), None);
        assert_eq!(Kept::decode(&left[..left.len() - 1]), None);
    }
}
