//! Sequences of operations on one store against maps in memory, and cuts that stay as they were.

use std::collections::{BTreeMap, BTreeSet};

use quipu_fuzz::Dice;
use quipu_merge::{Cut, EventId};
use quipu_store::{Expected, KeyKind, Ledger, NewLedger, Snapshot, Transaction, Value, WriteError};

use crate::files::{Place, relaxed};

/// One key begins another, and some hold what an index may use as its own marks.
const KEYS: [&str; 6] = ["a", "a\0", "a\0\u{ff}", "aa", "b/\u{1}", "ü"];
const MEMBERS: [&[u8]; 5] = [b"", b"\0", b"\0\xff", b"\xff\xff", b"m"];

/// What one author's writes come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Maps {
    registers: BTreeMap<String, (Vec<u8>, EventId)>,
    counters: BTreeMap<String, i128>,
    sets: BTreeMap<String, BTreeSet<Vec<u8>>>,
    lists: BTreeMap<String, Vec<Vec<u8>>>,
}

/// A change of the maps that waits for the id of its event.
type Change = Box<dyn FnOnce(&mut Maps, EventId)>;

fn operation(transaction: &mut Transaction<'_>, dice: &mut Dice) -> Change {
    let key = (*dice.pick(&KEYS).unwrap()).to_owned();
    let member = dice.pick(&MEMBERS).unwrap().to_vec();
    // Around the lengths at which values are kept in other places.
    let len = *dice.pick(&[0, 1, 100, 128, 129, 4096, 4097, 10_000]).unwrap();
    let value = vec![dice.below(256) as u8; len];
    match dice.below(9) {
        0..3 => {
            transaction.put(&key, &value).unwrap();
            Box::new(move |maps, event| {
                maps.registers.insert(key, (value, event));
            })
        }
        3 => {
            transaction.del(&key).unwrap();
            Box::new(move |maps, _| {
                maps.registers.remove(&key);
            })
        }
        4 => {
            let by = i64::MAX - dice.below(3) as i64;
            transaction.inc(&key, by).unwrap();
            Box::new(move |maps, _| *maps.counters.entry(key).or_default() += i128::from(by))
        }
        5 | 6 => {
            transaction.add(&key, &member).unwrap();
            Box::new(move |maps, _| {
                maps.sets.entry(key).or_default().insert(member);
            })
        }
        7 => {
            transaction.rem(&key, &member).unwrap();
            Box::new(move |maps, _| {
                if let Some(set) = maps.sets.get_mut(&key) {
                    set.remove(&member);
                }
                maps.sets.retain(|_, set| !set.is_empty());
            })
        }
        _ => {
            transaction.append(&key, &value).unwrap();
            Box::new(move |maps, _| maps.lists.entry(key).or_default().push(value))
        }
    }
}

fn bytes_of(snapshot: &Snapshot<'_>, value: Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes,
        Value::Long(link) => {
            let mut bytes = Vec::new();
            let read = snapshot.read_long(link, |part| {
                bytes.extend_from_slice(part);
                Ok(())
            });
            assert_eq!(read.unwrap(), Ok(()));
            bytes
        }
        other => panic!("{other:?}"),
    }
}

/// Everything that a snapshot shows.
fn read(snapshot: &Snapshot<'_>) -> Maps {
    let mut keys = Vec::new();
    let note = |key: &str, kinds: &[KeyKind]| {
        keys.push((key.to_owned(), kinds.to_vec()));
        true
    };
    snapshot.keys("", note).unwrap();
    assert!(keys.iter().map(|(key, _)| key).is_sorted());
    let mut maps = Maps::default();
    for (key, kinds) in keys {
        for kind in kinds {
            match kind {
                KeyKind::Register => {
                    let writes = snapshot.register(&key).unwrap();
                    let [write] = writes.as_slice() else { panic!("{writes:?}") };
                    let value = bytes_of(snapshot, snapshot.get(&key).unwrap().unwrap());
                    assert_eq!(value, bytes_of(snapshot, write.value.clone().unwrap()));
                    maps.registers.insert(key.clone(), (value, write.event));
                }
                KeyKind::Counter => {
                    maps.counters.insert(key.clone(), snapshot.counter(&key).unwrap().unwrap());
                }
                KeyKind::Set => {
                    let mut members = Vec::new();
                    let each = |member: &[u8]| {
                        members.push(member.to_vec());
                        true
                    };
                    assert!(snapshot.set(&key, each).unwrap());
                    assert!(members.is_sorted());
                    maps.sets.insert(key.clone(), members.into_iter().collect());
                }
                KeyKind::List => {
                    let mut values = Vec::new();
                    let each = |element: quipu_store::Element| {
                        values.push(element.value);
                        true
                    };
                    assert!(snapshot.list(&key, each).unwrap());
                    let values = values.into_iter().map(|value| bytes_of(snapshot, value));
                    maps.lists.insert(key.clone(), values.collect());
                }
            }
        }
    }
    maps
}

