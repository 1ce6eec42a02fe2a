//! Why a store is not repaired.

use std::path::PathBuf;

use quipu_merge::Height;

use crate::error::{IdentityError, MergeError, OpenError, ReadError, StorageError};

/// A store is not repaired. It is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The store is not there, is in use, or has another format.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no room for a second database beside the damaged one.
    #[error(
        "{dir}: {needed} bytes must be free for a second database beside the damaged one, and {free} are"
    )]
    NoRoom {
        /// The store's directory.
        dir: PathBuf,
        /// How many bytes are free on its file system.
        free: u64,
        /// How many must be.
        needed: u64,
    },
    /// The store starts from a checkpoint: what precedes that cannot be derived from what is here.
    #[error(
        "the store starts from checkpoint {0}, and cannot be repaired: clone the ledger again, or bring in what lies below before anything is damaged"
    )]
    Shallow(Height),
    /// The first event cannot be read, and no source has it.
    #[error("{0}: the ledger's first event cannot be read, and without it no other can be placed")]
    NoGenesis(PathBuf),
    /// The database does not tell who this replica is, and its key cannot be had.
    #[error("the database does not tell any more who this replica is, and only its key does: {0}")]
    Identity(#[from] IdentityError),
    /// The store cannot be repaired from itself.
    #[error("{0} is the store to repair, and no source for it")]
    Itself(PathBuf),
    /// A source cannot be opened.
    #[error("{path}: {source}")]
    Unopened {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<OpenError>,
    },
    /// What a source holds cannot be taken in.
    #[error("{path}: {source}")]
    Source {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<MergeError>,
    },
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<ReadError> for RepairError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Storage(error),
            other => Self::Storage(StorageError::damaged(other.to_string())),
        }
    }
}

impl From<MergeError> for RepairError {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Storage(error) => Self::Storage(error),
            other => Self::Storage(StorageError::damaged(other.to_string())),
        }
    }
}
