//! What the dishonest validators of a world know together, and how they share out their lies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use quipu_merge::{AuthorKey, CheckpointId};
use quipu_proto::{Id, Parts};

use super::keys;

/// What all of them have.
pub type Common = Arc<Mutex<Known>>;

/// What one of them knows, all of them know.
#[derive(Default)]
pub struct Known {
    /// Who they are.
    pub liars: BTreeSet<usize>,
    /// What has been proposed in earnest, by others or by themselves.
    all: BTreeMap<CheckpointId, Parts>,
    /// The first two of each height: these are what they push.
    pair: BTreeMap<u64, Vec<CheckpointId>>,
}

impl Known {
    /// Something has been proposed in earnest.
    pub fn learn(&mut self, parts: &Parts) {
        let id = parts.id();
        let pair = self.pair.entry(parts.checkpoint().height.0).or_default();
        if pair.len() < 2 && !pair.contains(&id) {
            pair.push(id);
        }
        self.all.entry(id).or_insert_with(|| parts.clone());
    }

    pub fn get(&self, id: CheckpointId) -> Option<&Parts> {
        self.all.get(&id)
    }

    /// Another of a height than this one.
    pub fn another(&self, than: &Parts) -> Option<&Parts> {
        let pair = self.pair.get(&than.checkpoint().height.0)?;
        pair.iter().find(|id| **id != than.id()).and_then(|id| self.all.get(id))
    }

    /// What to vote for in a height, before one half and before the other.
    pub fn votes(&self, height: u64) -> [Option<Id>; 2] {
        let pair = self.pair.get(&height);
        [0, 1].map(|at| pair.and_then(|pair| pair.get(at)).map(|id| Id(*id)))
    }
}

/// In which half of so many validators one is, in a round: it is the same whichever liar asks.
pub fn half(whom: AuthorKey, round: u32, validators: usize) -> usize {
    let place = (keys::number(whom) + round as usize) % validators;
    usize::from(place * 2 >= validators)
}
