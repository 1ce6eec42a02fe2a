//! Accepting certified checkpoints: from the own certification, from peers, from files.

use quipu_merge::{AuthorKey, ChainError, Checkpoint, CheckpointId, EventId, Height};

use super::pending::State;
use super::records::Part;
use super::{AcceptError, Acceptance, CertifiedCheckpoint, DeriveError, Divergence, records};
use crate::bodies::pruned_to;
use crate::commit::Exclusive;
use crate::error::StorageError;
use crate::ingest::MergeReport;
use crate::ledger::Ledger;
use crate::schema::{Family, checkpoints};
use crate::shallow::Floor;

/// How many contradictions are kept; one is enough to stop.
const MAX_DIVERGED: usize = 64;

/// What has become of a checkpoint that was to count.
enum Counting {
    Counted,
    /// This event of its cut is not held.
    Lacks(EventId),
    Diverged,
}

impl Ledger {
    /// Accepts the next certified checkpoint. It counts at once where all events of its cut are held,
    /// and as soon as they are otherwise. It must continue those that are held, whether they count
    /// or wait; one that is held changes nothing.
    ///
    /// # Errors
    /// [`AcceptError`]; nothing has changed.
    pub fn accept(&self, certified: CertifiedCheckpoint) -> Result<Acceptance, AcceptError> {
        let _turn = self.certifying.take_turn();
        let height = certified.height();
        if certified.cut.seal().0 != certified.checkpoint.cut {
            return Err(AcceptError::Cut(certified.checkpoint.cut));
        }
        let (held, counts, mut chain) = {
            let state = self.certifying.lock();
            let first = state.pending.first_key_value().map(|(height, _)| *height);
            let counts = first.is_none_or(|first| height < first);
            let held = height >= Height::FIRST && state.chain.height() >= Some(height);
            (held, counts, state.chain.clone())
        };
        if held {
            return self.accept_again(certified, counts);
        }
        if let Some(first) = self.blocked_by(height) {
            return self.accept_beside(certified, first, Acceptance::Diverged);
        }
        chain.accept(&certified.checkpoint, &certified.certificate, &certified.validators)?;
        let mut lacks = None;
        if self.certifying.lock().pending.is_empty() {
            self.release_certified(&certified)?;
            match self.count(&certified)? {
                Counting::Counted => {
                    self.certifying.lock().chain = chain;
                    return Ok(Acceptance::Counted);
                }
                Counting::Diverged => return Ok(Acceptance::Diverged),
                Counting::Lacks(event) => lacks = Some(event),
            }
        }
        let bytes = records::pack(&certified)?;
        if !self.certifying.lock().has_room(bytes.len()) {
            return Err(AcceptError::Full(height));
        }
        self.exclusively(|hold| {
            hold.writer().put(&self.db, Family::Final, &checkpoints::pending(height), &bytes)
        })?;
        let mut state = self.certifying.lock();
        state.chain = chain;
        state.insert(certified, bytes.len());
        state.lacks = state.lacks.or(lacks);
        Ok(Acceptance::Pending)
    }

    /// Lets checkpoints count that had to wait, as far as all events of their cuts have come.
    pub(crate) fn count_pending(&self) -> Result<(), StorageError> {
        if self.certifying.lock().next().is_none() {
            return Ok(());
        }
        let _turn = self.certifying.take_turn();
        match self.count_in_turn() {
            // The events are held all the same, and what waits goes on waiting.
            Err(StorageError::NoRoom { .. }) => Ok(()),
            counted => counted,
        }
    }

    fn count_in_turn(&self) -> Result<(), StorageError> {
        loop {
            let (certified, lacks) = {
                let state = self.certifying.lock();
                let Some(certified) = state.next() else { return Ok(()) };
                (certified.clone(), state.lacks)
            };
            self.release_certified(&certified)?;
            if let Some(event) = lacks
                && !self.latest().has(Family::Ids, &event.0)?
            {
                return Ok(());
            }
            match self.count(&certified)? {
                Counting::Counted => self.certifying.lock().remove(certified.height()),
                Counting::Lacks(event) => {
                    self.certifying.lock().lacks = Some(event);
                    return Ok(());
                }
                Counting::Diverged => return Ok(()),
            }
        }
    }

