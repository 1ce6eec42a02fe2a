//! What can go wrong, by family of operations. Each error names the culprit.

use std::path::PathBuf;

use quipu_merge::{AuthorKey, ChainError, EventId, Height, Malformed, Refusal};

use crate::cut::CutError;
use crate::mark::Loss;
use crate::start::StartError;

/// The disk, the database or its content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The database could not read or write.
    #[error("the database failed: {0}")]
    Database(#[source] rocksdb::Error),
    /// A file of the store could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the database is damaged.
    #[error("{path} is damaged: {source}")]
    Corrupt {
        /// Which file, or the directory where that cannot be told.
        path: PathBuf,
        /// What RocksDB says.
        source: rocksdb::Error,
    },
    /// Table files could not be rewritten, and take up as much room as before. What they hold is as
    /// it was.
    #[error("the database could not rewrite its files of {0}: its log, the file LOG, tells why")]
    NotRewritten(&'static str),
    /// Something in the database is not what was put there.
    #[error("the store is damaged: {what}; `verify` tells more")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// Too little room is left on the disk, and nothing has been written. Reading goes on; writing
    /// does once there is room.
    #[error(
        "{dir}: only {free} bytes are free, and {min_free} are kept so that the disk never fills up: make room"
    )]
    NoRoom {
        /// The store's directory.
        dir: PathBuf,
        /// How many bytes are free on its file system.
        free: u64,
        /// How many stay free.
        min_free: u64,
    },
    /// Whoever wanted a long work has ended it: see [`crate::Pace`].
    #[error("it was ended before all was done")]
    Stopped,
    /// An earlier write failed, and nobody knows what is on the disk. Open the store again.
    #[error("an earlier write failed ({0}); the store must be opened again")]
    Poisoned(String),
}

impl StorageError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// Whether what is on the disk is not what was put there; otherwise it could not be reached.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Corrupt { .. })
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}

/// A store cannot be created or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store in this directory.
    #[error("no ledger at {0}")]
    NotFound(PathBuf),
    /// There is something at this place already; it is left as it was.
    #[error("{0} exists already and is not empty")]
    Exists(PathBuf),
    /// Another process has the store open.
    #[error("the ledger at {0} is in use by another process")]
    Locked(PathBuf),
    /// The store was written in a format that this version does not read.
    #[error(
        "the store has format {found}; this version reads formats {oldest} to {newest}: {hint}"
    )]
    Format {
        /// The version found.
        found: u32,
        /// The oldest that can be read.
        oldest: u32,
        /// The newest that can be read.
        newest: u32,
        /// What to do.
        hint: &'static str,
    },
    /// The parameters of a new ledger break a limit of the format.
    #[error("no such ledger can be made: {0}")]
    Genesis(Malformed),
    /// A validator or an admin of a new ledger is named by a key by which no signature holds. Nothing
    /// was made.
    #[error("nothing can be signed with the key {0}: it is no valid Ed25519 key, or a weak one")]
    Key(AuthorKey),
    /// The key cannot be made, or read where the database does not say whose it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The source cannot grant the new key its role. Nothing is left of the new store.
    #[error("the source cannot grant the role: {0}")]
    Grant(#[source] Box<WriteError>),
    /// What was to be copied cannot be taken in. Nothing is left of the new store.
    #[error(transparent)]
    Merge(Box<MergeError>),
    /// Nothing can be started from the file. Nothing is left of the new store.
    #[error(transparent)]
    Start(Box<StartError>),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<StartError> for OpenError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Storage(error) => Self::Storage(error),
            other => Self::Start(Box::new(other)),
        }
    }
}

impl From<MergeError> for OpenError {
    fn from(error: MergeError) -> Self {
        Self::Merge(Box::new(error))
    }
}

/// A replica's key cannot be read, made or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The key file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key file is not a private key in PKCS#8.
    #[error("{0} is not an Ed25519 private key in PKCS#8 PEM")]
    NotAKey(PathBuf),
    /// The key file can be read by others than its owner.
    #[error(
        "{path} may be read by others (mode {mode:o}): make it 0600, and rotate the key if somebody did"
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The key is encrypted and no passphrase was given.
    #[error("the key is encrypted: a passphrase is needed")]
    PassphraseNeeded,
    /// The passphrase does not open the key.
    #[error("the passphrase does not open the key")]
    WrongPassphrase,
    /// The key file holds the key of another author than the store's.
    #[error("{path} holds the key of {found}, and this store is that of {expected}")]
    OtherKey {
        /// Which file.
        path: PathBuf,
        /// The author whose key it holds.
        found: AuthorKey,
        /// The author whose key belongs there.
        expected: AuthorKey,
    },
    /// What was to be signed is not what TLS 1.3 has signed in a handshake.
    #[error("the key signs events and handshakes of TLS 1.3, and this is neither")]
    NotAHandshake,
    /// What was to be signed is not what validators sign.
    #[error("this is neither a vote nor a proposal")]
    NotAVote,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Something cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The cut cannot be found.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// No event with this id is held.
    #[error("event {0} is not held")]
    NoSuchEvent(EventId),
    /// It needs operations of events up to this checkpoint, which have been pruned here: see
    /// [`Ledger::prune`](crate::Ledger::prune). In a store that starts from this checkpoint or a later one
    /// it is [`Self::BelowStart`] instead.
    #[error("operations up to checkpoint {0} are pruned here")]
    Pruned(Height),
    /// It needs what precedes this checkpoint, from which the store starts: see
    /// [`Ledger::shallow`](crate::Ledger::shallow).
    #[error("pruned: this replica starts from checkpoint {0}, and what precedes it has not come")]
    BelowStart(Height),
    /// It tells which events are void, and whether some are of those that precede this checkpoint, from
    /// which the store starts, only they tell: their author has forked, or they may not precede a revoke of
    /// the author.
    #[error(
        "pruned: this replica starts from checkpoint {height}, and which events of {author} before it are void cannot be told: they have not come"
    )]
    VoidUnknown {
        /// The checkpoint.
        height: Height,
        /// Whose events may be void.
        author: AuthorKey,
    },
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ReadError {
    /// Whether it needs what this replica does not have, and another one may: what was pruned here, or
    /// precedes the checkpoint that the store starts from.
    pub const fn is_pruned(&self) -> bool {
        matches!(self, Self::Pruned(_) | Self::BelowStart(_) | Self::VoidUnknown { .. })
    }
}

