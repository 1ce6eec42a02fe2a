//! Deriving the next checkpoint over a cut.

use std::sync::Arc;

use quipu_merge::{
    CertifiedCuts, Chain, Checkpoint, Clock, CutBlock, EventId, Height, LogTree, Micros,
    StateNodes, StateUpdate, ValidatorsBlock, event_leaf_hash, update_state,
};

use super::finality::number_of;
use super::fold::{FinalEvent, Fold, read_between};
use super::read::LogHashes;
use super::sink::{Encoded, Sink};
use super::source::FinalRecords;
use super::staged::Staged;
use super::{Derivation, DeriveError, Finality, leaves};
use crate::db::Reader;
use crate::error::StorageError;
use crate::ledger::Ledger;
use crate::lookup;
use crate::record::{put_dot, put_number};
use crate::schema::{Family, certified, tree};
use crate::snapshot::Snapshot;

impl Ledger {
    /// Derives the next checkpoint over the cut that these events and their ancestors make up. What
    /// it takes to let it count is kept for a while, so that accepting it costs the write alone.
    /// Others may write meanwhile. Memory grows with the events that the last checkpoint lacks.
    ///
    /// # Errors
    /// [`DeriveError`]; nothing has changed.
    pub fn derive(&self, heads: &[EventId]) -> Result<Derivation, DeriveError> {
        let next = self.next_cut(heads)?;
        if let Some(derivation) = self.staged.find(next.finality.chain.tip(), next.block.seal().0) {
            return Ok(derivation);
        }
        let staged = self.stage(next)?;
        let derivation = staged.derivation.clone();
        self.staged.keep(staged);
        Ok(derivation)
    }

    /// Like [`Self::derive`], with what it takes to let it count, which is not kept any more.
    pub(super) fn take_derived(&self, heads: &[EventId]) -> Result<Staged, DeriveError> {
        let next = self.next_cut(heads)?;
        match self.staged.take(next.finality.chain.tip(), next.block.seal().0) {
            Some(staged) => Ok(staged),
            None => self.stage(next),
        }
    }

    fn next_cut(&self, heads: &[EventId]) -> Result<NextCut<'_>, DeriveError> {
        let snapshot = self.snapshot()?;
        let finality = snapshot.published().finality.clone();
        let clock = snapshot.clock_of_heads(heads)?;
        let last = finality.cuts.latest();
        if !last.within(&clock) || clock.within(last) {
            return Err(DeriveError::NotBeyond);
        }
        let heads = snapshot.heads_within(&clock)?;
        let count = heads.len();
        let block = CutBlock::new(heads).map_err(|_| DeriveError::TooManyHeads(count))?;
        Ok(NextCut { snapshot, finality, clock, block })
    }

    fn stage(&self, next: NextCut<'_>) -> Result<Staged, DeriveError> {
        let NextCut { snapshot, finality, clock, block } = next;
        let damaged = |_| StorageError::damaged("the certified log");
        let reader = snapshot.reader();
        let base = Base {
            cuts: &finality.cuts,
            chain: &finality.chain,
            log: LogTree::resume(finality.chain.size(), &LogHashes::new(reader))
                .map_err(damaged)?,
            records: &reader,
            nodes: &TreeNodes(reader),
        };
        let mut encoded = Encoded::for_events(&self.db, length(finality.cuts.latest(), &clock));
        let Derived { derivation, clock } = base.derive(&snapshot, clock, block, &mut encoded)?;
        Ok(Staged { derivation, clock, batch: encoded.batch })
    }
}

/// A cut that goes beyond the last certified one.
struct NextCut<'l> {
    snapshot: Snapshot<'l>,
    finality: Arc<Finality>,
    clock: Clock,
    block: CutBlock,
}

/// How many events there are between two cuts: as many, or fewer where branches begin.
fn length(from: &Clock, to: &Clock) -> u64 {
    to.iter().map(|last| last.seq.0.saturating_sub(from.seq(last.lane))).sum()
}

/// What is certified before a checkpoint that is derived.
pub struct Base<'b, N> {
    /// The cuts.
    pub cuts: &'b CertifiedCuts,
    /// The chain of their checkpoints.
    pub chain: &'b Chain,
    /// The certified log.
    pub log: LogTree,
    /// The certified state by key.
    pub records: &'b dyn FinalRecords,
    /// The tree over it.
    pub nodes: &'b N,
}

/// A derived checkpoint.
pub struct Derived {
    pub derivation: Derivation,
    /// How far its cut goes.
    pub clock: Clock,
}

