//! Section 6, the state of a cut; and section 8, its leaves.

use std::collections::{BTreeMap, BTreeSet};

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use quipu_merge::{AuthorKey, EventId, OpeningId, Operation};

use super::cut::ModelCut;
use super::tree::{merkle_root, sha256, state_root};
use super::verdicts::Verdicts;
use super::{Index, Model, Set};

/// A value together with the event that wrote it.
pub(super) type Written = (Index, OpeningId);

/// What an event does to a register: a put, or a delete.
type Write = (Index, Option<OpeningId>);
/// What an event does to a member of a set: whether it adds it.
type Move = (Index, bool);

/// What the events of a cut come to.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The values of each register, first the one that counts.
    pub registers: BTreeMap<String, Vec<Written>>,
    /// The sum of each counter.
    pub counters: BTreeMap<String, i128>,
    /// The members of each set, with the adds that put them there.
    pub sets: BTreeMap<String, BTreeMap<Vec<u8>, Vec<EventId>>>,
    /// The values of each list.
    pub lists: BTreeMap<String, Vec<Written>>,
    /// What each author holds.
    pub roles: BTreeMap<AuthorKey, BTreeSet<&'static str>>,
}

/// A leaf of the state tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    /// `r`, `c`, `s`, `l` or `m`.
    pub kind: u8,
    /// The key: text as UTF-8, or an author's key.
    pub key: Vec<u8>,
    /// The encoding of the value.
    pub value: Vec<u8>,
}

impl Leaf {
    /// The hash of the key and the hash of the value.
    pub fn hashes(&self) -> ([u8; 32], [u8; 32]) {
        (sha256(&[&[self.kind, 0], &self.key]), sha256(&[&self.value]))
    }
}

impl Model {
    /// The leaves of the state of a cut, ascending by kind and key.
    pub fn leaves(&self, cut: &ModelCut, certified: &[Vec<EventId>]) -> Vec<Leaf> {
        let set = self.events_of(cut);
        let numbers = self.numbers(certified);
        let verdicts = self.judge(&set, &numbers);
        self.leaves_of(&self.fold(&set, &numbers, &verdicts))
    }

    /// The root of the state of a cut.
    pub fn root(&self, cut: &ModelCut, certified: &[Vec<EventId>]) -> [u8; 32] {
        let leaves = self.leaves(cut, certified);
        state_root(&leaves.iter().map(Leaf::hashes).collect::<Vec<_>>())
    }

    /// Folds the operations of the events that are not void, in the total order.
    pub(super) fn fold(&self, set: &Set, numbers: &[usize], verdicts: &Verdicts) -> State {
        let mut state = State { roles: self.roles_over(set, verdicts), ..State::default() };
        let mut writes: BTreeMap<String, Vec<Write>> = BTreeMap::new();
        let mut moves: BTreeMap<(String, Vec<u8>), Vec<Move>> = BTreeMap::new();
        let mut order = self.sorted(set, numbers);
        order.retain(|e| !verdicts.void.contains(e));
        for e in order {
            for operation in self.held[e].body.data() {
                let key = operation.key().to_string();
                match operation {
                    Operation::Put { value, .. } => {
                        last_counts(writes.entry(key).or_default(), e, Some(*value));
                    }
                    Operation::Del { .. } => {
                        last_counts(writes.entry(key).or_default(), e, None);
                    }
                    Operation::Add { member, .. } => {
                        let member = member.as_bytes().to_vec();
                        last_counts(moves.entry((key, member)).or_default(), e, true);
                    }
                    Operation::Rem { member, .. } => {
                        let member = member.as_bytes().to_vec();
                        last_counts(moves.entry((key, member)).or_default(), e, false);
                    }
                    Operation::Inc { by, .. } => {
                        *state.counters.entry(key).or_insert(0) += i128::from(by.get());
                    }
                    Operation::Append { value, .. } => {
                        state.lists.entry(key).or_default().push((e, *value));
                    }
                }
            }
        }
        for (key, writes) in writes {
            let last = self.that_precede_none(&writes);
            let puts = last.into_iter().rev().filter_map(|(e, put)| Some((e, put?)));
            let puts = puts.collect::<Vec<Written>>();
            if !puts.is_empty() {
                state.registers.insert(key, puts);
            }
        }
        for ((key, member), moves) in moves {
            let last = self.that_precede_none(&moves);
            let adds = last.into_iter().filter(|&(_, add)| add).map(|(e, _)| self.held[e].id);
            let mut adds = adds.collect::<Vec<EventId>>();
            adds.sort();
            if !adds.is_empty() {
                state.sets.entry(key).or_default().insert(member, adds);
            }
        }
        state
    }

    /// Those of some operations whose events precede no other's.
    fn that_precede_none<T: Copy>(&self, operations: &[(Index, T)]) -> Vec<(Index, T)> {
        let precedes_any = |e: Index| operations.iter().any(|&(later, _)| self.precedes(e, later));
        operations.iter().copied().filter(|&(e, _)| !precedes_any(e)).collect()
    }

    /// The leaves of a state.
    pub(super) fn leaves_of(&self, state: &State) -> Vec<Leaf> {
        let written = |&(e, opening): &Written| {
            Ipld::List(vec![
                link(self.held[e].id.block().to_bytes()),
                link(opening.block().to_bytes()),
            ])
        };
        let mut leaves = Vec::new();
        let mut leaf = |kind, key: &[u8], value: Ipld| {
            leaves.push(Leaf { kind, key: key.to_vec(), value: encode(&value) });
        };
        for (key, sum) in &state.counters {
            leaf(b'c', key.as_bytes(), Ipld::String(sum.to_string()));
        }
        for (key, values) in &state.lists {
            let entries = values.iter().map(|value| encode(&written(value))).collect::<Vec<_>>();
            let count = Ipld::Integer(entries.len() as i128);
            let root = Ipld::Bytes(merkle_root(&entries).to_vec());
            leaf(b'l', key.as_bytes(), Ipld::List(vec![count, root]));
        }
        for (who, words) in &state.roles {
            let words = words.iter().map(|word| Ipld::String((*word).to_owned()));
            leaf(b'm', &who.0, Ipld::List(words.collect()));
        }
        for (key, values) in &state.registers {
            leaf(b'r', key.as_bytes(), Ipld::List(values.iter().map(written).collect()));
        }
        for (key, members) in &state.sets {
            let members = members.iter().map(|(member, adds)| {
                let adds = adds.iter().map(|add| link(add.block().to_bytes())).collect();
                Ipld::List(vec![Ipld::Bytes(member.clone()), Ipld::List(adds)])
            });
            leaf(b's', key.as_bytes(), Ipld::List(members.collect()));
        }
        leaves
    }
}

/// Notes what an event does; of several operations in one event the last counts.
fn last_counts<T>(operations: &mut Vec<(Index, T)>, e: Index, what: T) {
    operations.retain(|&(other, _)| other != e);
    operations.push((e, what));
}

fn link(cid: [u8; 36]) -> Ipld {
    Ipld::Link(Cid::try_from(cid.as_slice()).expect("the id of a block is a CID"))
}

fn encode(value: &Ipld) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("memory takes every value without floats")
}
