//! Certified checkpoints: deriving them, keeping them, and what they make final.
//!
//! What is certified is final, so it is folded once: `final` holds the certified log, the state of
//! the last certified cut by key, how far each cut goes on each lane, and the chain of checkpoints; `tree`
//! the nodes over that state.

mod accept;
mod choose;
mod cosigned;
mod count;
mod derive;
mod error;
mod finality;
mod fold;
mod leaves;
mod narrow;
mod order;
mod pending;
mod proof;
mod prove;
mod read;
pub mod records;
mod report;
mod sink;
mod source;
mod staged;
mod state;
mod take;

use quipu_merge::{
    Certificate, Checkpoint, CheckpointId, CutBlock, Height, MAX_AHEAD, Micros, ValidatorsBlock,
};

pub use self::choose::{Choice, MAX_CHOSEN_EVENTS};
pub use self::cosigned::{is_cosigned, readable_lines};
pub use self::derive::{Base, Derived, TreeNodes};
pub use self::error::{AcceptError, DeriveError};
pub use self::finality::{Finality, boundary, number_of};
pub use self::leaves::{register_leaf, set_leaf};
pub use self::pending::Certifying;
pub use self::proof::{ProvenState, state_changes};
pub use self::prove::{ProveError, ProveFrom};
pub use self::read::LogHashes;
pub use self::records::{Part, unpack, unpack_divergence};
pub use self::sink::Op;
pub use self::staged::StagedDerivations;
pub use self::state::{Cell, CertifiedPut};
use crate::ledger::now;

/// How many certified checkpoints wait at most for the events of their cuts.
pub const MAX_PENDING_CHECKPOINTS: usize = 1_024;
/// How many bytes of them wait at most.
pub const MAX_PENDING_CHECKPOINT_BYTES: usize = 16 << 20;
/// How many checkpoints later the nodes go that a state's tree no longer has: proofs of older states
/// are built from the events of their cuts.
pub const KEPT_TREES: u64 = 128;

/// A checkpoint with its certificate and the blocks that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedCheckpoint {
    /// What is certified.
    pub checkpoint: Checkpoint,
    /// The votes for it.
    pub certificate: Certificate,
    /// The heads of its cut.
    pub cut: CutBlock,
    /// The keys that certify the next height.
    pub validators: ValidatorsBlock,
}

impl CertifiedCheckpoint {
    /// The checkpoint's id, by its certificate.
    pub const fn id(&self) -> CheckpointId {
        self.certificate.checkpoint
    }

    /// Its height.
    pub const fn height(&self) -> Height {
        self.checkpoint.height
    }
}

/// The next checkpoint over a cut, as this replica derives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// Its id.
    pub id: CheckpointId,
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The heads of its cut.
    pub cut: CutBlock,
    /// The keys that certify the height after it.
    pub validators: ValidatorsBlock,
    /// How many events its cut holds that the one before does not.
    pub new_events: u64,
    /// The largest time of those.
    pub newest: Micros,
}

impl Derivation {
    /// Whether all of its new events are due by the local clock. Validators do not vote for it before.
    pub fn is_due(&self) -> bool {
        self.newest.0 <= now().0.saturating_add(MAX_AHEAD)
    }
}

/// What has become of a certified checkpoint that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It counts from now on.
    Counted,
    /// It counted before.
    Known,
    /// It is valid and kept, and counts as soon as all events of its cut are held and those before
    /// it count.
    Pending,
    /// It contradicts what this replica holds, is kept as proof of that, and does not count.
    Diverged,
}

/// Two truths that were certified, or one that is not what this replica derives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// There are valid certificates of one height for this checkpoint and for the one that is kept.
    Certificates {
        /// The one that is kept.
        kept: CheckpointId,
        /// The other.
        other: Box<CertifiedCheckpoint>,
    },
    /// This replica derives another checkpoint for the same cut. Neither this one nor any after it
    /// counts.
    Derived {
        /// What was certified.
        certified: Box<CertifiedCheckpoint>,
        /// What is derived; none where the cut does not strictly contain the one before.
        derived: Option<Box<Checkpoint>>,
    },
}

impl Divergence {
    /// The height in question.
    pub const fn height(&self) -> Height {
        match self {
            Self::Certificates { other, .. } => other.height(),
            Self::Derived { certified, .. } => certified.height(),
        }
    }
}

/// How far certification has come here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificationStatus {
    /// The last checkpoint that counts.
    pub height: Option<Height>,
    /// How many events are certified.
    pub events: u64,
    /// How many certified checkpoints wait for events.
    pub pending: u64,
    /// The last of them.
    pub pending_height: Option<Height>,
    /// What contradicts what is held here, by height.
    pub diverged: Vec<Divergence>,
}
