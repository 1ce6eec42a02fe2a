//! What keeps the history below a shallow store from coming in.

use quipu_merge::{EventId, Height, Refusal};

use crate::certify::AcceptError;
use crate::error::{MergeError, OpenError, ReadError, StorageError};

/// The history below a shallow store was not taken in. The store itself is as it was.
///
/// Where [`Self::is_false`] says so, a source has told something that is not what is certified, or has left
/// something out, since the last checkpoint that counts: that much is to come again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// What was offered begins elsewhere. Nothing has changed.
    #[error("the history is wanted from event {wanted} of the certified log on, not from {found}")]
    Place {
        /// The place in the certified log that comes next.
        wanted: u64,
        /// That from which on events were offered.
        found: u64,
    },
    /// Something is still to come.
    #[error("only {held} of {total} events have come")]
    NotWhole {
        /// How many certified events are here.
        held: u64,
        /// How many there are.
        total: u64,
    },
    /// An event is not one that any replica may hold, or its bytes are not what they should be.
    #[error("the source is wrong: {0}")]
    Refused(#[source] Refusal),
    /// An event came without its body.
    #[error("the source is wrong: event {0} has no body")]
    NoBody(EventId),
    /// An event does not come after the one before it in the certified log.
    #[error("the source is wrong: event {0} is not where it stands in the certified log")]
    Order(EventId),
    /// There are more events than those that the checkpoint certifies from which the store starts.
    #[error("the source is wrong: the checkpoint certifies {0} events, and there are more")]
    TooMany(u64),
    /// A checkpoint certifies another number of events than there are.
    #[error(
        "the source is wrong: checkpoint {height} certifies {size} events, and {found} have come"
    )]
    Size {
        /// Its height.
        height: Height,
        /// How many it certifies.
        size: u64,
        /// How many there are.
        found: u64,
    },
    /// A checkpoint does not continue those before it, or is not certified.
    #[error("the source is wrong: checkpoint {height}: {why}")]
    Checkpoint {
        /// Its height.
        height: Height,
        /// What is wrong.
        #[source]
        why: AcceptError,
    },
    /// The events that have come are not those that a checkpoint certifies.
    #[error("the source is wrong: checkpoint {0} certifies other events than those that have come")]
    Root(Height),
    /// An event is certified, and none that a replica may hold.
    #[error("event {0} is certified, and cannot be admitted")]
    NotAdmitted(EventId),
    /// A checkpoint is certified, and not what its events come to.
    #[error("checkpoint {0} is certified, and not what its events come to")]
    Differs(Height),
    /// There were events after the last checkpoint that are not certified. Collecting begins at the first
    /// event again.
    #[error("{0} events were here after the last checkpoint, some of which are not certified")]
    Beyond(u64),
    /// The checkpoint from which the store starts is another one in this history.
    #[error("the source has another checkpoint {0} than this store starts from")]
    OtherCheckpoint(Height),
    /// The source lacks the checkpoint from which the store starts. Nothing has changed.
    #[error("the source does not hold checkpoint {0}, from which this store starts")]
    NoCheckpoint(Height),
    /// The source is of another ledger. Nothing has changed.
    #[error("the source is of another ledger: {found}, not {own}")]
    OtherLedger {
        /// This store's ledger.
        own: EventId,
        /// The ledger found.
        found: EventId,
    },
    /// The source cannot be read, or has pruned what is wanted. What has come before stays.
    #[error("the source: {0}")]
    Source(#[source] Box<ReadError>),
    /// The second database cannot be opened or made; another process may be at it.
    #[error(transparent)]
    Open(Box<OpenError>),
    /// The disk, the database or its content. What is certified stays.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl FillError {
    /// Whether a source is to blame that has given something since the last checkpoint that counts.
    pub const fn is_false(&self) -> bool {
        matches!(
            self,
            Self::Refused(_)
                | Self::NoBody(_)
                | Self::Order(_)
                | Self::TooMany(_)
                | Self::Size { .. }
                | Self::Checkpoint { .. }
                | Self::Root(_)
                | Self::OtherCheckpoint(_)
        )
    }
}

impl From<OpenError> for FillError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Storage(error) => Self::Storage(error),
            other => Self::Open(Box::new(other)),
        }
    }
}

impl From<ReadError> for FillError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => Self::Storage(error),
            other => Self::Source(Box::new(other)),
        }
    }
}

impl From<MergeError> for FillError {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Storage(error) => Self::Storage(error),
            MergeError::Source(error) => Self::Source(error),
            other => Self::Storage(StorageError::damaged(other.to_string())),
        }
    }
}
