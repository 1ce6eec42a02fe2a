//! The values of a store in memory: an opening for each value, and a block that it refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use quipu_merge::{BlockId, Body, Codec, EventId, OpeningId, Operation};
use quipu_proto::{Item, Packet, ValuePlace};

use super::author;

#[derive(Debug, Default)]
pub struct Values {
    here: BTreeMap<Item, Vec<u8>>,
    lacking: BTreeSet<Item>,
    /// What opens the value of an event.
    ids: BTreeMap<EventId, OpeningId>,
}

impl Values {
    /// An event is held: what there is of its value is wanted.
    pub fn want(&mut self, event: EventId, packet: &Packet) {
        let body = Body::decode(&packet.body).unwrap();
        let Some(id) = body.data().first().and_then(Operation::value) else { return };
        self.ids.insert(event, id);
        self.lack(opening(event));
        for came in &packet.openings {
            self.take(Item::Opening { event, slot: came.slot }, came.opening.clone());
        }
        if let Some(bytes) = self.here.get(&opening(event)) {
            let block = block(bytes);
            self.lack(block);
        }
    }

    fn lack(&mut self, item: Item) {
        if !self.here.contains_key(&item) {
            self.lacking.insert(item);
        }
    }

    pub fn get(&self, item: Item) -> Option<&Vec<u8>> {
        self.here.get(&item)
    }

    /// What is here.
    pub fn here(&self) -> impl Iterator<Item = Item> + '_ {
        self.here.keys().copied()
    }

    /// Takes something in, if it is what it ought to be.
    pub fn take(&mut self, item: Item, bytes: Vec<u8>) -> bool {
        let sound = match item {
            Item::Block(id) => BlockId::of(id.codec, &bytes) == id,
            Item::Opening { event, slot } => {
                slot == 0 && self.ids.get(&event) == Some(&OpeningId::of(&bytes))
            }
        };
        if sound {
            if matches!(item, Item::Opening { .. }) {
                self.lack(block(&bytes));
            }
            self.lacking.remove(&item);
            self.here.insert(item, bytes);
        }
        sound
    }

    /// What is not here of the values of events that are held: openings, and blocks of those that
    /// are here.
    pub const fn lacking(&self) -> &BTreeSet<Item> {
        &self.lacking
    }

    /// Some of it, value by value from the one after `after`, and where to go on.
    pub fn list(&self, after: Option<ValuePlace>, limit: usize) -> (Vec<Item>, Option<ValuePlace>) {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.event));
        let mut items = Vec::new();
        for event in self.ids.range((from, Bound::Unbounded)).map(|(event, _)| *event) {
            let block = self.here.get(&opening(event)).map(|opening| block(opening));
            let of_value = [Some(opening(event)), block].into_iter().flatten();
            items.extend(of_value.filter(|item| self.lacking.contains(item)));
            if items.len() >= limit {
                return (items, Some(ValuePlace { event, slot: 0 }));
            }
        }
        (items, None)
    }

    /// A value of this node's own.
    pub fn put(&mut self, event: EventId, bytes: Vec<u8>) {
        let content = author::block(&bytes);
        self.take(opening(event), bytes.clone());
        self.take(block(&bytes), content);
    }
}

const fn opening(event: EventId) -> Item {
    Item::Opening { event, slot: 0 }
}

fn block(opening: &[u8]) -> Item {
    Item::Block(BlockId::of(Codec::Raw, &author::block(opening)))
}
