//! What can go wrong with checkpoints.

use quipu_merge::{BlockId, ChainError, EventId, Height, MAX_CUT_HEADS, MAX_VALIDATORS};

use crate::error::{ReadError, StorageError};

/// No checkpoint can be derived; nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeriveError {
    /// The ledger's genesis names no validators: nothing is ever certified.
    #[error("the ledger has no validators")]
    NoValidators,
    /// There are no heights after the last.
    #[error("the last height has been reached")]
    LastHeight,
    /// A head of the cut is not held.
    #[error("event {0} of the cut is not held")]
    Missing(EventId),
    /// The cut does not strictly contain the last certified one.
    #[error("the cut does not strictly contain the last certified one")]
    NotBeyond,
    /// More hold `validator` over the cut than a checkpoint may name.
    #[error("{0} validators are granted, and a checkpoint names at most {MAX_VALIDATORS}")]
    TooManyValidators(usize),
    /// The cut has more heads than a checkpoint may name.
    #[error("the cut has {0} heads, and a checkpoint names at most {MAX_CUT_HEADS}")]
    TooManyHeads(usize),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<ReadError> for DeriveError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Storage(error),
            ReadError::NoSuchEvent(event) => Self::Missing(event),
            other => Self::Storage(StorageError::damaged(other.to_string())),
        }
    }
}

/// A certified checkpoint was not accepted; nothing has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// It does not continue the chain of those that are held, or is not certified.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The block of heads is not the one that the checkpoint names.
    #[error("the list of heads is not {0}")]
    Cut(BlockId),
    /// Too many checkpoints wait for the events of their cuts: it is to be offered again when those
    /// have come.
    #[error("too many checkpoints wait for events: {0} is to be offered again later")]
    Full(Height),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
