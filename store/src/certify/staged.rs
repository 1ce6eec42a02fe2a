//! Checkpoints that were derived lately, with all that is to be written when they count.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quipu_merge::{BlockId, CheckpointId, Clock};

use super::Derivation;
use super::fold::Op;

/// How many are kept at most.
const MAX_STAGED: usize = 4;
/// How many bytes of records they have at most, where it is more than one.
const MAX_STAGED_BYTES: usize = 64 << 20;

/// A checkpoint with all that is to be written when it counts.
#[derive(Debug)]
pub struct Staged {
    pub derivation: Derivation,
    /// How far its cut goes.
    pub clock: Clock,
    pub ops: Vec<Op>,
}

impl Staged {
    fn len(&self) -> usize {
        self.ops.iter().map(Op::len).sum()
    }
}

/// What was derived lately, the latest last. Only what continues the last checkpoint is of use.
#[derive(Default)]
pub struct StagedDerivations(Mutex<VecDeque<Arc<Staged>>>);

impl StagedDerivations {
    /// What was derived for this cut after the checkpoint `prev`.
    pub fn find(&self, prev: Option<CheckpointId>, cut: BlockId) -> Option<Arc<Staged>> {
        let fits = |staged: &&Arc<Staged>| {
            let checkpoint = &staged.derivation.checkpoint;
            (checkpoint.prev, checkpoint.cut) == (prev, cut)
        };
        self.lock().iter().find(fits).cloned()
    }

    /// Keeps one, and forgets older ones where there are too many.
    pub fn keep(&self, staged: Arc<Staged>) {
        let mut kept = self.lock();
        kept.push_back(staged);
        let too_many = |kept: &VecDeque<Arc<Staged>>| {
            let bytes: usize = kept.iter().map(|staged| staged.len()).sum();
            kept.len() > MAX_STAGED || (kept.len() > 1 && bytes > MAX_STAGED_BYTES)
        };
        while too_many(&kept) {
            kept.pop_front();
        }
    }

    /// Forgets all of them: another checkpoint counts now.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Staged>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
