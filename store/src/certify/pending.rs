//! Certified checkpoints that wait for the events of their cuts, and what contradicts this replica.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quipu_merge::{Chain, EventId, Height};

use super::{
    CertificationStatus, CertifiedCheckpoint, Divergence, MAX_PENDING_CHECKPOINT_BYTES,
    MAX_PENDING_CHECKPOINTS, records,
};
use crate::db::Reader;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::schema::{Family, checkpoints};

/// What is known of certified checkpoints beside those that count.
pub struct Certifying {
    state: Mutex<State>,
    /// Held while checkpoints are accepted and counted, one after the other.
    turn: Mutex<()>,
    /// Where those wait who want to know when another checkpoint counts.
    counted: Condvar,
}

/// What waits, and what contradicts.
pub struct State {
    /// The chain up to the last checkpoint that waits.
    pub chain: Chain,
    /// Those that wait, without a gap.
    pub pending: BTreeMap<Height, Pending>,
    bytes: usize,
    /// What contradicts this replica.
    pub diverged: Vec<Divergence>,
    /// An event that the next checkpoint was found to lack.
    pub lacks: Option<EventId>,
}

/// A checkpoint that waits.
pub struct Pending {
    /// The checkpoint.
    pub certified: CertifiedCheckpoint,
    /// The length of its record.
    bytes: usize,
}

impl State {
    /// Whether nothing counts any more: something certified is not what is derived here.
    pub fn is_blocked(&self) -> bool {
        self.diverged.iter().any(|diverged| matches!(diverged, Divergence::Derived { .. }))
    }

    /// Whether there is room for one more.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.pending.len() < MAX_PENDING_CHECKPOINTS
            && self.bytes + bytes <= MAX_PENDING_CHECKPOINT_BYTES
    }

    /// Lets one wait that continues the chain.
    pub fn insert(&mut self, certified: CertifiedCheckpoint, bytes: usize) {
        self.bytes += bytes;
        self.pending.insert(certified.height(), Pending { certified, bytes });
    }

    /// Takes one out that counts now.
    pub fn remove(&mut self, height: Height) {
        if let Some(pending) = self.pending.remove(&height) {
            self.bytes -= pending.bytes;
        }
        self.lacks = None;
    }

    /// The one that counts next.
    pub fn next(&self) -> Option<&CertifiedCheckpoint> {
        if self.is_blocked() {
            return None;
        }
        self.pending.first_key_value().map(|(_, pending)| &pending.certified)
    }
}

impl Certifying {
    /// Reads it back; `chain` is that of the checkpoints that count.
    pub fn load(reader: Reader<'_>, chain: Chain) -> Result<Self, StorageError> {
        let mut state =
            State { chain, pending: BTreeMap::new(), bytes: 0, diverged: Vec::new(), lacks: None };
        let mut walk = reader.walk(Family::Final, &[checkpoints::PENDING])?;
        walk.first()?;
        while let Some((_, record)) = walk.item() {
            let certified = records::unpack(record)?;
            let CertifiedCheckpoint { checkpoint, validators, .. } = &certified;
            let damaged = |_| StorageError::damaged("a checkpoint that waits");
            // Its certificate was checked when it came.
            state.chain = Chain::trusting(checkpoint, validators).map_err(damaged)?;
            state.insert(certified, record.len());
            walk.next()?;
        }
        let mut walk = reader.walk(Family::Final, &[checkpoints::DIVERGED])?;
        walk.first()?;
        while let Some((_, record)) = walk.item() {
            state.diverged.push(records::unpack_divergence(record)?);
            walk.next()?;
        }
        Ok(Self { state: Mutex::new(state), turn: Mutex::new(()), counted: Condvar::new() })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who wait that another checkpoint counts.
    pub fn tell(&self) {
        // Whoever has just found that none does is waiting by the time that this lock is had.
        drop(self.lock());
        self.counted.notify_all();
    }

    pub fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// How far certification has come here.
    pub fn certification(&self) -> CertificationStatus {
        let finality = self.published().finality.clone();
        let state = self.certifying.lock();
        CertificationStatus {
            height: finality.chain.height(),
            events: finality.chain.size(),
            pending: state.pending.len() as u64,
            pending_height: state.pending.last_key_value().map(|(height, _)| *height),
            diverged: state.diverged.clone(),
        }
    }

    /// Waits until a checkpoint beyond `height` counts, or as long as `timeout`. Tells the last that
    /// counts then.
    pub fn wait_certified(&self, height: Option<Height>, timeout: Duration) -> Option<Height> {
        let counts = || self.published().finality.chain.height();
        let state = self.certifying.lock();
        let waits = |_: &mut State| counts() <= height;
        drop(self.certifying.counted.wait_timeout_while(state, timeout, waits));
        counts()
    }

    /// The last checkpoint that is held, whether it counts or waits for events: what comes after it
    /// can be accepted next.
    pub fn held_height(&self) -> Option<Height> {
        self.certifying.lock().chain.height()
    }

    /// The chain up to the last checkpoint that is held.
    pub(crate) fn held_chain(&self) -> Chain {
        self.certifying.lock().chain.clone()
    }

    /// Whether this replica must not certify any more: see [`Divergence`].
    pub fn has_diverged(&self) -> bool {
        !self.certifying.lock().diverged.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use quipu_merge::{
        BlockId, Certificate, Checkpoint, CheckpointId, Codec, CutBlock, Micros, Round,
        ValidatorsBlock,
    };

    use super::*;
    use crate::options::NewLedger;

    fn checkpoint(height: u64) -> CertifiedCheckpoint {
        let block = BlockId { codec: Codec::DagCbor, digest: [1; 32] };
        let height = Height(height);
        CertifiedCheckpoint {
            checkpoint: Checkpoint {
                ledger: EventId([1; 32]),
                height,
                prev: None,
                cut: block,
                size: 1,
                root: [2; 32],
                state: [3; 32],
                validators: block,
                time: Micros(4),
            },
            certificate: Certificate {
                checkpoint: CheckpointId([5; 32]),
                height,
                round: Round(0),
                signatures: Vec::new(),
            },
            cut: CutBlock::new(vec![EventId([1; 32])]).unwrap(),
            validators: ValidatorsBlock::new(vec![quipu_merge::AuthorKey([1; 32])]).unwrap(),
        }
    }

    fn empty() -> State {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(dir.path().join("l"), &NewLedger::default()).unwrap();
        let chain = Chain::new(ledger.id(), &ledger.genesis());
        State { chain, pending: BTreeMap::new(), bytes: 0, diverged: Vec::new(), lacks: None }
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut state = empty();
        for height in 1..=MAX_PENDING_CHECKPOINTS as u64 {
            assert!(state.has_room(1));
            state.insert(checkpoint(height), 1);
        }
        assert!(!state.has_room(1));
        state.remove(Height::FIRST);
        assert!(state.has_room(1));
    }

    #[test]
    fn there_is_room_for_so_much() {
        let mut state = empty();
        state.insert(checkpoint(1), MAX_PENDING_CHECKPOINT_BYTES - 10);
        assert!(state.has_room(10) && !state.has_room(11));
        state.remove(Height::FIRST);
        assert!(state.has_room(MAX_PENDING_CHECKPOINT_BYTES));
    }
}
