//! Checkpoints that were derived lately, with all that is to be written when they count.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quipu_merge::{BlockId, CheckpointId, Clock};
use rocksdb::WriteBatch;

use super::Derivation;

/// How many are kept at most.
const MAX_STAGED: usize = 4;
/// How many bytes of records they have at most, where it is more than one.
const MAX_STAGED_BYTES: usize = 64 << 20;

/// A checkpoint with all that is to be written when it counts.
pub struct Staged {
    pub derivation: Derivation,
    /// How far its cut goes.
    pub clock: Clock,
    pub batch: WriteBatch,
}

impl Staged {
    /// Whether it was derived for this cut after the checkpoint `prev`.
    fn fits(&self, prev: Option<CheckpointId>, cut: BlockId) -> bool {
        let checkpoint = &self.derivation.checkpoint;
        (checkpoint.prev, checkpoint.cut) == (prev, cut)
    }
}

/// What was derived lately, the latest last. Only what continues the last checkpoint is of use.
#[derive(Default)]
pub struct StagedDerivations(Mutex<VecDeque<Staged>>);

impl StagedDerivations {
    /// What was derived for this cut after the checkpoint `prev`.
    pub fn find(&self, prev: Option<CheckpointId>, cut: BlockId) -> Option<Derivation> {
        let kept = self.lock();
        kept.iter().find(|staged| staged.fits(prev, cut)).map(|staged| staged.derivation.clone())
    }

    /// Like [`Self::find`], with all that is to be written, which is not kept any more.
    pub fn take(&self, prev: Option<CheckpointId>, cut: BlockId) -> Option<Staged> {
        let mut kept = self.lock();
        let at = kept.iter().position(|staged| staged.fits(prev, cut))?;
        kept.remove(at)
    }

    /// Keeps one, and forgets older ones where there are too many.
    pub fn keep(&self, staged: Staged) {
        let mut kept = self.lock();
        kept.push_back(staged);
        let too_many = |kept: &VecDeque<Staged>| {
            let bytes: usize = kept.iter().map(|staged| staged.batch.size_in_bytes()).sum();
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

    fn lock(&self) -> MutexGuard<'_, VecDeque<Staged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
