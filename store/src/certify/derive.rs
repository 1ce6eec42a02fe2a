//! Deriving the next checkpoint over a cut.

use std::sync::Arc;

use quipu_merge::{
    CertifiedCuts, Chain, Checkpoint, Clock, CutBlock, EventId, Height, LogTree, Micros,
    StateNodes, StateUpdate, ValidatorsBlock, event_leaf_hash, update_state,
};

use super::finality::number_of;
use super::fold::{FinalEvent, Fold, Op, read_between};
use super::read::LogHashes;
use super::source::FinalRecords;
use super::staged::Staged;
use super::{Derivation, DeriveError, leaves};
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
        Ok(self.derive_staged(heads)?.derivation.clone())
    }

    pub(super) fn derive_staged(&self, heads: &[EventId]) -> Result<Arc<Staged>, DeriveError> {
        let snapshot = self.snapshot()?;
        let finality = snapshot.published().finality.clone();
        let clock = snapshot.clock_of_heads(heads)?;
        let last = finality.cuts.latest();
        if !last.within(&clock) || clock.within(last) {
            return Err(DeriveError::NotBeyond);
        }
        let heads = snapshot.heads_within(&clock)?;
        let count = heads.len();
        let cut = CutBlock::new(heads).map_err(|_| DeriveError::TooManyHeads(count))?;
        if let Some(staged) = self.staged.find(finality.chain.tip(), cut.seal().0) {
            return Ok(staged);
        }
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
        let staged = Arc::new(base.derive(&snapshot, clock, cut)?);
        self.staged.keep(staged.clone());
        Ok(staged)
    }
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

impl<N: StateNodes<Error: std::error::Error + 'static>> Base<'_, N> {
    /// Derives the next checkpoint over a cut that contains the last, with these heads.
    pub fn derive(
        self,
        snapshot: &Snapshot<'_>,
        clock: Clock,
        cut: CutBlock,
    ) -> Result<Staged, DeriveError> {
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
        let mut ops = Vec::with_capacity(3 * events.len());
        let place = (number_of(height), log.size());
        append(&mut log, &events, &mut ops);
        boundaries(cuts, &clock, height, &mut ops);
        let cells = Fold::run(snapshot, records, &verdicts, place, &events, &mut ops)?;
        let mut changes = leaves::changes(records, &cells)?;
        drop(cells);
        changes.extend(leaves::role_changes(records, &verdicts.roles(), &mut ops)?);
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
        tree_ops(height, state, &mut ops);
        let malformed = |why| StorageError::damaged(format!("a derived checkpoint: {why}"));
        let (id, _) = checkpoint.seal().map_err(malformed)?;
        let new_events = events.len() as u64;
        let derivation = Derivation { id, checkpoint, cut, validators, new_events, newest };
        Ok(Staged { derivation, clock, ops })
    }
}

/// Appends to the certified log.
fn append(log: &mut LogTree, events: &[FinalEvent], ops: &mut Vec<Op>) {
    for event in events {
        let key = certified::log(log.size()).to_vec();
        let mut entry = Vec::with_capacity(80);
        put_dot(&mut entry, event.dot);
        log.append(event_leaf_hash(event.id)).iter().for_each(|hash| entry.extend(hash));
        ops.push(Op::put(Family::Final, key, entry));
    }
}

/// How far the cut goes on the lanes on which it goes further than those before.
fn boundaries(certified: &CertifiedCuts, cut: &Clock, height: Height, ops: &mut Vec<Op>) {
    let mut record = Vec::with_capacity(8);
    put_number(&mut record, height.0);
    let further = cut.iter().filter(|dot| !certified.covers(*dot));
    ops.extend(
        further
            .map(|dot| Op::put(Family::Final, certified::boundary(dot).to_vec(), record.clone())),
    );
}

fn tree_ops(height: Height, state: StateUpdate, ops: &mut Vec<Op>) {
    let nodes = state.nodes.into_iter();
    ops.extend(nodes.map(|(key, node)| Op::put(Family::Tree, tree::node(&key), node)));
    let stale = state.stale.iter();
    ops.extend(stale.map(|key| Op::put(Family::Tree, tree::stale(height, key), Vec::new())));
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