impl<N: StateNodes<Error: std::error::Error + 'static>> Base<'_, N> {
    /// Derives the next checkpoint over a cut that contains the last, with these heads. Gives
    /// `sink` all records that change as it counts, those of the checkpoint itself aside.
    pub fn derive(
        self,
        snapshot: &Snapshot<'_>,
        clock: Clock,
        cut: CutBlock,
        sink: &mut dyn Sink,
    ) -> Result<Derived, DeriveError> {
        let Self { cuts, chain, mut log, records, nodes } = self;
        if snapshot.published().authority.genesis().validators.is_empty() {
            return Err(DeriveError::NoValidators);
        }
        let height = chain.next_height().ok_or(DeriveError::LastHeight)?;
        let events = read_between(snapshot, cuts.latest(), &clock)?;
        // The cut is certified itself then.
        let mut certified = cuts.clone();
        certified.push(&clock);
        let verdicts = snapshot.judge(&clock, &certified);
        let place = (number_of(height), log.size());
        append(&mut log, &events, sink)?;
        boundaries(cuts, &clock, height, sink)?;
        let cells = Fold::run(snapshot, records, &verdicts, place, &events, sink)?;
        let mut changes = leaves::changes(records, &cells)?;
        drop(cells);
        changes.extend(leaves::role_changes(records, &verdicts.roles(), sink)?);
        let state = update_state(nodes, chain.height(), height, changes);
        let state = state.map_err(|error| StorageError::damaged(error.to_string()))?;
        let validators = validators(verdicts.validators(), chain.validators())?;
        let newest = events.last().map_or(Micros(0), |event| event.time);
        let checkpoint = Checkpoint {
            ledger: chain.ledger(),
            height,
            prev: chain.tip(),
            cut: cut.seal().0,
            size: log.size(),
            root: log.root(),
            state: state.root,
            validators: validators.seal().0,
            time: newest.max(chain.time()),
        };
        put_tree(height, &state, sink)?;
        let malformed = |why| StorageError::damaged(format!("a derived checkpoint: {why}"));
        let (id, _) = checkpoint.seal().map_err(malformed)?;
        let new_events = events.len() as u64;
        let derivation = Derivation { id, checkpoint, cut, validators, new_events, newest };
        Ok(Derived { derivation, clock })
    }
}

/// Appends to the certified log.
fn append(
    log: &mut LogTree,
    events: &[FinalEvent],
    sink: &mut dyn Sink,
) -> Result<(), StorageError> {
    let mut entry = Vec::with_capacity(80);
    for event in events {
        let key = certified::log(log.size());
        entry.clear();
        put_dot(&mut entry, event.dot);
        log.append(event_leaf_hash(event.id)).iter().for_each(|hash| entry.extend(hash));
        sink.put(Family::Final, &key, &entry)?;
    }
    Ok(())
}

/// How far the cut goes on the lanes on which it goes further than those before.
fn boundaries(
    certified: &CertifiedCuts,
    cut: &Clock,
    height: Height,
    sink: &mut dyn Sink,
) -> Result<(), StorageError> {
    let mut record = Vec::with_capacity(8);
    put_number(&mut record, height.0);
    let mut further = cut.iter().filter(|dot| !certified.covers(*dot));
    further.try_for_each(|dot| sink.put(Family::Final, &certified::boundary(dot), &record))
}

/// What makes the tree over the state that of this height.
fn put_tree(height: Height, state: &StateUpdate, sink: &mut dyn Sink) -> Result<(), StorageError> {
    for (key, node) in &state.nodes {
        sink.put(Family::Tree, &tree::node(key), node)?;
    }
    for key in &state.stale {
        sink.put(Family::Tree, &tree::stale(height, key), &[])?;
    }
    Ok(())
}

/// Those that hold `validator` over the cut or, where nobody does, those of this height.
fn validators(
    next: Vec<quipu_merge::AuthorKey>,
    now: &[quipu_merge::AuthorKey],
) -> Result<ValidatorsBlock, DeriveError> {
    let next = if next.is_empty() { now.to_vec() } else { next };
    let count = next.len();
    ValidatorsBlock::new(next).map_err(|_| DeriveError::TooManyValidators(count))
}

/// The nodes of the tree over the certified state.
pub struct TreeNodes<'r>(pub Reader<'r>);

impl StateNodes for TreeNodes<'_> {
    type Error = StorageError;

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let found = self.0.get(Family::Tree, &tree::node(key))?;
        Ok(found.map(|node| node.to_vec()))
    }
}

impl Snapshot<'_> {
    /// The events within a clock that no other within it follows, ascending.
    pub(crate) fn heads_within(&self, clock: &Clock) -> Result<Vec<EventId>, StorageError> {
        let tips = clock.iter().map(|dot| lookup::known_at(self.reader(), dot));
        let tips = tips.collect::<Result<Vec<_>, _>>()?;
        // What one lane has seen of the others says which of their last events it follows.
        let mut followed = Clock::new();
        for tip in &tips {
            tip.clock
                .iter()
                .filter(|dot| dot.lane != tip.dot.lane)
                .for_each(|dot| followed.advance(dot));
        }
        let heads = tips.iter().filter(|tip| !followed.covers(tip.dot));
        let mut heads: Vec<_> = heads.map(|tip| tip.id).collect();
        heads.sort_unstable();
        Ok(heads)
    }
}
