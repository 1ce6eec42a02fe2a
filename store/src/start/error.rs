//! What can go wrong with a start file.

use std::io;

use quipu_merge::{EventId, Height, Malformed, ProofError, Refusal};

use crate::certify::ProveError;
use crate::error::{ReadError, StorageError};

/// A start file cannot be written, or nothing can be started from it. What was made of it is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No checkpoint counts at the source: there is nothing to start from.
    #[error("nothing is certified yet")]
    NothingCertified,
    /// The source starts from a checkpoint itself, and cannot show what its state comes from.
    #[error("what precedes checkpoint {0} is not here: only a whole store can be started from")]
    Shallow(Height),
    /// Where the file goes does not take it.
    #[error("the start file cannot be written: {0}")]
    Output(#[source] io::Error),
    /// The file cannot be read, or is cut short.
    #[error("the start file cannot be read: {0}")]
    Input(#[source] io::Error),
    /// This is no start file, or one of another version.
    #[error("not a start file of this version")]
    NotOne,
    /// The file is not put together as it should be, or has changed on its way.
    #[error("the start file is corrupt: {0}")]
    Corrupt(Malformed),
    /// It is about another ledger.
    #[error("the start file is about ledger {found}, not {expected}")]
    OtherLedger {
        /// The one that is wanted.
        expected: EventId,
        /// The one that it is about.
        found: EventId,
    },
    /// Its checkpoints are not certified from genesis on.
    #[error("the checkpoints of the start file: {0}")]
    Chain(#[from] ProofError),
    /// An event is not one, or has another body.
    #[error("an event of the start file is refused: {0}")]
    Event(#[from] Refusal),
    /// An event is not where it is said to be in the certified log.
    #[error("event {0} is not shown to be in the certified log")]
    NotInLog(EventId),
    /// The hashes of the certified log do not come to its root.
    #[error("the hashes of the certified log are others than those that are certified")]
    Log,
    /// The state is not the certified one.
    #[error("the state is another one than that which is certified")]
    State,
    /// What it says does not go together, or cannot be so.
    #[error("the start file contradicts itself: {0}")]
    Contradiction(String),
    /// There is more of something than is taken in.
    #[error("the start file has more {what} than {limit}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much is taken in.
        limit: usize,
    },
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl StartError {
    pub(super) fn contradiction(what: impl Into<String>) -> Self {
        Self::Contradiction(what.into())
    }

    pub(super) fn corrupt(what: impl Into<Malformed>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<ReadError> for StartError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Storage(error),
            other => Self::Storage(StorageError::damaged(other.to_string())),
        }
    }
}

impl From<ProveError> for StartError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::NothingCertified => Self::NothingCertified,
            ProveError::Read(error) => error.into(),
            other => Self::Storage(StorageError::damaged(other.to_string())),
        }
    }
}
