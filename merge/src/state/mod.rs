//! The state of a cut: what the operations of its events come to.

mod counter;
mod list;
mod register;
mod set;

use std::collections::BTreeMap;

pub use counter::Counter;
pub use list::List;
pub use register::{Register, Write};
pub use set::Set;

use crate::body::{Key, Operation};
use crate::certified::CutNumber;
use crate::clock::{Clock, Dot};
use crate::id::{AuthorKey, EventId, Micros, OpeningId};
use crate::log_tree::LogTree;
use crate::state_root::{Leaf, list_entry_hash};

/// The place of an event in the total order of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of the first certified cut that holds it.
    pub number: CutNumber,
    /// When it says that it was written.
    pub time: Micros,
    /// Its id.
    pub id: EventId,
}

/// An event that is not void, as the state sees it.
#[derive(Clone, Copy, Debug)]
pub struct Effect<'a> {
    /// Its place in the total order.
    pub place: Place,
    /// Who wrote it.
    pub author: AuthorKey,
    /// Its local name.
    pub dot: Dot,
    /// What it has seen, itself included.
    pub clock: &'a Clock,
    /// What it does.
    pub operations: &'a [Operation],
}

/// A value as an operation names it: by the opening, which must be its author's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueRef {
    /// The event.
    pub dot: Dot,
    /// The index of the operation in its body.
    pub slot: u32,
    /// The author of the event.
    pub author: AuthorKey,
    /// The opening that it names.
    pub opening: OpeningId,
}

/// Registers, counters, sets and lists, folded from effects.
///
/// Effects may be applied in any order that follows causality.
#[derive(Clone, Debug, Default)]
pub struct State {
    registers: BTreeMap<Key, Register>,
    counters: BTreeMap<Key, Counter>,
    sets: BTreeMap<Key, Set>,
    lists: BTreeMap<Key, List>,
}

impl State {
    /// The state of no events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one event. Everything that it follows must have been applied before.
    pub fn apply(&mut self, effect: &Effect<'_>) {
        self.apply_some(effect, (0..).zip(effect.operations));
    }

    /// Applies some of the operations of an event, by their indexes in its body, in the place of those of
    /// `effect`.
    pub fn apply_some<'o>(
        &mut self,
        effect: &Effect<'_>,
        operations: impl Iterator<Item = (u32, &'o Operation)>,
    ) {
        let value =
            |slot, opening| ValueRef { dot: effect.dot, slot, author: effect.author, opening };
        let mut writes = BTreeMap::new();
        let mut members = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (index, operation) in operations {
            match operation {
                Operation::Put { key, value: opening } => {
                    writes.insert(key, Some(value(index, *opening)));
                }
                Operation::Del { key } => {
                    writes.insert(key, None);
                }
                Operation::Inc { key, by } => {
                    self.counters.entry(key.clone()).or_default().add(effect.dot.lane, by.get());
                }
                Operation::Add { key, member } => {
                    members.entry(key).or_default().insert(member, true);
                }
                Operation::Rem { key, member } => {
                    members.entry(key).or_default().insert(member, false);
                }
                Operation::Append { key, value: opening } => {
                    let list = self.lists.entry(key.clone()).or_default();
                    list.append(effect.place, index, value(index, *opening));
                }
            }
        }
        for (key, value) in writes {
            self.registers.entry(key.clone()).or_default().apply(effect, value);
        }
        for (key, members) in members {
            self.sets.entry(key.clone()).or_default().apply(effect, &members);
        }
    }

    /// Begins with what a counter has come to by events that are not applied.
    pub fn begin_counter(&mut self, key: Key, sum: i128) {
        self.counters.entry(key).or_default().begin(sum);
    }

    /// The registers that exist, by key.
    pub fn registers(&self) -> impl Iterator<Item = (&Key, Vec<Write>)> {
        self.registers.iter().map(|(key, r)| (key, r.puts())).filter(|(_, puts)| !puts.is_empty())
    }

    /// The counters that exist, by key.
    pub fn counters(&self) -> impl Iterator<Item = (&Key, &Counter)> {
        self.counters.iter()
    }

    /// The sets that exist, by key.
    pub fn sets(&self) -> impl Iterator<Item = (&Key, &Set)> {
        self.sets.iter().filter(|(_, set)| !set.is_empty())
    }

    /// The lists that exist, by key.
    pub fn lists(&self) -> impl Iterator<Item = (&Key, &List)> {
        self.lists.iter()
    }

    /// The leaves of the tree over the state and what its authors hold, in no order.
    pub fn leaves(&self, roles: &BTreeMap<AuthorKey, Vec<&'static str>>) -> Vec<Leaf> {
        let entry = |write: &Write| Some((write.place.id, write.value?.opening));
        let registers = self.registers().map(|(key, puts)| {
            Leaf::register(key, &puts.iter().filter_map(entry).collect::<Vec<_>>())
        });
        let counters = self.counters().map(|(key, sum)| Leaf::counter(key, sum));
        let sets = self.sets().map(|(key, set)| Leaf::set(key, &set.members()));
        let lists = self.lists().map(|(key, list)| {
            let mut tree = LogTree::new();
            list.values().for_each(|(event, value)| {
                tree.append(list_entry_hash(event, value.opening));
            });
            Leaf::list(key, &tree)
        });
        let members = roles.iter().map(|(author, held)| Leaf::member(author, held));
        registers.chain(counters).chain(sets).chain(lists).chain(members).collect()
    }
}
