//! A node with its store, and what it is like.

use std::collections::BTreeMap;

use quipu_proto::{Node, Ticket, VERSION, Version};

use super::byzantine::Byzantine;
use super::store::Store;

pub struct Member {
    pub node: Option<Node>,
    pub store: Store,
    pub version: Version,
    pub byzantine: Option<Byzantine>,
    /// How far its wall clock is ahead, in microseconds.
    pub skew: i64,
    /// How many times longer its store takes.
    pub slowness: u64,
    /// Grows with each start: answers to an earlier life come to nobody.
    pub life: u64,
    pub wake: Option<u64>,
    /// How many events the store held before each task whose answer is under way.
    pub untold: BTreeMap<Ticket, usize>,
}

impl Member {
    pub const fn new(store: Store) -> Self {
        Self {
            node: None,
            store,
            version: VERSION,
            byzantine: None,
            skew: 0,
            slowness: 1,
            life: 0,
            wake: None,
            untold: BTreeMap::new(),
        }
    }

    /// How many events the node has been told that the store holds.
    pub fn told_of(&self) -> usize {
        self.untold.values().min().copied().unwrap_or_else(|| self.store.len())
    }
}