    /// Derives the same checkpoint and lets it count, where it is the same.
    fn count(&self, certified: &CertifiedCheckpoint) -> Result<Counting, StorageError> {
        // Without room it would be derived in vain, again and again.
        self.db.check_room()?;
        let derived = match self.take_derived(certified.cut.heads()) {
            Ok(staged) if self.agrees(&staged.derivation.checkpoint, &certified.checkpoint)? => {
                self.exclusively(|hold| {
                    let writer = hold.writer();
                    let counted = writer.certify(&self.db, staged, certified);
                    counted.inspect_err(|error| writer.poison(error))
                })?;
                self.staged.clear();
                self.certifying.tell();
                return Ok(Counting::Counted);
            }
            Ok(staged) => Some(Box::new(staged.derivation.checkpoint)),
            Err(DeriveError::Missing(event)) => return Ok(Counting::Lacks(event)),
            Err(DeriveError::Storage(error)) => return Err(error),
            // No cut that a checkpoint may have.
            Err(_) => None,
        };
        let certified = Box::new(certified.clone());
        self.diverge(Divergence::Derived { certified, derived })?;
        Ok(Counting::Diverged)
    }

    /// Whether a derived checkpoint is the certified one. Where bodies have been pruned, a repair
    /// derives anew what counted before: what they wrote stands in no state from the checkpoint on up
    /// to which they are gone, but did in earlier ones.
    fn agrees(&self, derived: &Checkpoint, certified: &Checkpoint) -> Result<bool, StorageError> {
        let pruned = pruned_to(self.latest())?.is_some_and(|height| derived.height < height);
        let state = if pruned { certified.state } else { derived.state };
        Ok(Checkpoint { state, ..derived.clone() } == *certified)
    }

    /// A checkpoint of a height that is held: the same one, or another that is certified too.
    fn accept_again(
        &self,
        certified: CertifiedCheckpoint,
        counts: bool,
    ) -> Result<Acceptance, AcceptError> {
        let kept = self.held_id(&self.certifying.lock(), certified.height())?;
        let known = if counts { Acceptance::Known } else { Acceptance::Pending };
        // What a shallow store does not have, it cannot compare.
        let Some(kept) = kept else { return Ok(known) };
        self.accept_beside(certified, kept, known)
    }

    /// A checkpoint of a height of which `kept` came first: the same, or another whose votes hold.
    fn accept_beside(
        &self,
        certified: CertifiedCheckpoint,
        kept: CheckpointId,
        known: Acceptance,
    ) -> Result<Acceptance, AcceptError> {
        self.check_certificate(&certified)??;
        if certified.id() == kept {
            return Ok(known);
        }
        self.diverge(Divergence::Certificates { kept, other: Box::new(certified) })?;
        Ok(Acceptance::Diverged)
    }

    /// Checks a checkpoint of a height that is held, unless a shallow store lacks that height.
    pub(crate) fn check_beside(
        &self,
        certified: &CertifiedCheckpoint,
    ) -> Result<Result<(), ChainError>, StorageError> {
        let kept = self.held_id(&self.certifying.lock(), certified.height())?;
        match kept {
            Some(_) => self.check_certificate(certified),
            None => Ok(Ok(())),
        }
    }

    /// Checks a certificate of a height up to which the chain is held.
    fn check_certificate(
        &self,
        certified: &CertifiedCheckpoint,
    ) -> Result<Result<(), ChainError>, StorageError> {
        let validators = self.certifying(certified.height())?;
        let CertifiedCheckpoint { checkpoint, certificate, .. } = certified;
        let checked = certificate.check(checkpoint, self.id(), &validators);
        Ok(checked.map_err(ChainError::from))
    }

