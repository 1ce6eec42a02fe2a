//! From what is trusted to the checkpoint that a proof is about.

use super::{Proof, ProofError, ProofStart, ProofStep, StepFault, Trust};
use crate::body::{Body, Genesis};
use crate::certificate::Certificate;
use crate::checkpoint::{Checkpoint, Height, ValidatorsBlock};
use crate::event::ParsedEvent;
use crate::id::{AuthorKey, BlockId, BodyId, CheckpointId, EventId};

/// A certified checkpoint, with all that a proof may need of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its certificate.
    pub certificate: Certificate,
    /// The validators that it names for the next height.
    pub validators: ValidatorsBlock,
}

/// Makes the steps of a proof out of the checkpoints that it must lead through, ascending by
/// height: every one that names other validators than the one before it, and those that the claim
/// is about. `read` gets the checkpoints of other heights, of which the proof needs some.
///
/// # Errors
/// Those of `read`.
pub fn proof_steps<E>(
    start: &ProofStart,
    certified: impl IntoIterator<Item = Certified>,
    mut read: impl FnMut(Height) -> Result<Checkpoint, E>,
) -> Result<Vec<ProofStep>, E> {
    let (mut height, mut validators) = match start {
        ProofStart::Genesis { body, .. } => {
            let genesis = genesis_of(body);
            (0, genesis.and_then(|genesis| validators_id(genesis.first_validators())))
        }
        ProofStart::Checkpoint { checkpoint, .. } => {
            (checkpoint.height.0, Some(checkpoint.validators))
        }
    };
    let step = |certified: Certified| {
        let Certified { checkpoint, certificate, validators: named } = certified;
        let before = checkpoint.height.0.saturating_sub(1);
        let before = if before > height { Some(read(Height(before))?) } else { None };
        height = checkpoint.height.0;
        let changed = validators != Some(checkpoint.validators);
        validators = Some(checkpoint.validators);
        Ok(ProofStep { checkpoint, certificate, before, validators: changed.then_some(named) })
    };
    certified.into_iter().map(step).collect()
}

/// The checkpoints that a proof has shown to be certified, ascending by height; at least one.
pub struct Walked {
    pub ledger: EventId,
    earlier: Vec<(CheckpointId, Checkpoint)>,
    pub id: CheckpointId,
    pub last: Checkpoint,
}

impl Walked {
    /// The one of `height` among those before the last.
    pub fn earlier(&self, height: Height) -> Option<&(CheckpointId, Checkpoint)> {
        self.earlier.iter().find(|(_, checkpoint)| checkpoint.height == height)
    }
}

/// How far the chain has been checked.
struct Known {
    ledger: EventId,
    validators: Vec<AuthorKey>,
    /// The id of the block that lists them, unless a genesis names more than a list has room for.
    validators_id: Option<BlockId>,
    shown: Vec<(CheckpointId, Checkpoint)>,
}

/// Checks what [`proof_steps`] has made: that certified checkpoints lead from what is trusted to the
/// last of them. Tells of each step what is certified there.
///
/// # Errors
/// The first reason why they do not.
pub fn check_chain(
    start: &ProofStart,
    steps: &[ProofStep],
    trust: Trust,
) -> Result<Vec<Certified>, ProofError> {
    let mut known = Known::start(start, trust)?;
    let mut certified = Vec::with_capacity(steps.len());
    for step in steps {
        known.take(step)?;
        certified.push(Certified {
            checkpoint: step.checkpoint.clone(),
            certificate: step.certificate.clone(),
            validators: ValidatorsBlock::new(known.validators.clone())
                .map_err(ProofError::Start)?,
        });
    }
    if known.shown.is_empty() { Err(ProofError::NoCheckpoint) } else { Ok(certified) }
}

/// Checks that the chain of a proof leads from what is trusted to its last checkpoint.
pub fn walk(proof: &Proof, trust: Trust) -> Result<Walked, ProofError> {
    let mut known = Known::start(&proof.start, trust)?;
    proof.steps.iter().try_for_each(|step| known.take(step))?;
    let Known { ledger, shown: mut earlier, .. } = known;
    let (id, last) = earlier.pop().ok_or(ProofError::NoCheckpoint)?;
    Ok(Walked { ledger, earlier, id, last })
}

fn from_genesis(event: &[u8], body: &[u8], trust: Trust) -> Result<Known, ProofError> {
    let ledger = EventId::of(event);
    match trust {
        Trust::Genesis(trusted) if trusted == ledger => {}
        Trust::Genesis(_) => return Err(ProofError::OtherLedger(ledger)),
        Trust::Checkpoint(_) => return Err(ProofError::OtherCheckpoint),
    }
    // Its id is trusted, so its signature has been checked by whoever said that it is a ledger's.
    let event = ParsedEvent::decode(event).map_err(ProofError::Event)?;
    if event.event().body != BodyId::of(body) {
        return Err(ProofError::Start("the body is another event's".into()));
    }
    let genesis = genesis_of(body);
    let genesis = genesis.ok_or_else(|| ProofError::Start("not the body of a genesis".into()))?;
    let validators = genesis.first_validators();
    if validators.is_empty() {
        return Err(ProofError::NoValidators);
    }
    let validators_id = validators_id(validators.clone());
    Ok(Known { ledger, validators, validators_id, shown: Vec::new() })
}

