//! Proofs that strangers can check: files that need nothing beside them but the id of a ledger's
//! genesis, or of a checkpoint that the checker trusts.
//!
//! A proof is a chain of certified checkpoints that leads from what is trusted to the checkpoint
//! that it is about, and a claim about that one. See the format, "Proofs", for the bytes and for
//! why checkpoints between may be left out.

mod chain;
mod claim;
mod codec;
mod leaf;
mod proven;

use crate::cbor::Malformed;
use crate::certificate::{Certificate, CertificateError};
use crate::checkpoint::{Checkpoint, Height, ValidatorsBlock};
use crate::id::{CheckpointId, EventId};
use crate::refusal::Refusal;
use crate::state_root::LeafKind;

pub use chain::{Certified, check_chain, proof_steps};
pub use claim::{Claim, KeyEntry, ProvedKey, ProvedWrite};
pub use leaf::register_writes;
pub use proven::{CheckpointFacts, Fact, KeyFacts, ListFacts, Proven};

/// Longest proof, in bytes.
pub const MAX_PROOF_FILE_LEN: usize = 16 * 1024 * 1024;
/// Most checkpoints that a proof leads through.
pub const MAX_PROOF_STEPS: usize = 16_384;

/// A proof as its maker puts it together, or as it was read. Nothing of it has been checked but
/// that it can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What must be trusted.
    pub start: ProofStart,
    /// The checkpoints that lead to the one that the claim is about, which is the last of them;
    /// heights ascend. [`proof_steps`] makes them. None where the claim is about the checkpoint
    /// that the proof starts from.
    pub steps: Vec<ProofStep>,
    /// What is claimed.
    pub claim: Claim,
}

/// What a proof starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofStart {
    /// The ledger's first event, which names the first validators.
    Genesis {
        /// The event's block.
        event: Vec<u8>,
        /// The block of its body.
        body: Vec<u8>,
    },
    /// A checkpoint, and the validators that it names for the next height.
    Checkpoint {
        /// The checkpoint.
        checkpoint: Checkpoint,
        /// The block of these validators.
        validators: ValidatorsBlock,
    },
}

/// A certified checkpoint on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofStep {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its certificate.
    pub certificate: Certificate,
    /// The checkpoint right before it, where the proof has left that one out: it names the
    /// validators of this height.
    pub before: Option<Checkpoint>,
    /// The validators that the checkpoint names, where they are not those of before.
    pub validators: Option<ValidatorsBlock>,
}

/// What the checker takes for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The ledger with this genesis.
    Genesis(EventId),
    /// This checkpoint: that it is certified, and what it says.
    Checkpoint(CheckpointId),
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The file is not a proof.
    #[error("not a proof: {0}")]
    Malformed(Malformed),
    /// The proof starts from the genesis of another ledger.
    #[error("the proof is about ledger {0}")]
    OtherLedger(EventId),
    /// The proof starts from another checkpoint than the trusted one, or from genesis.
    #[error("the proof does not start from the trusted checkpoint")]
    OtherCheckpoint,
    /// The proof starts from a checkpoint, and genesis is what is trusted.
    #[error("the proof starts from a checkpoint, not from genesis")]
    NotFromGenesis,
    /// What the proof starts from does not fit together.
    #[error("the start of the proof is malformed: {0}")]
    Start(Malformed),
    /// The ledger's genesis names no validators, so that nothing in it is ever certified.
    #[error("the ledger has no validators")]
    NoValidators,
    /// The proof leads to no checkpoint.
    #[error("the proof holds no certified checkpoint")]
    NoCheckpoint,
    /// A checkpoint does not continue what comes before it.
    #[error("checkpoint of height {height}: {fault}")]
    Checkpoint {
        /// The checkpoint's height.
        height: Height,
        /// What is wrong.
        fault: StepFault,
    },
    /// The event is not one.
    #[error("the event is refused: {0}")]
    Event(Refusal),
    /// The event is not where it is said to be in the certified log.
    #[error("event {event} is not shown to be in the log of height {height}")]
    NotInLog {
        /// The event.
        event: EventId,
        /// The height of the checkpoint.
        height: Height,
    },
    /// The proof does not tell of every kind of thing that a key names, once and in their order.
    #[error("the proof does not tell of every kind that the key names")]
    Kinds,
    /// The state does not hold what is said about a key.
    #[error("{kind} of {key}: not shown to be so in the state of height {height}")]
    NotInState {
        /// The key.
        key: Box<ProvedKey>,
        /// What kind of thing the key names.
        kind: LeafKind,
        /// The height of the checkpoint.
        height: Height,
    },
    /// What stands in the state cannot be read, or does not go with the blocks beside it.
    #[error("{kind} of {key}: {fault}")]
    Value {
        /// The key.
        key: Box<ProvedKey>,
        /// What kind of thing the key names.
        kind: LeafKind,
        /// What is wrong.
        fault: Malformed,
    },
    /// The earlier checkpoint is not among those that the proof leads through.
    #[error("no checkpoint of height {0} is shown")]
    NotShown(Height),
    /// The log of the later checkpoint is not shown to continue that of the earlier one.
    #[error("the log of height {to} is not shown to continue that of height {from}")]
    NotContinued {
        /// The earlier height.
        from: Height,
        /// The later height.
        to: Height,
    },
}

/// What is wrong with a checkpoint on the way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepFault {
    /// It is of another ledger.
    #[error("it is of ledger {0}")]
    ForeignLedger(EventId),
    /// It is not later than the one before it in the proof.
    #[error("it does not come after height {0}")]
    Height(Height),
    /// It names another checkpoint as the one before.
    #[error("it does not follow the one before")]
    Prev,
    /// The checkpoint right before it is missing, or stands there without need.
    #[error("the checkpoint right before it is missing, or superfluous")]
    Before,
    /// Its validators are others than the last that are proven: a change has been left out.
    #[error("a change of validators before it is not shown")]
    UnshownChange,
    /// It holds no more events, or says an earlier time, than one before it.
    #[error("its cut does not contain the one before")]
    Shrinks,
    /// The list of validators beside it is not the one that it names, is missing, or superfluous.
    #[error("the list of the next validators is another one, missing, or superfluous")]
    Validators,
    /// It is not certified.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
}

impl Proof {
    /// Checks the proof, and tells what it shows.
    ///
    /// # Errors
    /// The first reason why it shows nothing.
    pub fn check(&self, trust: Trust) -> Result<Proven, ProofError> {
        let shown = chain::walk(self, trust)?;
        claim::check(&self.claim, &shown)
    }
}
