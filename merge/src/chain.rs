//! The chain of checkpoints: each certified by the validators that the one before names.

use crate::body::Genesis;
use crate::cbor::Malformed;
use crate::certificate::{Certificate, CertificateError};
use crate::checkpoint::{Checkpoint, Height, ValidatorsBlock};
use crate::id::{AuthorKey, BlockId, CheckpointId, EventId, Micros};

/// How far a ledger's checkpoints have been checked, and who certifies the next.
///
/// This checks what checkpoints and certificates say about each other. Whether `cut`, `size`,
/// `root`, `state` and `time` are those of the events is for whoever holds the events to derive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    ledger: EventId,
    validators: Vec<AuthorKey>,
    tip: Option<Tip>,
}

/// What the next checkpoint must continue.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tip {
    id: CheckpointId,
    height: Height,
    size: u64,
    time: Micros,
}

/// Why a checkpoint does not continue the chain, which is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The checkpoint is not of the height that comes next.
    #[error("height {found} where {expected} comes next")]
    Height {
        /// The height that comes next.
        expected: Height,
        /// The checkpoint's.
        found: Height,
    },
    /// There are no heights after the last.
    #[error("the last height has been reached")]
    LastHeight,
    /// The checkpoint names another one as the one before.
    #[error("the checkpoint does not follow the one before")]
    Prev,
    /// The cut cannot strictly contain the one before: it has no more events, or an earlier time.
    #[error("the cut does not contain the one before")]
    Shrinks,
    /// The block of validators is not the one that the checkpoint names.
    #[error("the list of validators is not {0}")]
    Validators(BlockId),
    /// The checkpoint breaks a limit of its encoding.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(Malformed),
    /// The certificate does not certify the checkpoint.
    #[error("the checkpoint is not certified: {0}")]
    Certificate(#[from] CertificateError),
}

impl Chain {
    /// The chain of the ledger with the genesis event `ledger`, before its first checkpoint. A
    /// ledger whose genesis names no validators never gets one.
    pub fn new(ledger: EventId, genesis: &Genesis) -> Self {
        Self { ledger, validators: genesis.first_validators(), tip: None }
    }

    /// The chain from a checkpoint that is trusted as it is, with the validators it names.
    ///
    /// # Errors
    /// The checkpoint is malformed, or names other validators.
    pub fn trusting(
        checkpoint: &Checkpoint,
        validators: &ValidatorsBlock,
    ) -> Result<Self, ChainError> {
        let tip = Some(Tip::of(checkpoint, validators)?);
        Ok(Self { ledger: checkpoint.ledger, validators: validators.keys().to_vec(), tip })
    }

    /// The ledger's genesis.
    pub const fn ledger(&self) -> EventId {
        self.ledger
    }

    /// The last checkpoint; none before the first.
    pub fn tip(&self) -> Option<CheckpointId> {
        self.tip.as_ref().map(|tip| tip.id)
    }

    /// The height of the last checkpoint; none before the first.
    pub fn height(&self) -> Option<Height> {
        self.tip.as_ref().map(|tip| tip.height)
    }

    /// How many events the last cut holds; 0 before the first checkpoint.
    pub fn size(&self) -> u64 {
        self.tip.as_ref().map_or(0, |tip| tip.size)
    }

    /// The largest time in the last cut; 0 before the first checkpoint.
    pub fn time(&self) -> Micros {
        self.tip.as_ref().map_or(Micros(0), |tip| tip.time)
    }

    /// The height that comes next; none after the last.
    pub fn next_height(&self) -> Option<Height> {
        self.height().map_or(Some(Height::FIRST), Height::next)
    }

    /// The keys that certify the next height, strictly ascending.
    pub fn validators(&self) -> &[AuthorKey] {
        &self.validators
    }

    /// Takes the next checkpoint, with its certificate and the validators that it names.
    ///
    /// # Errors
    /// It does not continue the chain, or is not certified. The chain is as before then.
    pub fn accept(
        &mut self,
        checkpoint: &Checkpoint,
        certificate: &Certificate,
        validators: &ValidatorsBlock,
    ) -> Result<CheckpointId, ChainError> {
        let expected = match &self.tip {
            Some(tip) => tip.height.next().ok_or(ChainError::LastHeight)?,
            None => Height::FIRST,
        };
        if checkpoint.height != expected {
            return Err(ChainError::Height { expected, found: checkpoint.height });
        }
        if checkpoint.prev != self.tip() {
            return Err(ChainError::Prev);
        }
        if self.tip.as_ref().is_some_and(|t| checkpoint.size <= t.size || checkpoint.time < t.time)
        {
            return Err(ChainError::Shrinks);
        }
        let tip = Tip::of(checkpoint, validators)?;
        certificate.check(checkpoint, self.ledger, &self.validators)?;
        let id = tip.id;
        self.tip = Some(tip);
        self.validators = validators.keys().to_vec();
        Ok(id)
    }
}

impl Tip {
    fn of(checkpoint: &Checkpoint, validators: &ValidatorsBlock) -> Result<Self, ChainError> {
        let (id, _) = checkpoint.seal().map_err(ChainError::Malformed)?;
        let (block, _) = validators.seal();
        if block != checkpoint.validators {
            return Err(ChainError::Validators(checkpoint.validators));
        }
        let Checkpoint { height, size, time, .. } = *checkpoint;
        Ok(Self { id, height, size, time })
    }
}
