//! State roots of a vector with one author, whose history is a line and folds by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use quipu_merge::{
    Body, BodyId, CarReader, EventId, Key, Leaf, LogTree, Member, OpeningId, Operation,
    ParsedEvent, Role, list_entry_hash, state_root,
};
use serde_json::Value;

fn vector(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[derive(Default)]
struct Line {
    registers: BTreeMap<Key, (EventId, OpeningId)>,
    counters: BTreeMap<Key, i128>,
    sets: BTreeMap<Key, BTreeMap<Member, BTreeSet<EventId>>>,
    lists: BTreeMap<Key, LogTree>,
}

impl Line {
    fn fold(&mut self, event: EventId, operation: &Operation) {
        let key = operation.key().clone();
        match operation {
            Operation::Put { value, .. } => drop(self.registers.insert(key, (event, *value))),
            Operation::Del { .. } => drop(self.registers.remove(&key)),
            Operation::Inc { by, .. } => {
                *self.counters.entry(key).or_default() += i128::from(by.get());
            }
            Operation::Add { member, .. } => {
                let adds = BTreeSet::from([event]);
                self.sets.entry(key).or_default().insert(member.clone(), adds);
            }
            Operation::Rem { member, .. } => {
                drop(self.sets.entry(key).or_default().remove(member));
            }
            Operation::Append { value, .. } => {
                drop(self.lists.entry(key).or_default().append(list_entry_hash(event, *value)));
            }
        }
    }

    fn leaves(&self) -> impl Iterator<Item = Leaf> + '_ {
        let registers = self.registers.iter().map(|(key, write)| Leaf::register(key, &[*write]));
        let counters = self.counters.iter().map(|(key, sum)| Leaf::counter(key, sum));
        let sets = self.sets.iter().filter(|(_, members)| !members.is_empty());
        let lists = self.lists.iter().map(|(key, entries)| Leaf::list(key, entries));
        let sets = sets.map(|(key, members)| Leaf::set(key, members));
        registers.chain(counters).chain(sets).chain(lists)
    }
}

#[test]
fn roots_of_a_line_are_those_of_the_vector() {
    let json: Value = serde_json::from_slice(&vector("one-author.json")).unwrap();
    let file = vector("one-author.car");
    let blocks: BTreeMap<_, _> = CarReader::new(file.as_slice())
        .unwrap()
        .map(|block| block.map(|block| (block.id, block.bytes)).unwrap())
        .collect();
    let mut events: Vec<_> =
        blocks.values().filter_map(|bytes| ParsedEvent::decode(bytes).ok()).collect();
    events.sort_by_key(|event| event.event().seq);
    let cases = json["cases"].as_array().unwrap();
    let (mut line, mut checked) = (Line::default(), 0);
    for (count, event) in (1..).zip(&events) {
        let body: BodyId = event.event().body;
        let body = Body::decode(&blocks[&body.block()]).unwrap();
        body.data().iter().for_each(|operation| line.fold(event.id(), operation));
        let roles = BTreeSet::from([Role::Admin]);
        let member = Leaf::member(&event.event().author, &roles, false);
        let root = state_root(line.leaves().chain([member])).unwrap();
        let hex: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
        for case in cases.iter().filter(|case| case["dump"]["events"] == count) {
            assert_eq!(case["dump"]["state_root"], hex, "after {count} events");
            checked += 1;
        }
    }
    assert_eq!(checked, cases.len());
}