fn from_checkpoint(
    checkpoint: &Checkpoint,
    validators: &ValidatorsBlock,
    trust: Trust,
) -> Result<Known, ProofError> {
    let (id, _) = checkpoint.seal().map_err(ProofError::Start)?;
    match trust {
        Trust::Checkpoint(trusted) if trusted == id => {}
        Trust::Checkpoint(_) => return Err(ProofError::OtherCheckpoint),
        Trust::Genesis(_) => return Err(ProofError::NotFromGenesis),
    }
    let (validators_id, _) = validators.seal();
    if validators_id != checkpoint.validators {
        return Err(ProofError::Start("the checkpoint names other validators".into()));
    }
    let (ledger, validators) = (checkpoint.ledger, validators.keys().to_vec());
    let (validators_id, shown) = (Some(validators_id), vec![(id, checkpoint.clone())]);
    Ok(Known { ledger, validators, validators_id, shown })
}

fn genesis_of(body: &[u8]) -> Option<Genesis> {
    match Body::decode(body) {
        Ok(Body::Genesis(genesis)) => Some(genesis),
        _ => None,
    }
}

fn validators_id(validators: Vec<AuthorKey>) -> Option<BlockId> {
    ValidatorsBlock::new(validators).ok().map(|block| block.seal().0)
}

impl Known {
    fn start(start: &ProofStart, trust: Trust) -> Result<Self, ProofError> {
        match start {
            ProofStart::Genesis { event, body } => from_genesis(event, body, trust),
            ProofStart::Checkpoint { checkpoint, validators } => {
                from_checkpoint(checkpoint, validators, trust)
            }
        }
    }

    fn take(&mut self, step: &ProofStep) -> Result<(), ProofError> {
        let height = step.checkpoint.height;
        self.follow(step).map_err(|fault| ProofError::Checkpoint { height, fault })
    }

    fn follow(&mut self, step: &ProofStep) -> Result<(), StepFault> {
        let checkpoint = &step.checkpoint;
        if checkpoint.ledger != self.ledger {
            return Err(StepFault::ForeignLedger(checkpoint.ledger));
        }
        self.continues(checkpoint, step.before.as_ref())?;
        step.certificate.check(checkpoint, self.ledger, &self.validators)?;
        let same = self.validators_id == Some(checkpoint.validators);
        match &step.validators {
            None if same => {}
            Some(named) if !same && checkpoint.validators == named.seal().0 => {
                self.validators = named.keys().to_vec();
                self.validators_id = Some(checkpoint.validators);
            }
            _ => return Err(StepFault::Validators),
        }
        self.shown.push((step.certificate.checkpoint, checkpoint.clone()));
        Ok(())
    }

    /// Where checkpoints have been left out, the one right before must name the validators that
    /// are known: those of a height are known in no other way, and precommits that never became a
    /// certificate may be enough of fewer validators.
    fn continues(
        &self,
        checkpoint: &Checkpoint,
        before: Option<&Checkpoint>,
    ) -> Result<(), StepFault> {
        let tip = self.shown.last();
        let height = tip.map_or(0, |(_, tip)| tip.height.0);
        let distance = checkpoint.height.0.checked_sub(height);
        let left_out = match (distance, before) {
            (None | Some(0), _) => return Err(StepFault::Height(Height(height))),
            (Some(1), None) => None,
            (Some(2..), Some(before)) => Some(before),
            _ => return Err(StepFault::Before),
        };
        let prev = match left_out {
            None => tip.map(|(id, _)| *id),
            Some(before) => Some(before.seal().map_err(|_| StepFault::Before)?.0),
        };
        if checkpoint.prev != prev {
            return Err(StepFault::Prev);
        }
        if let Some(before) = left_out {
            if before.ledger != self.ledger || before.height.next() != Some(checkpoint.height) {
                return Err(StepFault::Before);
            }
            if self.validators_id != Some(before.validators) {
                return Err(StepFault::UnshownChange);
            }
        }
        let mut cuts = tip.map(|(_, tip)| tip).into_iter().chain(left_out).chain([checkpoint]);
        let grows = |a: &Checkpoint, b: &Checkpoint| a.size < b.size && a.time <= b.time;
        let first = cuts.next().unwrap_or(checkpoint);
        let grown = cuts.try_fold(first, |a, b| grows(a, b).then_some(b));
        grown.map(|_| ()).ok_or(StepFault::Shrinks)
    }
}