/// A transaction was not committed; nothing of it has been written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A condition of the transaction does not hold.
    #[error("the register {key:?} is not as required: {found}")]
    Condition {
        /// The register.
        key: String,
        /// What writes it has.
        found: String,
    },
    /// An operation breaks a limit of the format.
    #[error("{0}")]
    Limit(Malformed),
    /// The replica's own key may not write this, by what is known here.
    #[error("this replica's key may not do that: {0}")]
    Unauthorised(&'static str),
    /// The store looks like a copy, and writing would fork its author for good.
    #[error(
        "this store looks like a copy of another: writing here with the same key would exclude its author. `quipu identity rotate` makes a key of its own"
    )]
    Copied,
    /// Own events that were acknowledged are gone from this store, and others may hold them: a new
    /// one in their place would fork its author.
    #[error(
        "{0}. Writing with the same key would use its numbers twice: merge from a replica that has these events, or `quipu identity rotate` makes a new key"
    )]
    Lost(Loss),
    /// The replica's key was changed while the event was made.
    #[error("this replica's key was changed meanwhile: try again")]
    KeyChanged,
    /// The local clock is out of range, or an event that this one follows bars the way.
    #[error(
        "no time can be given to the event: the largest time that the format knows has been reached"
    )]
    Time,
    /// The key to sign with cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The target of a redact is not held.
    #[error("event {0} is not held")]
    NoSuchEvent(EventId),
    /// The store starts from a checkpoint whose cut has more heads than an event can follow: what it
    /// would have seen cannot be told.
    #[error(
        "this store starts from checkpoint {0}, which has too many heads to be followed before what lies below is here"
    )]
    History(Height),
    /// A role is to be given to a key by which no signature holds: as a validator's it could keep the
    /// ledger from ever being certified again.
    #[error("nothing can be signed with the key {0}: it is no valid Ed25519 key, or a weak one")]
    Key(AuthorKey),
    /// Content could not be read from where it comes.
    #[error("the content cannot be read: {0}")]
    Content(#[source] std::io::Error),
    /// The event would not be admitted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Foreign events could not be taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The events are of another ledger. Nothing has changed.
    #[error("the events are of another ledger: {found}, not {own}")]
    OtherLedger {
        /// This store's ledger.
        own: EventId,
        /// The ledger found.
        found: EventId,
    },
    /// The file has no first event to start from. Nothing has changed.
    #[error("the file holds no first event: it continues another history")]
    NoGenesis,
    /// An event is refused. Of a file, nothing has been taken in; of a replica, what precedes it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file is not as it should be. Nothing has changed.
    #[error("the file is corrupt: {0}")]
    Corrupt(String),
    /// A checkpoint of the file does not continue those before it, or is not certified. Nothing has
    /// changed.
    #[error("checkpoint {height} of the file: {why}")]
    Certificate {
        /// Its height.
        height: Height,
        /// What is wrong.
        why: ChainError,
    },
    /// The file holds more new events than are taken in at once. Nothing has changed.
    #[error("the file holds more than {limit} new events: export it in parts, with --since")]
    TooMany {
        /// How many are taken in at once.
        limit: usize,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Input(#[source] std::io::Error),
    /// What was pruned is to be taken back, and this store starts from a checkpoint: what lies below is
    /// to be brought in first, or the ledger cloned again. Nothing has changed.
    #[error(
        "this store starts from checkpoint {0}, and what lies below is not here: nothing of it can be taken back one by one"
    )]
    Shallow(Height),
    /// This store starts from a checkpoint, of whose cut the source lacks an event. Nothing has changed.
    #[error(
        "this store starts from checkpoint {height}, and the source is behind it: it lacks event {event}"
    )]
    Behind {
        /// The checkpoint.
        height: Height,
        /// A head of its cut.
        event: EventId,
    },
    /// The source cannot be read.
    #[error("the source: {0}")]
    Source(#[source] Box<ReadError>),
    /// The disk, the database or its content.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl MergeError {
    /// The refusal, where it is one; otherwise an error of the storage.
    pub(crate) fn refusal(self) -> Result<Refusal, StorageError> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::Storage(error) => Err(error),
            other => Err(StorageError::damaged(other.to_string())),
        }
    }
}

impl From<ReadError> for MergeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(storage) => Self::Storage(storage),
            other => Self::Source(Box::new(other)),
        }
    }
}
