//! Proofs that strangers can check, made of what is certified here.

use std::collections::BTreeSet;

use quipu_merge::{
    Certified, Checkpoint, Claim, Dot, EventId, Height, KeyEntry, LeafKind, LogProofError,
    OpeningId, Proof, ProofStart, ProofStep, ProvedKey, ProvedWrite, Seq, proof_steps,
    prove_consistency, prove_inclusion, register_writes,
};

use super::proof::ProvenState;
use super::records;
use crate::error::{ReadError, StorageError};
use crate::lookup::{self, Stored};
use crate::schema::{Family, checkpoints};
use crate::snapshot::Snapshot;

/// There is no such proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// No checkpoint counts here yet.
    #[error("nothing is certified yet")]
    NothingCertified,
    /// The event is held, and no checkpoint that counts here holds it.
    #[error("event {0} is not certified yet")]
    NotCertified(EventId),
    /// No checkpoint of this height counts here.
    #[error("no checkpoint {0} is held")]
    NoCheckpoint(Height),
    /// A proof leads from earlier checkpoints to later ones.
    #[error("checkpoint {to} does not come after {from}")]
    NotAfter {
        /// Where it is to start.
        from: Height,
        /// Where it is to lead to.
        to: Height,
    },
    /// The event is not held; the disk, the database or its content.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<StorageError> for ProveError {
    fn from(error: StorageError) -> Self {
        Self::Read(error.into())
    }
}

/// From where to prove; the reader must trust it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProveFrom {
    /// The ledger's genesis.
    Genesis,
    /// The checkpoint of this height.
    Checkpoint(Height),
}