/// Requires something of a register that may hold or not.
fn condition(transaction: &mut Transaction<'_>, maps: &Maps, dice: &mut Dice) -> bool {
    let key = *dice.pick(&KEYS).unwrap();
    let current = maps.registers.get(key).map(|(_, event)| *event);
    let other = maps.registers.values().map(|(_, event)| *event).next();
    let wanted = if dice.chance(50) { current } else { other };
    let expected = wanted.map_or(Expected::Absent, |event| Expected::Writes(vec![event, event]));
    transaction.require(key, expected).unwrap();
    current == wanted
}

fn run(seed: u64) {
    let mut dice = Dice::seeded(seed);
    let place = Place::new();
    let dir = place.path("store");
    let mut ledger = relaxed().create(&dir, &NewLedger::default()).unwrap();
    let (mut maps, mut then) = (Maps::default(), Vec::<(EventId, Maps)>::new());
    for _ in 0..12 {
        {
            let (before, snapshot) = (maps.clone(), ledger.snapshot().unwrap());
            for _ in 0..8 {
                write(&ledger, &mut maps, &mut then, &mut dice);
            }
            assert_eq!(read(&snapshot), before, "seed {seed}: a snapshot that moves");
            assert_eq!(read(&ledger.snapshot().unwrap()), maps, "seed {seed}");
        }
        if dice.chance(30) {
            drop(ledger);
            ledger = relaxed().open(&dir).unwrap();
            assert_eq!(read(&ledger.snapshot().unwrap()), maps, "seed {seed}, reopened");
        }
        if dice.chance(10) {
            ledger.compact().unwrap();
        }
        let (event, maps) = dice.pick(&then).unwrap();
        let at = ledger.at(&Cut::Heads(vec![*event])).unwrap();
        assert_eq!(read(&at), *maps, "seed {seed} at {event}");
    }
}

fn write(ledger: &Ledger, maps: &mut Maps, then: &mut Vec<(EventId, Maps)>, dice: &mut Dice) {
    let mut transaction = ledger.transaction();
    let mut changes = Vec::new();
    for _ in 0..=dice.below(6) {
        changes.push(operation(&mut transaction, dice));
    }
    let holds = !dice.chance(30) || condition(&mut transaction, maps, dice);
    match transaction.commit() {
        Ok(committed) => {
            assert!(holds);
            changes.into_iter().for_each(|change| change(maps, committed.event));
            // Genesis is the first of the chain.
            assert_eq!(committed.seq.0, then.len() as u64 + 2);
            then.push((committed.event, maps.clone()));
        }
        Err(WriteError::Condition { .. }) => assert!(!holds),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_store_does_what_maps_do() {
    for seed in 0..30 {
        run(seed);
    }
}

#[test]
fn what_breaks_a_limit_leaves_the_transaction_as_it_was() {
    let place = Place::new();
    let ledger = relaxed().create(place.path("store"), &NewLedger::default()).unwrap();
    let mut transaction = ledger.transaction();
    assert!(transaction.put("", b"x").is_err());
    assert!(transaction.put(&"k".repeat(1025), b"x").is_err());
    assert!(transaction.inc("n", 0).is_err());
    assert!(transaction.add("s", &[0; 4097]).is_err());
    assert!(transaction.is_empty());
    assert!(matches!(transaction.commit(), Err(WriteError::Limit(_))));
    let mut transaction = ledger.transaction();
    for number in 0..=10_000 {
        transaction.inc("n", number + 1).unwrap();
    }
    assert!(matches!(transaction.commit(), Err(WriteError::Limit(_))));
    assert!(matches!(ledger.redact(EventId([7; 32])), Err(WriteError::NoSuchEvent(_))));
    assert_eq!(ledger.tie().unwrap(), None);
    assert_eq!(ledger.snapshot().unwrap().len().unwrap(), 1);
    let mut transaction = ledger.transaction();
    for _ in 0..10_000 {
        transaction.append("l", b"x").unwrap();
    }
    transaction.commit().unwrap();
    assert_eq!(ledger.snapshot().unwrap().count(KeyKind::List, "l").unwrap(), 10_000);
}
