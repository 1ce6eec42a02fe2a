//! What is certified: every checkpoint is derived again, from the first on, and compared.

use std::collections::BTreeMap;

use quipu_merge::{
    CertifiedCuts, Chain, Clock, EventId, Height, LogTree, StateNodes, Trust, check_chain,
    event_leaf_hash,
};

use super::{Check, hex, start};
use crate::certify::{
    self, Base, CertifiedCheckpoint, DeriveError, Derived, Op, ProveError, records,
};
use crate::error::{ReadError, StorageError};
use crate::lookup::Stored;
use crate::record;
use crate::schema::{Family, certified, checkpoints, meta, tree};
use crate::shallow::Floor;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Replays all certified checkpoints and compares.
pub fn check(check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
    let last = check.snapshot.certified_height();
    let Some(replay) = Replay::run(check, last)? else { return Ok(()) };
    replay.compare(check)?;
    for tag in [checkpoints::PENDING, checkpoints::DIVERGED] {
        check.each(Family::Final, &[tag], |check, _, record| {
            let read = match tag {
                checkpoints::PENDING => certify::unpack(record).map(drop),
                _ => certify::unpack_divergence(record).map(drop),
            };
            check.sound("a checkpoint that does not count", read).map(drop)
        })?;
    }
    check.each(Family::Final, &[checkpoints::COSIGNED], |check, _, record| {
        if !certify::is_cosigned(record) {
            check.find("the lines of a checkpoint's note cannot be read");
        }
        Ok(())
    })?;
    check_state(check, &replay)
}

/// Replays the certified checkpoints up to a height.
pub fn check_up_to(check: &mut Check<'_, '_, '_>, height: Height) -> Result<(), StorageError> {
    let Some(replay) = Replay::run(check, Some(height))? else { return Ok(()) };
    check_state(check, &replay)
}

/// The tree over the state of the last height that was replayed.
#[derive(Default)]
struct Nodes(Records);

impl StateNodes for Nodes {
    type Error = std::convert::Infallible;

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error> {
        Ok(self.0.get(&tree::node(key)).cloned())
    }
}

struct Replay {
    chain: Chain,
    cuts: CertifiedCuts,
    log: LogTree,
    /// How many records of the log, of boundaries and of lists there should be, and of checkpoints.
    written: u64,
    /// The records of the certified state.
    records: Records,
    nodes: Nodes,
    /// How many checkpoints name other validators than those that certified them.
    turns: u64,
}

impl Replay {
    /// Replays the checkpoints up to a height; nothing where they are not sound.
    fn run(
        check: &mut Check<'_, '_, '_>,
        last: Option<Height>,
    ) -> Result<Option<Self>, StorageError> {
        let begun = match check.floor {
            None => Some(Self::begin(check)),
            Some(floor) => Self::begin_at(check, floor)?,
        };
        let Some(mut replay) = begun else { return Ok(None) };
        let mut next = replay.chain.next_height();
        while let Some(height) = next.filter(|height| Some(*height) <= last) {
            let found = sound(check, height, |check| check.snapshot.checkpoint(height))?;
            let Some(Some(certified)) = found else { break };
            if !replay.checkpoint(check, &certified)? {
                return Ok(None);
            }
            next = height.next();
        }
        if replay.chain.height() != last {
            check.find("the chain of checkpoints has a gap");
            return Ok(None);
        }
        Ok(Some(replay))
    }

    fn begin(check: &Check<'_, '_, '_>) -> Self {
        let authority = &check.snapshot.published().authority;
        Self {
            chain: Chain::new(authority.ledger(), authority.genesis()),
            cuts: CertifiedCuts::new(),
            log: LogTree::new(),
            written: 0,
            records: Records::new(),
            nodes: Nodes::default(),
            turns: 0,
        }
    }

    /// Begins where a shallow store starts, with what is kept of that.
    fn begin_at(
        check: &mut Check<'_, '_, '_>,
        floor: &Floor,
    ) -> Result<Option<Self>, StorageError> {
        let height = floor.height();
        let trusted = sound(check, height, |check| chain_to(check, height))?;
        let Some(chain) = trusted else { return Ok(None) };
        let cuts = start::cuts(check, floor)?;
        let verdicts = check.snapshot.judge(cuts.latest(), &cuts);
        let Some(start) = check.start.take() else { return Ok(None) };
        let state = start::state(check, floor, &start, &cuts, &verdicts);
        let Some(state) = check.sound("what the store starts with", state)? else {
            return Ok(None);
        };
        let log = LogTree::resume(chain.size(), &check.snapshot.log_hashes());
        let log = log.map_err(|error| StorageError::damaged(error.to_string()));
        let Some(log) = check.sound("the certified log", log)? else { return Ok(None) };
        let header = records::checkpoint(check.reader(), height)?;
        if log.root() != header.root {
            check.find(format!("the hashes of the log are not those of checkpoint {height}"));
        }
        let nodes = state.tree.nodes.iter().map(|(key, node)| (tree::node(key), node.clone()));
        let nodes = Nodes(nodes.collect());
        let (written, records) = (state.others, state.records);
        Ok(Some(Self { chain, cuts, log, written, records, nodes, turns: 0 }))
    }

