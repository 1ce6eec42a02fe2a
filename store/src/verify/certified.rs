//! What is certified: the chain, the log, how far its cuts go, and the state of the last of them.

use quipu_merge::{
    AuthorKey, CertifiedCuts, Chain, Checkpoint, Clock, Height, Leaf, LogTree, Micros, Operation,
    event_leaf_hash, prove_state,
};

use super::Check;
use crate::certify::{CertifiedCheckpoint, FinalEvent, TreeNodes, read_between};
use crate::error::{ReadError, StorageError};
use crate::judge::key_of;
use crate::record::{put_dot, put_number};
use crate::schema::{Family, certified, checkpoints};

/// Replays all certified checkpoints and compares.
pub fn check(check: &mut Check<'_, '_, '_>) -> Result<(), StorageError> {
    let Some(replay) = Replay::run(check, None)? else { return Ok(()) };
    for (family, tag, what, expected) in [
        (Family::Final, certified::LOG, "entries of the certified log", replay.tree.size()),
        (Family::Final, certified::BOUNDARY, "marks of how far cuts go", replay.boundaries),
        (Family::Final, certified::ELEMENT, "entries of certified lists", replay.elements),
        (Family::Checkpoints, checkpoints::TURN, "marks of new validators", replay.turns),
    ] {
        let found = check.each(family, &[tag], |_, _, _| Ok(()))?;
        if found != expected {
            check.find(format!("there are {found} {what} where {expected} should be"));
        }
    }
    let parts = check.each(Family::Checkpoints, &[checkpoints::KEPT], |_, _, _| Ok(()))?;
    if parts != 4 * u64::from(replay.cuts.len()) {
        check.find("there are records of checkpoints that do not belong there");
    }
    for tag in [checkpoints::PENDING, checkpoints::DIVERGED] {
        check.each(Family::Checkpoints, &[tag], |check, _, record| {
            let read = match tag {
                checkpoints::PENDING => crate::certify::unpack(record).map(drop),
                _ => crate::certify::unpack_divergence(record).map(drop),
            };
            check.sound("a checkpoint that does not count", read).map(drop)
        })?;
    }
    let Some(leaves) = check_state(check, &replay)? else { return Ok(()) };
    check_kept(check, leaves)
}

/// Replays the certified checkpoints up to a height, and folds the state of that one. Tells how many
/// events it holds.
pub fn check_up_to(check: &mut Check<'_, '_, '_>, height: Height) -> Result<u64, StorageError> {
    let Some(replay) = Replay::run(check, Some(height))? else { return Ok(0) };
    check_state(check, &replay)?;
    Ok(replay.tree.size())
}

struct Replay {
    chain: Chain,
    /// The keys that certified the last checkpoint.
    certifying: Vec<AuthorKey>,
    /// The largest time in the last cut.
    time: Micros,
    cuts: CertifiedCuts,
    tree: LogTree,
    boundaries: u64,
    elements: u64,
    turns: u64,
}

