//! An embedded ledger database: signed events in RocksDB, merged deterministically, readable as
//! they were at any time.
//!
//! It is synchronous and keeps no async runtime; it does not talk to other machines.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use quipu_store::{Ledger, NewLedger, Value};
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("ledger");
//! let ledger = Ledger::create(&path, &NewLedger::default())?;
//! let mut transaction = ledger.transaction();
//! transaction.put("crate/7/temperature", b"4.2")?.inc("readings", 1)?;
//! let committed = transaction.commit()?; // on the disk, signed
//!
//! let snapshot = ledger.snapshot()?;
//! assert_eq!(snapshot.get("crate/7/temperature")?, Some(Value::Bytes(b"4.2".to_vec())));
//! assert_eq!(snapshot.heads()?, [committed.event]);
//! # Ok(())
//! # }
//! ```

mod author;
mod backup;
mod blocks;
mod bodies;
mod certify;
mod collect;
mod commit;
mod copied;
mod crash;
mod cut;
mod db;
mod dump;
mod error;
mod event;
mod exchange;
mod export;
mod extent;
mod fill;
mod floor_state;
mod footprint;
mod format;
mod granted;
mod health;
mod identity;
mod import;
mod incoming;
mod index;
mod ingest;
mod judge;
mod key_list;
mod keys;
mod ledger;
mod list;
mod load;
mod log;
mod lookup;
mod loss;
mod manage;
mod mark;
mod merge;
mod missing;
mod newcomer;
mod opening;
mod options;
mod overlay;
mod pace;
mod pins;
mod pool;
mod private;
mod prune;
mod pruned;
mod rebuild;
mod receipts;
mod reclaim;
mod record;
mod refill;
mod repair;
mod replica;
mod room;
mod schema;
mod shallow;
mod signer;
mod snapshot;
mod stamp;
mod standing;
mod start;
mod status;
mod transaction;
mod unfinished;
mod verify;
mod votes;
mod waiting;
mod writer;

pub use backup::{
    BackupError, BackupId, BackupInfo, BackupList, BackupReport, Restore, backups, check_backups,
    purge_backups,
};
pub use certify::{
    AcceptError, Acceptance, CertificationStatus, CertifiedCheckpoint, Choice, Derivation,
    DeriveError, Divergence, KEPT_TREES, LogHashes, MAX_CHOSEN_EVENTS,
    MAX_PENDING_CHECKPOINT_BYTES, MAX_PENDING_CHECKPOINTS, ProveError, ProveFrom, ProvenState,
};
pub use collect::{GcOptions, GcReport};
#[doc(hidden)]
pub use crash::CRASH_POINTS;
pub use cut::CutError;
pub use db::DatabaseStats;
pub use error::{IdentityError, MergeError, OpenError, ReadError, StorageError, WriteError};
pub use event::EventInfo;
pub use export::{ExportError, ExportReport};
pub use fill::{FillError, Filling, History, HistoryItem, MAX_HISTORY_EVENTS};
pub use identity::{HandshakeKey, Passphrase};
pub use import::{MAX_FILE_BLOCKS, MAX_FILE_EVENTS};
pub use incoming::Incoming;
pub use ingest::{Baseline, MergeOptions, MergeReport, Outcome};
pub use keys::{Element, KeyKind, RegisterWrite};
pub use ledger::{Ledger, is_store};
pub use log::{Log, LogFilter};
pub use manage::{Rotation, RotationError};
pub use mark::Loss;
pub use merge::Progress;
pub use newcomer::{Leftover, Newcomer};
pub use options::{Durability, NewLedger, Options};
pub use pace::{Pace, Verdict};
pub use pins::{Pin, PinError};
pub use pool::{MAX_WAITING, MAX_WAITING_BYTES};
pub use prune::{PruneOptions, PruneReport};
pub use receipts::{MAX_RECEIPT_NAME, MAX_RECEIPT_NOTE, Receipt};
pub use repair::{RepairError, RepairOptions, RepairReport, Unplaced};
pub use replica::{
    AdmitReport, Branches, CheckedEvents, Feed, Follower, HeldEvent, Lacks, MAX_HELD,
    MAX_MISSING_BLOCKS, MAX_OPENINGS_LEN, MissingValue, Notice, Portion, ValueSink, Want,
};
pub use shallow::{Below, Shallow};
pub use snapshot::{LongError, Snapshot, Value};
pub use start::{StartError, StartInfo, StartOptions};
pub use status::Status;
pub use transaction::{Committed, Expected, Transaction};
pub use verify::{CheckpointsReport, Finding, MAX_FINDINGS, VerifyReport};
pub use votes::{
    KeptEvidence, MAX_ACCUSED, MAX_EVIDENCE_AGAINST, MAX_EVIDENCE_NAME, MAX_KEPT_EVIDENCE_LEN,
    MAX_VOTE_MARK, VoteEntry, VoteLog, Votes, VotingKey,
};
pub use waiting::{WaitingInfo, WaitingReason};