    /// Whether to go on.
    fn checkpoint(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        certified: &CertifiedCheckpoint,
    ) -> Result<bool, StorageError> {
        let CertifiedCheckpoint { checkpoint, certificate, cut, validators } = certified;
        let height = checkpoint.height;
        let clock = sound(check, height, |check| check.snapshot.clock_of_heads(cut.heads()))?;
        let Some(clock) = clock else { return Ok(false) };
        if !self.cuts.latest().within(&clock) {
            check.find(format!("checkpoint {height}: its cut does not contain the one before"));
            return Ok(false);
        }
        let derived = sound(check, height, |check| self.derive(check, certified, clock))?;
        let Some((derived, ops)) = derived else { return Ok(false) };
        let Derived { derivation, clock } = derived;
        // Before the checkpoint up to which bodies are gone, states had what they wrote.
        let known = !is_before_gone(check, height);
        let mut derived = derivation.checkpoint;
        derived.state = if known { derived.state } else { checkpoint.state };
        if derived != *checkpoint {
            check.find(format!("checkpoint {height}: it is not what its events come to"));
        }
        let turns = self.chain.validators() != validators.keys();
        self.turns += u64::from(turns);
        if check.get(Family::Final, &checkpoints::turn(height))?.is_some() != turns {
            check.find(format!("checkpoint {height}: the mark of new validators is wrong"));
        }
        if let Err(why) = self.chain.accept(checkpoint, certificate, validators) {
            check.find(format!("checkpoint {height}: {why}"));
            return Ok(false);
        }
        check.derived.checkpoints += 1;
        check.derived.events += derived.size.saturating_sub(self.log.size());
        self.cuts.push(&clock);
        self.written += 4;
        for op in ops {
            self.apply(check, height, op)?;
        }
        Ok(true)
    }

    fn derive(
        &self,
        check: &Check<'_, '_, '_>,
        certified: &CertifiedCheckpoint,
        clock: Clock,
    ) -> Result<(Derived, Vec<Op>), ReadError> {
        let base = Base {
            cuts: &self.cuts,
            chain: &self.chain,
            log: self.log.clone(),
            records: &self.records,
            nodes: &self.nodes,
        };
        let mut ops = Vec::new();
        let derived = base.derive(check.snapshot, clock, certified.cut.clone(), &mut ops);
        let derived = derived.map_err(|error| match error {
            DeriveError::Storage(error) => error,
            other => StorageError::damaged(other.to_string()),
        })?;
        Ok((derived, ops))
    }

    /// What stays as it is is compared at once, and the rest at last.
    fn apply(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        height: Height,
        op: Op,
    ) -> Result<(), StorageError> {
        let Op { family, key, value } = op;
        match (family, key.first().copied(), value) {
            (Family::Tree, Some(tree::STALE), _) => {
                let node = tree::parse_stale(&key).map(|(_, node)| tree::node(node));
                node.and_then(|node| self.nodes.0.remove(&node));
            }
            (Family::Tree, _, Some(node)) => drop(self.nodes.0.insert(key, node)),
            (_, Some(certified::STATE | certified::ROLES), Some(record)) => {
                self.records.insert(key, record);
            }
            (_, _, None) => drop(self.records.remove(&key)),
            (_, tag, Some(record)) => {
                self.written += 1;
                if tag == Some(certified::LOG) {
                    self.append(check, &record)?;
                }
                if check.get(Family::Final, &key)?.as_deref() != Some(&record) {
                    check.find(format!("checkpoint {height}: its record {} is another", hex(&key)));
                }
            }
        }
        Ok(())
    }

    /// Appends the event of an entry to the log.
    fn append(&mut self, check: &Check<'_, '_, '_>, entry: &[u8]) -> Result<(), StorageError> {
        let damaged = || StorageError::damaged("an entry of the certified log");
        let dot = record::Reader(entry).dot().ok_or_else(damaged)?;
        let stored = Stored::read(check.reader(), dot)?;
        self.log.append(event_leaf_hash(EventId::of(stored.record()?.event)));
        Ok(())
    }

