//! Holds what nodes think that they have of others to what those had.

use std::collections::{BTreeMap, BTreeSet};

use quipu_proto::{Channel, Message};

use super::store::Store;

#[derive(Debug, Default)]
pub struct Levels {
    /// How many events a node held when it told its frontier: by its peer, itself, and the number of
    /// the comparison.
    told: BTreeMap<(usize, usize, u64), usize>,
    /// What of that a node has heard last: by itself and its peer.
    heard: BTreeMap<(usize, usize), usize>,
    /// Who has noticed since they were linked that it has all that another had.
    level: BTreeSet<(usize, usize)>,
    /// Who noticed that wrongly, of whom.
    pub wrong: Vec<(usize, usize)>,
}

impl Levels {
    /// A node that holds so many events sends a message.
    pub fn sent(&mut self, (from, to): (usize, usize), message: &Message, held: usize) {
        if let Message::Compare(compare) = message {
            self.told.insert((to, from, compare.round), held);
        }
    }

    pub fn arrived(&mut self, (from, to): (usize, usize), channel: Channel, bytes: &[u8]) {
        if let Ok(Some(Message::Compare(compare))) = Message::decode(channel, bytes)
            && let Some(held) = self.told.remove(&(to, from, compare.round))
        {
            self.heard.insert((to, from), held);
        }
    }

    /// A node thinks that it has all that another had when that told its frontier last.
    pub fn noticed(&mut self, (at, peer): (usize, usize), own: &Store, theirs: &Store) {
        self.level.insert((at, peer));
        let held = self.heard.get(&(at, peer)).copied().unwrap_or(usize::MAX);
        if !own.knows(theirs, held) {
            self.wrong.push((at, peer));
        }
    }

    pub fn has_noticed(&self, at: usize, peer: usize) -> bool {
        self.level.contains(&(at, peer))
    }

    /// Two are no longer linked.
    pub fn parted(&mut self, one: usize, other: usize) {
        for ends in [(one, other), (other, one)] {
            self.level.remove(&ends);
            self.heard.remove(&ends);
            self.told.retain(|(to, from, _), _| (*to, *from) != ends);
        }
    }
}