impl Replay {
    /// Replays all checkpoints, or those up to a height; nothing where they are not sound.
    fn run(
        check: &mut Check<'_, '_, '_>,
        up_to: Option<Height>,
    ) -> Result<Option<Self>, StorageError> {
        let authority = &check.snapshot.published().authority;
        let mut replay = Self {
            chain: Chain::new(authority.ledger(), authority.genesis()),
            certifying: Vec::new(),
            time: Micros(0),
            cuts: CertifiedCuts::new(),
            tree: LogTree::new(),
            boundaries: 0,
            elements: 0,
            turns: 0,
        };
        let last = up_to.or(check.snapshot.certified_height());
        let mut next = Some(Height::FIRST);
        while let Some(height) = next.filter(|height| Some(*height) <= last) {
            let read = sound(check, height, |check| check.snapshot.checkpoint(height))?;
            let Some(found) = read else { return Ok(None) };
            let Some(certified) = found else { break };
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

    /// Whether to go on.
    fn checkpoint(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        certified: &CertifiedCheckpoint,
    ) -> Result<bool, StorageError> {
        let CertifiedCheckpoint { checkpoint, certificate, cut, validators } = certified;
        let height = checkpoint.height;
        self.certifying = self.chain.validators().to_vec();
        if let Err(why) = self.chain.accept(checkpoint, certificate, validators) {
            check.find(format!("checkpoint {height}: {why}"));
            return Ok(false);
        }
        if cut.seal().0 != checkpoint.cut {
            check.find(format!("checkpoint {height}: its cut is another"));
            return Ok(false);
        }
        let clock = sound(check, height, |check| check.snapshot.clock_of_heads(cut.heads()))?;
        let Some(clock) = clock else { return Ok(false) };
        if !self.cuts.latest().within(&clock) {
            check.find(format!("checkpoint {height}: its cut does not contain the one before"));
            return Ok(false);
        }
        let events = read_between(check.snapshot, self.cuts.latest(), &clock);
        let Some(events) = check.sound(&format!("checkpoint {height}"), events)? else {
            return Ok(false);
        };
        self.boundaries(check, height, &clock)?;
        self.turn(check, height, validators.keys())?;
        self.time = events.iter().map(|event| event.time).fold(self.time, Micros::max);
        if self.time != checkpoint.time {
            check.find(format!("checkpoint {height}: its time is not the largest of its events"));
        }
        for event in &events {
            self.event(check, height, event)?;
        }
        if (self.tree.size(), self.tree.root()) != (checkpoint.size, checkpoint.root) {
            check.find(format!("checkpoint {height}: its log is not that of its events"));
        }
        self.cuts.push(&clock);
        Ok(true)
    }

    /// Whether the mark is there on a checkpoint that names other validators, and only then.
    fn turn(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        height: Height,
        named: &[AuthorKey],
    ) -> Result<(), StorageError> {
        let turns = self.certifying != named;
        self.turns += u64::from(turns);
        if check.get(Family::Checkpoints, &checkpoints::turn(height))?.is_some() != turns {
            check.find(format!("checkpoint {height}: the mark of new validators is wrong"));
        }
        Ok(())
    }

    fn boundaries(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        height: Height,
        clock: &Clock,
    ) -> Result<(), StorageError> {
        let mut record = Vec::new();
        put_number(&mut record, height.0);
        for dot in clock.iter().filter(|dot| !self.cuts.covers(*dot)) {
            self.boundaries += 1;
            let found = check.get(Family::Final, &certified::boundary(dot))?;
            if found.as_deref() != Some(&record) {
                check.find(format!(
                    "checkpoint {height}: {} is not marked as its last on the lane",
                    super::at(dot)
                ));
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        check: &mut Check<'_, '_, '_>,
        height: Height,
        event: &FinalEvent,
    ) -> Result<(), StorageError> {
        let index = self.tree.size();
        let mut entry = Vec::new();
        put_dot(&mut entry, event.dot);
        self.tree.append(event_leaf_hash(event.id)).iter().for_each(|hash| entry.extend(hash));
        if check.get(Family::Final, &certified::log(index))?.as_deref() != Some(&entry) {
            check.find(format!("checkpoint {height}: entry {index} of the log is another"));
        }
        for (slot, operation) in (0_u16..).zip(event.body.data()) {
            if !matches!(operation, Operation::Append { .. }) {
                continue;
            }
            self.elements += 1;
            let mut entry = Vec::new();
            put_number(&mut entry, u64::from(event.dot.lane.0));
            put_number(&mut entry, event.time.0);
            let key = certified::element(&key_of(operation), index, slot);
            if check.get(Family::Final, &key)?.as_deref() != Some(&entry) {
                check.find(format!("event {}: its value {slot} is not in its list", event.id));
            }
        }
        Ok(())
    }
}

/// Folds the state of the last cut that was replayed again, by the replicated types, and tells its
/// leaves.
fn check_state(
    check: &mut Check<'_, '_, '_>,
    replay: &Replay,
) -> Result<Option<Vec<Leaf>>, StorageError> {
    let Some(height) = replay.chain.height() else { return Ok(None) };
    let folded = sound(check, height, |check| {
        let snapshot = check.snapshot;
        let verdicts = snapshot.judge(replay.cuts.latest(), &replay.cuts);
        let (state, _) = snapshot.fold(replay.cuts.latest(), &verdicts)?;
        let header = snapshot.checkpoint(height)?.map(|certified| certified.checkpoint);
        Ok((state.leaves(&verdicts.roles()), verdicts.validators(), header))
    })?;
    let Some((leaves, validators, Some(header))) = folded else { return Ok(None) };
    let validators = if validators.is_empty() { &replay.certifying } else { &validators };
    if replay.chain.validators() != validators {
        check.find(format!("checkpoint {height}: it names others than its validators"));
    }
    let root = quipu_merge::state_root(leaves.iter().cloned());
    if root.as_ref() != Ok(&header.state) {
        check.find(format!("checkpoint {height}: its state is not what its events come to"));
    }
    let mut roots = 0_u64;
    if check.snapshot.keeps_tree(height) {
        for leaf in &leaves {
            roots += u64::from(proves(check, &header, leaf)?);
        }
        if roots != leaves.len() as u64 {
            let lacking = leaves.len() as u64 - roots;
            check
                .find(format!("checkpoint {height}: its tree lacks {lacking} leaves of its state"));
        }
    }
    Ok(Some(leaves))
}

/// Compares what is kept of the certified state with what it should be.
fn check_kept(check: &mut Check<'_, '_, '_>, mut leaves: Vec<Leaf>) -> Result<(), StorageError> {
    let kept = crate::certify::all_leaves(check.reader());
    let Some(mut kept) = check.sound("the certified state", kept)? else { return Ok(()) };
    leaves.sort_unstable_by_key(|leaf| leaf.key_hash);
    kept.sort_unstable_by_key(|leaf| leaf.key_hash);
    if leaves != kept {
        check.find("the certified state is not what the certified events come to");
    }
    Ok(())
}

/// Whether the tree that is kept shows a leaf.
fn proves(
    check: &mut Check<'_, '_, '_>,
    header: &Checkpoint,
    leaf: &Leaf,
) -> Result<bool, StorageError> {
    let proof = prove_state(&TreeNodes(check.reader()), header.height, leaf.key_hash);
    Ok(proof.is_ok_and(|proof| proof.check(header.state, leaf.key_hash, Some(&leaf.value)).is_ok()))
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