    /// The keys that certify a height up to which the chain is held.
    pub(super) fn certifying(&self, height: Height) -> Result<Vec<AuthorKey>, StorageError> {
        let before = Height(height.0.saturating_sub(1));
        if let Some(pending) = self.certifying.lock().pending.get(&before) {
            return Ok(pending.certified.validators.keys().to_vec());
        }
        let start = self.floor.as_ref().map(Floor::height);
        let validators = records::validators_of(self.latest(), &self.genesis(), height, start)?;
        validators.ok_or_else(|| StorageError::damaged(format!("checkpoint {before} is missing")))
    }

    /// The checkpoint that nothing may count after, where it is of this height.
    fn blocked_by(&self, height: Height) -> Option<CheckpointId> {
        self.certifying.lock().diverged.iter().find_map(|diverged| match diverged {
            Divergence::Derived { certified, .. } if certified.height() == height => {
                Some(certified.id())
            }
            _ => None,
        })
    }

    /// The id of the checkpoint of a height up to which they are held. None where a shallow store starts
    /// after it and does not have it.
    pub(crate) fn held_id(
        &self,
        state: &State,
        height: Height,
    ) -> Result<Option<CheckpointId>, StorageError> {
        let malformed = |why| StorageError::damaged(format!("checkpoint {height}: {why}"));
        let Some(held) = self.held_checkpoint(state, height)? else { return Ok(None) };
        Ok(Some(held.seal().map_err(malformed)?.0))
    }

    /// The checkpoint of a height up to which they are held, whether it counts or waits. None where a
    /// shallow store starts after it and does not have it.
    pub(super) fn held_checkpoint(
        &self,
        state: &State,
        height: Height,
    ) -> Result<Option<Checkpoint>, StorageError> {
        if let Some(pending) = state.pending.get(&height) {
            return Ok(Some(pending.certified.checkpoint.clone()));
        }
        let kept = records::find(self.latest(), height, Part::Header, Checkpoint::decode)?;
        let below = self.floor.as_ref().is_some_and(|floor| height < floor.height());
        let missing = || StorageError::damaged(format!("checkpoint {height} is missing"));
        if kept.is_some() || below { Ok(kept) } else { Err(missing()) }
    }

    /// Keeps what contradicts this replica.
    fn diverge(&self, divergence: Divergence) -> Result<(), StorageError> {
        {
            let state = self.certifying.lock();
            if state.diverged.contains(&divergence) || state.diverged.len() >= MAX_DIVERGED {
                return Ok(());
            }
        }
        let (Divergence::Certificates { other: certified, .. }
        | Divergence::Derived { certified, .. }) = &divergence;
        let key = checkpoints::diverged(certified.height(), certified.id().0);
        let record = records::pack_divergence(&divergence)?;
        self.exclusively(|hold| hold.writer().put(&self.db, Family::Final, &key, &record))?;
        self.certifying.lock().diverged.push(divergence);
        Ok(())
    }

    /// Admits the events of a certified cut that wait for nothing but their time.
    fn release_certified(&self, certified: &CertifiedCheckpoint) -> Result<(), StorageError> {
        if self.lock_writer().pool.next_due().is_none() {
            return Ok(());
        }
        self.in_bulk(|hold| {
            let heads = certified.cut.heads();
            let (certain, due) = hold.writer().pool.reached_from(heads);
            if due.is_empty() {
                return Ok(());
            }
            hold.writer().certain = certain;
            let released = self.release_due(hold, due);
            hold.writer().certain.clear();
            released
        })?;
        self.sync_if_durable()
    }

    fn release_due(&self, hold: &mut Exclusive<'_>, due: Vec<EventId>) -> Result<(), StorageError> {
        self.release(hold, due, &mut MergeReport::default())
    }
}
