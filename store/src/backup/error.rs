//! What can go wrong with backups.

use std::path::PathBuf;

use quipu_merge::EventId;

use super::BackupId;
use crate::error::{IdentityError, OpenError, ReadError, StorageError};

/// A backup cannot be made, looked at or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There are no backups in this directory.
    #[error("no backups at {0}")]
    NotFound(PathBuf),
    /// There is something else in this directory. It is left as it was.
    #[error("{0} is not empty, and holds no backups")]
    NotBackups(PathBuf),
    /// The directory is in the store that is to be backed up.
    #[error("{0} is in the store itself: whatever befalls the one befalls the other")]
    InStore(PathBuf),
    /// The directory holds the backups of another ledger. It is left as it was.
    #[error("{dir} holds backups of another ledger: {found}, not {own}")]
    OtherLedger {
        /// Which directory.
        dir: PathBuf,
        /// The ledger whose backups it holds.
        found: EventId,
        /// The ledger that was to be backed up.
        own: EventId,
    },
    /// Another process works with the directory.
    #[error("the backups at {0} are in use by another process")]
    InUse(PathBuf),
    /// There is no backup with this number.
    #[error("{dir} holds no backup {id}")]
    NoSuchBackup {
        /// Where it was looked for.
        dir: PathBuf,
        /// Its number.
        id: BackupId,
    },
    /// A file is missing, cut off or changed.
    #[error("the backup is damaged: {path}: {what}", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The restored store cannot be made or opened. Nothing is left of it.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl BackupError {
    pub(super) fn damaged(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), what: what.into() }
    }
}

impl From<IdentityError> for BackupError {
    fn from(error: IdentityError) -> Self {
        Self::Open(error.into())
    }
}

impl From<ReadError> for BackupError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Storage(error),
            other => Self::Storage(StorageError::damaged(other.to_string())),
        }
    }
}