    /// Compares what is left with what is kept.
    fn compare(&self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        let final_records = (Family::Final, "the certified state", &self.records);
        let nodes = (Family::Tree, "the tree over the certified state", &self.nodes.0);
        // Nodes are named after the heights that brought them in, which tell what has been pruned.
        let regrown = check.gone.is_some() || check.get(Family::Meta, meta::REGROWN)?.is_some();
        let compared = if regrown { vec![final_records] } else { vec![final_records, nodes] };
        for (family, what, records) in compared {
            let mut wrong = 0_u64;
            for (key, record) in records {
                wrong += u64::from(check.get(family, key)?.as_deref() != Some(record));
            }
            if wrong > 0 {
                check.find(format!("{wrong} records of {what} are not what they should be"));
            }
        }
        if regrown {
            self.check_tree(check)?;
        }
        let expected = self.written + self.records.len() as u64 + self.turns;
        let mut found = 0_u64;
        check.each(Family::Final, &[], |_, key, _| {
            const ASIDE: [u8; 3] =
                [checkpoints::PENDING, checkpoints::DIVERGED, checkpoints::COSIGNED];
            found += u64::from(key.first().is_none_or(|tag| !ASIDE.contains(tag)));
            Ok(())
        })?;
        if found != expected {
            check.find(format!(
                "there are {found} records of what is certified where {expected} should be"
            ));
        }
        Ok(())
    }
}

impl Replay {
    /// Every leaf of the last certified state is in its tree, under the root of the checkpoint.
    fn check_tree(&self, check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
        let Some(height) = self.chain.height() else { return Ok(()) };
        let keys = self.records.keys().map(Vec::as_slice);
        let wrong = check.snapshot.leaves_not_in_tree(height, &self.records, keys);
        if let Some(wrong) = check.sound("the tree over the certified state", wrong)?
            && wrong > 0
        {
            check.find(format!("{wrong} keys of the certified state are not in the tree over it"));
        }
        Ok(())
    }
}

/// The chain up to a height, by the checkpoints that lead there from the first event.
fn chain_to(check: &Check<'_, '_, '_>, height: Height) -> Result<Chain, ReadError> {
    let damaged = |why: &dyn std::fmt::Display| StorageError::damaged(why.to_string());
    let (start, steps) = check.snapshot.steps_to(height).map_err(|error| match error {
        ProveError::Read(error) => error,
        other => damaged(&other).into(),
    })?;
    let trust = Trust::Genesis(check.snapshot.ledger());
    let certified = check_chain(&start, &steps, trust).map_err(|error| damaged(&error))?;
    let last = certified.last().ok_or_else(|| damaged(&"no checkpoint leads there"))?;
    let chain = Chain::trusting(&last.checkpoint, &last.validators);
    Ok(chain.map_err(|error| damaged(&error))?)
}

/// Whether the state of a height may need bodies that are gone.
fn is_before_gone(check: &Check<'_, '_, '_>, height: Height) -> bool {
    check.gone.as_ref().is_some_and(|(gone, _)| height < *gone)
}

/// Folds the state of the last certified cut at once, by the replicated types.
fn check_state(check: &mut Check<'_, '_, '_>, replay: &Replay) -> Result<(), StorageError> {
    let Some(height) = replay.chain.height().filter(|height| !is_before_gone(check, *height))
    else {
        return Ok(());
    };
    let folded = sound(check, height, |check| {
        let snapshot = check.snapshot;
        let verdicts = snapshot.judge(replay.cuts.latest(), &replay.cuts);
        let (state, _) = snapshot.fold(replay.cuts.latest(), &verdicts)?;
        let header = snapshot.checkpoint(height)?.map(|certified| certified.checkpoint);
        Ok((quipu_merge::state_root(state.leaves(&verdicts.roles())), header))
    })?;
    if let Some((root, Some(header))) = folded
        && root != Ok(header.state)
    {
        check.find(format!("checkpoint {height}: two ways of folding its state disagree"));
    }
    Ok(())
}

/// Makes a finding out of damage, and of what is missing.
fn sound<'s, 'l, 'p, T>(
    check: &mut Check<'s, 'l, 'p>,
    height: Height,
    read: impl FnOnce(&Check<'s, 'l, 'p>) -> Result<T, ReadError>,
) -> Result<Option<T>, StorageError> {
    let read = read(check).map_err(|error| match error {
        ReadError::Storage(error) => error,
        other => StorageError::damaged(other.to_string()),
    });
    check.sound(&format!("checkpoint {height}"), read)
}
