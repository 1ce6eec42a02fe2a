//! A sequence of operations on a store, against maps in memory; with reopening in between.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use quipu_fuzz::Dice;
use quipu_store::{Durability, Ledger, NewLedger, Options, Value};

#[derive(Default)]
struct Maps {
    registers: BTreeMap<String, Vec<u8>>,
    counters: BTreeMap<String, i128>,
    sets: BTreeMap<String, BTreeSet<Vec<u8>>>,
    lists: BTreeMap<String, Vec<Vec<u8>>>,
}

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::from_bytes(bytes);
    let dir = tempfile::tempdir().expect("a scratch folder");
    let path = dir.path().join("ledger");
    let options =
        Options::new().durability(Durability::Relaxed).cache(1 << 20).write_buffer(1 << 20);
    let mut ledger = options.create(&path, &NewLedger::default()).expect("a new store");
    let mut maps = Maps::default();
    for _ in 0..64 {
        if dice.is_spent() {
            break;
        }
        if dice.chance(5) {
            drop(ledger);
            ledger = options.open(&path).expect("the store opens again");
        }
        step(&ledger, &mut maps, &mut dice);
    }
    compare(&ledger, &maps);
    let report = ledger.verify(&mut |_, _| {}).expect("the store can be read");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
});

fn step(ledger: &Ledger, maps: &mut Maps, dice: &mut Dice) {
    let mut transaction = ledger.transaction();
    for _ in 0..=dice.below(3) {
        let key = ["a", "b", "a\0b", "ab"][dice.below(4)].to_owned();
        let value = vec![u8::try_from(dice.below(200)).unwrap_or(0); dice.below(300)];
        let done = match dice.below(6) {
            0 => {
                maps.registers.insert(key.clone(), value.clone());
                transaction.put(&key, &value)
            }
            1 => {
                maps.registers.remove(&key);
                transaction.del(&key)
            }
            2 => {
                *maps.counters.entry(key.clone()).or_default() += 3;
                transaction.inc(&key, 3)
            }
            3 => {
                maps.sets.entry(key.clone()).or_default().insert(value.clone());
                transaction.add(&key, &value)
            }
            4 => {
                maps.sets.entry(key.clone()).or_default().remove(&value);
                transaction.rem(&key, &value)
            }
            _ => {
                maps.lists.entry(key.clone()).or_default().push(value.clone());
                transaction.append(&key, &value)
            }
        };
        done.expect("operations within the limits");
    }
    transaction.commit().expect("the only writer of its ledger");
}

fn compare(ledger: &Ledger, maps: &Maps) {
    let snapshot = ledger.snapshot().expect("a snapshot");
    for key in ["a", "b", "a\0b", "ab"] {
        let value = maps.registers.get(key).cloned().map(Value::Bytes);
        assert_eq!(snapshot.get(key).expect("readable"), value);
        assert_eq!(snapshot.counter(key).expect("readable"), maps.counters.get(key).copied());
        let mut members = BTreeSet::new();
        snapshot.set(key, |member| members.insert(member.to_vec())).expect("readable");
        assert_eq!(members, maps.sets.get(key).cloned().unwrap_or_default());
        let mut values = Vec::new();
        let visit = |element: quipu_store::Element| {
            values.push(element.value);
            true
        };
        snapshot.list(key, visit).expect("readable");
        let wanted = maps.lists.get(key).cloned().unwrap_or_default();
        assert_eq!(values, wanted.into_iter().map(Value::Bytes).collect::<Vec<_>>());
    }
}