impl Snapshot<'_> {
    /// Proves that an event is in the certified log, under the last checkpoint that counts here.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn prove_event(&self, event: EventId, from: ProveFrom) -> Result<Proof, ProveError> {
        let reader = self.reader();
        let dot = lookup::dot_of(reader, event)?.ok_or(ReadError::NoSuchEvent(event))?;
        let height = self.certified_height().ok_or(ProveError::NothingCertified)?;
        let index = self.index_of(dot, event)?.ok_or(ProveError::NotCertified(event))?;
        let path = prove_inclusion(self.certified_len(), index, &self.log_hashes());
        let path = path.map_err(damaged_log)?;
        let event = Stored::read(reader, dot)?.record()?.event.to_vec();
        self.proof(from, &[height], Claim::Event { event, index, path })
    }

    /// Proves what a key names of each kind, or that it names nothing, in the certified state of a
    /// height, or of the last checkpoint that counts here. For an earlier height the state is folded
    /// again, which takes time and memory in proportion to the ledger.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn prove_key(
        &self,
        key: ProvedKey,
        height: Option<Height>,
        from: ProveFrom,
    ) -> Result<Proof, ProveError> {
        let last = self.certified_height().ok_or(ProveError::NothingCertified)?;
        let height = height.unwrap_or(last);
        let kinds = key.kinds();
        let name = match &key {
            ProvedKey::Key(key) => key.as_str().as_bytes(),
            ProvedKey::Author(author) => author.0.as_slice(),
        };
        let proven = self.prove_kinds(height, kinds, name)?;
        let proven = proven.ok_or(ProveError::NoCheckpoint(height))?;
        let entries = kinds.iter().copied().zip(proven);
        let entries = entries.map(|(kind, state)| self.entry(kind, state));
        let entries = entries.collect::<Result<_, _>>()?;
        self.proof(from, &[height], Claim::Key { key, entries })
    }

    /// Proves that the certified log of a checkpoint continues that of an earlier one.
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn prove_extends(
        &self,
        older: Height,
        newer: Height,
        from: ProveFrom,
    ) -> Result<Proof, ProveError> {
        let (old, new) = (self.header(older)?, self.header(newer)?);
        if newer <= older {
            return Err(ProveError::NotAfter { from: older, to: newer });
        }
        if let Some(floor) = self.starts_after(older) {
            return Err(floor.pruned().into());
        }
        let path = prove_consistency(new.size, old.size, &self.log_hashes());
        let path = path.map_err(damaged_log)?;
        self.proof(from, &[older, newer], Claim::Extends { from: older, path })
    }

    /// A proof through these checkpoints, which ascend, and all that it needs between.
    fn proof(
        &self,
        from: ProveFrom,
        through: &[Height],
        claim: Claim,
    ) -> Result<Proof, ProveError> {
        let (start, steps) = self.chain(from, through)?;
        Ok(Proof { start, steps, claim })
    }

    /// The chain from genesis to a checkpoint that counts, as a proof shows it.
    pub(crate) fn steps_to(
        &self,
        height: Height,
    ) -> Result<(ProofStart, Vec<ProofStep>), ProveError> {
        self.chain(ProveFrom::Genesis, &[height])
    }

    fn chain(
        &self,
        from: ProveFrom,
        through: &[Height],
    ) -> Result<(ProofStart, Vec<ProofStep>), ProveError> {
        let (start, after) = match from {
            ProveFrom::Genesis => (self.genesis_start()?, Height(0)),
            ProveFrom::Checkpoint(height) => (self.checkpoint_start(height)?, height),
        };
        if let Some(to) = through.iter().copied().find(|to| *to < after) {
            return Err(ProveError::NotAfter { from: after, to });
        }
        let last = through.last().copied().unwrap_or(after);
        let mut needed = self.turns(after, last)?;
        needed.extend(through.iter().filter(|height| **height > after));
        let certified = needed.into_iter().map(|height| self.certified(height));
        let certified = certified.collect::<Result<Vec<_>, _>>()?;
        let steps =
            proof_steps(&start, certified, |height| records::checkpoint(self.reader(), height))?;
        Ok((start, steps))
    }

    fn genesis_start(&self) -> Result<ProofStart, StorageError> {
        let genesis = Dot { lane: quipu_merge::Lane(0), seq: Seq::FIRST };
        let stored = Stored::read(self.reader(), genesis)?;
        let record = stored.record()?;
        Ok(ProofStart::Genesis { event: record.event.to_vec(), body: record.body.to_vec() })
    }

    fn checkpoint_start(&self, height: Height) -> Result<ProofStart, ProveError> {
        let certified = self.checkpoint(height)?.ok_or(ProveError::NoCheckpoint(height))?;
        let (checkpoint, validators) = (certified.checkpoint, certified.validators);
        Ok(ProofStart::Checkpoint { checkpoint, validators })
    }

    fn header(&self, height: Height) -> Result<Checkpoint, ProveError> {
        let certified = self.checkpoint(height)?.ok_or(ProveError::NoCheckpoint(height))?;
        Ok(certified.checkpoint)
    }

    fn certified(&self, height: Height) -> Result<Certified, ProveError> {
        let certified = self.checkpoint(height)?.ok_or(ProveError::NoCheckpoint(height))?;
        Ok(Certified {
            checkpoint: certified.checkpoint,
            certificate: certified.certificate,
            validators: certified.validators,
        })
    }

    /// The checkpoints after one and up to another that name other validators.
    fn turns(&self, after: Height, to: Height) -> Result<BTreeSet<Height>, StorageError> {
        let damaged = || StorageError::damaged("the mark of new validators");
        let mut turns = BTreeSet::new();
        let mut walk = self.reader().walk(Family::Final, &[checkpoints::TURN])?;
        walk.seek(&checkpoints::turn(Height(after.0.saturating_add(1))))?;
        while let Some((key, _)) = walk.item() {
            let height = checkpoints::parse_height(key).ok_or_else(damaged)?;
            if height > to {
                break;
            }
            turns.insert(height);
            walk.next()?;
        }
        Ok(turns)
    }

    fn entry(&self, kind: LeafKind, state: ProvenState) -> Result<KeyEntry, StorageError> {
        let ProvenState { value, proof: path } = state;
        let mut writes = Vec::new();
        if let (LeafKind::Register, Some(value)) = (kind, &value) {
            let damaged = |_| StorageError::damaged("a register of the certified state");
            for (event, opening) in register_writes(value).map_err(damaged)? {
                writes.push(self.shown_write(event, opening)?);
            }
        }
        Ok(KeyEntry { kind, value, path, writes })
    }

    /// What shows the value of a write, if it is at hand and not erased.
    fn shown_write(
        &self,
        event: EventId,
        opening: OpeningId,
    ) -> Result<Option<ProvedWrite>, StorageError> {
        let damaged = || StorageError::damaged(format!("event {event} is missing"));
        let dot = lookup::dot_of(self.reader(), event)?.ok_or_else(damaged)?;
        let stored = Stored::read(self.reader(), dot)?;
        let values = stored.kept()?.values();
        let slot = values.into_iter().find(|(_, named)| *named == opening);
        let Some((slot, _)) = slot else { return Ok(None) };
        if self.is_erased(dot, slot)? {
            return Ok(None);
        }
        let found = self.opening_at(dot, slot)?.filter(|found| OpeningId::of(found) == opening);
        let event = stored.record()?.event.to_vec();
        Ok(found.map(|opening| ProvedWrite { event, opening }))
    }
}

fn damaged_log(error: LogProofError<StorageError>) -> StorageError {
    match error {
        LogProofError::Store(error) => error,
        other => StorageError::damaged(format!("the certified log: {other}")),
    }
}
