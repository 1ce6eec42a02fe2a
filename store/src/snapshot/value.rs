//! Values, as far as they are at hand.

use std::ops::Range;
use std::sync::Arc;

use quipu_merge::{
    Act, BlockId, Content, ContentReadError, ControlEvent, Dot, Link, Opening, read_content_range,
};

use super::Snapshot;
use crate::blocks::{self, Ahead};
use crate::error::{ReadError, StorageError};
use crate::opening;
use crate::pruned::is_pruned;
use crate::schema::{Family, meta};

/// What can be told of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The value itself.
    Bytes(Vec<u8>),
    /// A long value in blocks of its own: see [`Snapshot::read_long`].
    Long(Link),
    /// It has been erased.
    Erased,
    /// It was dropped here, because no state that is kept shows it: see [`Ledger::prune`](crate::Ledger::prune).
    Pruned,
    /// It is not here.
    Missing,
    /// It is not what the format says that a value is, or another author's.
    Unreadable,
}

impl Value {
    /// Why it cannot be shown, in a word or two; `None` where it can.
    pub const fn unavailable(&self) -> Option<&'static str> {
        match self {
            Self::Bytes(_) | Self::Long(_) => None,
            Self::Erased => Some("erased"),
            Self::Pruned => Some("pruned"),
            Self::Missing => Some("not here"),
            Self::Unreadable => Some("unreadable"),
        }
    }
}

impl Snapshot<'_> {
    /// A block of a long value that is not here, if there is one. Costs far less than reading it.
    ///
    /// # Errors
    /// The disk, the database or its content.
    pub fn missing_block(&self, link: Link) -> Result<Option<BlockId>, ReadError> {
        Ok(blocks::first_missing(self.reader(), link)?)
    }

    /// Writes a long value to `write`, block by block; every block is checked against its hash.
    ///
    /// # Errors
    /// `Ok(Err(id))` where a block is missing or damaged; what precedes it has been written.
    pub fn read_long(
        &self,
        link: Link,
        write: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Result<(), BlockId>, LongError> {
        self.read_long_range(link, 0..u64::MAX, write)
    }

    /// Writes a range of the bytes of a long value to `write`, and reads no blocks but those that
    /// hold some of them. Of a range that goes beyond the end it writes what there is.
    ///
    /// # Errors
    /// `Ok(Err(id))` where a block that is needed is missing; what precedes it has been written.
    pub fn read_long_range(
        &self,
        link: Link,
        range: Range<u64>,
        mut write: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Result<(), BlockId>, LongError> {
        // Of a part of a value, nothing is read that may not be needed. What has rotted is to be
        // told from what is missing.
        let whole = range.start == 0 && range.end >= link.size;
        let write = |bytes: &[u8]| write(bytes).map_err(LongError::Output);
        let read = std::thread::scope(|scope| {
            let mut ahead = Ahead::new(scope, self.reader());
            let fetch = |id: BlockId| {
                let block = if whole { ahead.fetch(id) } else { blocks::stored(self.reader(), id) };
                block.map_err(LongError::Storage)
            };
            read_content_range(link, range, fetch, write)
        });
        match read {
            Ok(()) => Ok(Ok(())),
            Err(ContentReadError::Missing(id)) => Ok(Err(id)),
            Err(ContentReadError::Fetch(error) | ContentReadError::Write(error)) => Err(error),
            Err(other) => Err(LongError::Malformed(other.to_string())),
        }
    }

    /// Whether any value has been erased.
    pub(crate) fn has_erased(&self) -> bool {
        let redacts = |event: &Arc<ControlEvent>| {
            event.acts.iter().any(|act| matches!(act, Act::Redact { .. }))
        };
        *self.has_erased.get_or_init(|| self.published.authority.events().iter().any(redacts))
    }

    /// The opening of a value, as far as it is at hand, erased or not.
    pub(crate) fn opening_at(&self, dot: Dot, slot: u16) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(stored) = opening::find(self.reader(), dot, slot)? else { return Ok(None) };
        let author = self.published.lanes.get(dot.lane).map(|info| info.author);
        let opening = author.and_then(|author| opening::unpack(author, &stored));
        opening.map(Some).ok_or_else(|| StorageError::damaged("a stored opening"))
    }

    /// Whether a value has been erased.
    pub(crate) fn is_erased(&self, dot: Dot, slot: u16) -> Result<bool, StorageError> {
        Ok(self.has_erased() && self.reader().has(Family::Meta, &meta::erased(dot, slot))?)
    }

    /// What can be told of the value of an operation.
    pub(crate) fn value_at(&self, dot: Dot, slot: u16) -> Result<Value, StorageError> {
        if self.is_erased(dot, slot)? {
            return Ok(Value::Erased);
        }
        self.at_hand(dot, slot)
    }

    /// What is at hand of the value of an operation, erased or not.
    pub(crate) fn at_hand(&self, dot: Dot, slot: u16) -> Result<Value, StorageError> {
        let Some(opening) = self.opening_at(dot, slot)? else {
            let pruned = is_pruned(self.reader(), dot, slot)?;
            return Ok(if pruned { Value::Pruned } else { Value::Missing });
        };
        let author = self.published.lanes.get(dot.lane).map(|info| info.author);
        Ok(match Opening::decode(&opening) {
            Ok(opening) if Some(opening.author) == author => match opening.content {
                Content::Inline(bytes) => Value::Bytes(bytes),
                Content::Linked(link) => Value::Long(link),
            },
            _ => Value::Unreadable,
        })
    }
}

/// A long value cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LongError {
    /// Where it goes does not take it.
    #[error("the value cannot be written out: {0}")]
    Output(#[source] std::io::Error),
    /// Its blocks do not make up what the format says.
    #[error("the value is malformed: {0}")]
    Malformed(String),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(StorageError),
}
