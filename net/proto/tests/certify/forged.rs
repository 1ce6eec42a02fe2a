//! Checkpoints that are none.

use quipu_merge::{Checkpoint, CutBlock, EventId, Micros, ValidatorsBlock};
use quipu_proto::Parts;

use super::keys;
use super::random::Random;

/// One with another cut: one that nobody holds, the one before, one that names an event which precedes
/// another of it, or one that does not grow.
pub fn of_another_cut(random: &mut Random, parts: &Parts, before: Option<&Parts>) -> Option<Parts> {
    let checkpoint = parts.checkpoint().clone();
    let unknown = vec![EventId(random.bytes32())];
    let (heads, checkpoint) = match (random.below(4), before) {
        (1, Some(before)) => (before.cut().heads().to_vec(), checkpoint),
        (2, Some(before)) => {
            let mut heads = [parts.cut().heads(), before.cut().heads()].concat();
            heads.sort_unstable();
            heads.dedup();
            (heads, checkpoint)
        }
        (3, Some(before)) => {
            let last = before.checkpoint();
            let Checkpoint { height, prev, .. } = checkpoint;
            (before.cut().heads().to_vec(), Checkpoint { height, prev, ..last.clone() })
        }
        _ => (unknown, checkpoint),
    };
    let cut = CutBlock::new(heads).ok()?;
    let checkpoint = Checkpoint { cut: cut.seal().0, ..checkpoint };
    Parts::new(checkpoint, cut, parts.validators().clone()).ok()
}

/// One in which a field is wrong.
pub fn of_another_field(random: &mut Random, parts: &Parts) -> Option<Parts> {
    let (mut checkpoint, mut validators) = (parts.checkpoint().clone(), parts.validators().clone());
    match random.below(5) {
        0 => checkpoint.state = random.bytes32(),
        1 => checkpoint.root = random.bytes32(),
        2 => checkpoint.size += 1,
        3 => checkpoint.time = Micros(checkpoint.time.0 + 1),
        _ => {
            let mut all = validators.keys().to_vec();
            // One more, or one less.
            let another = keys::key(keys::COUNT - 2);
            if random.once_in(2) {
                all.remove(0);
            } else {
                all.push(another);
            }
            all.sort_unstable();
            validators = ValidatorsBlock::new(all).ok()?;
            checkpoint.validators = validators.seal().0;
        }
    }
    Parts::new(checkpoint, parts.cut().clone(), validators).ok()
}
