//! Values that come after their events: by openings and by blocks, in any order.

use std::path::Path;
use std::time::Duration;

use quipu_merge::{BlockId, Codec, EventId};
use quipu_store::{GcOptions, Lacks, Ledger, MissingValue, NewLedger, Value};

use crate::exchange::pull;
use crate::history::{Dice, empty_clone};
use crate::support::{assert_sound, values};

fn source(dir: &Path) -> Ledger {
    Ledger::create(dir.join("source"), &NewLedger::default()).unwrap()
}

/// A replica with all events of `source`, and the values that travel with them.
fn replica(source: &Ledger, dir: &Path, name: &str) -> Ledger {
    let replica = empty_clone(source, &dir.join(name));
    pull(&replica, source, 256 << 10);
    replica
}

fn collect_now(ledger: &Ledger) -> u64 {
    let now = GcOptions { grace: Duration::ZERO, dry_run: false };
    ledger.gc(now, &mut |_, _| {}).unwrap().blocks
}

/// All values that are missing, listed a few at a time.
fn missing(ledger: &Ledger, limit: usize) -> Vec<MissingValue> {
    let mut all = Vec::<MissingValue>::new();
    loop {
        let after = all.last().map(|value| (value.event, value.slot));
        let more = ledger.missing_values(after, limit).unwrap();
        let is_last = more.len() < limit;
        all.extend(more);
        if is_last {
            return all;
        }
    }
}

/// Brings what is missing from `source`, one by one in any order, until nothing is.
fn bring(ledger: &Ledger, source: &Ledger, dice: &mut Dice) -> usize {
    let mut brought = 0;
    loop {
        let mut open = missing(ledger, dice.below(5) + 1);
        if open.is_empty() {
            return brought;
        }
        dice.shuffle(&mut open);
        for value in open {
            let mut sink = ledger.value_sink();
            match value.lacks {
                Lacks::Opening(_) => {
                    let opening = &source.openings(value.event, &[value.slot], 1 << 20).unwrap()[0];
                    assert!(sink.put_opening(value.event, value.slot, &opening.1).unwrap());
                }
                Lacks::Blocks(mut blocks) => {
                    dice.shuffle(&mut blocks);
                    blocks.truncate(dice.below(3) + 1);
                    for id in blocks {
                        let block = source.block(id).unwrap().unwrap();
                        assert!(sink.put_block(id, &block).unwrap());
                        brought += 1;
                    }
                }
            }
            sink.commit().unwrap();
        }
        // Nothing that something refers to is garbage, whenever that is looked for.
        assert_eq!(collect_now(ledger), 0);
    }
}

#[test]
fn long_and_left_out_values_come_in_any_order() {
    let place = tempfile::tempdir().unwrap();
    let source = source(place.path());
    let long = values::noise(1, 5_000_000);
    values::put(&source, "long", &long);
    values::put(&source, "again", &long);
    values::put(&source, "medium", &values::noise(2, 10_000));
    let mut transaction = source.transaction();
    for n in 0..90 {
        transaction.put(&format!("many/{n}"), &values::noise(n + 9, 4_000)).unwrap();
    }
    transaction.put("many/long", &values::noise(3, 400_000)).unwrap();
    transaction.commit().unwrap();
    for seed in 0..3 {
        let ledger = replica(&source, place.path(), &seed.to_string());
        let listed = missing(&ledger, 1 + 7 * usize::try_from(seed).unwrap());
        assert_eq!(listed.len() as u64, ledger.count_missing().unwrap());
        let keys: Vec<_> =
            listed.iter().map(|value| value.key.as_ref().unwrap().as_str()).collect();
        assert!(keys.contains(&"long") && keys.contains(&"many/long") && keys.len() > 10);
        let brought = bring(&ledger, &source, &mut Dice::new(seed + 3));
        let blocks = values::blocks(&source);
        assert!(brought as u64 >= blocks && brought as u64 <= 2 * blocks, "{brought} of {blocks}");
        assert_eq!((ledger.count_missing().unwrap(), values::blocks(&ledger)), (0, blocks));
        assert_eq!(
            (values::get(&ledger, "long"), values::get(&ledger, "again")),
            (long.clone(), long.clone())
        );
        assert_eq!(ledger.get("many/7").unwrap(), Some(Value::Bytes(values::noise(16, 4_000))));
    }
}

/// Blocks before their manifest, and that before the opening, each by itself.
#[test]
fn blocks_to_which_nothing_refers_yet_are_kept_meanwhile() {
    let place = tempfile::tempdir().unwrap();
    let source = source(place.path());
    let long = values::noise(1, 3_000_000);
    let event = values::put(&source, "long", &long);
    let mut portion = source.events(&[event], usize::MAX).unwrap();
    let opening = portion[0].openings.remove(0).1;
    let ledger = empty_clone(&source, &place.path().join("replica"));
    ledger.admit(portion).unwrap();
    let link = values::link(&source, "long");
    let mut ids: Vec<_> = values::chunks(&source, "long").iter().map(|link| link.block).collect();
    ids.push(link.block);
    let mut sink = ledger.value_sink();
    for (n, id) in (0..).zip(ids) {
        assert!(sink.put_block(id, &source.block(id).unwrap().unwrap()).unwrap());
        assert_eq!(sink.commit().unwrap(), 0);
        assert_eq!((collect_now(&ledger), ledger.block(id).unwrap()), (0, None), "block {n}");
    }
    assert!(sink.put_opening(event, 0, &opening).unwrap());
    assert_eq!((sink.commit().unwrap(), ledger.count_missing().unwrap()), (1, 0));
    drop(sink);
    assert_eq!(collect_now(&ledger), 0);
    assert_eq!(values::get(&ledger, "long"), long);
    assert_sound(&ledger);
}

#[test]
fn what_is_not_what_it_should_be_is_not_taken() {
    let place = tempfile::tempdir().unwrap();
    let source = source(place.path());
    let event = values::put(&source, "short", b"value");
    values::put(&source, "long", &values::noise(1, 20_000));
    let mut portion = source.events(&[event], usize::MAX).unwrap();
    let opening = portion[0].openings.remove(0).1;
    let ledger = empty_clone(&source, &place.path().join("replica"));
    ledger.admit(portion).unwrap();
    let mut sink = ledger.value_sink();
    assert!(!sink.put_opening(event, 1, &opening).unwrap());
    assert!(!sink.put_opening(ledger.id(), 0, &opening).unwrap());
    assert!(!sink.put_opening(EventId([1; 32]), 0, &opening).unwrap());
    assert!(!sink.put_opening(event, 0, &opening[1..]).unwrap());
    assert!(!sink.put_block(BlockId::of(Codec::Raw, b"one"), b"other").unwrap());
    assert!(!sink.put_block(BlockId::of(Codec::Raw, b""), b"").unwrap());
    let large = vec![0; (1 << 20) + 1];
    assert!(!sink.put_block(BlockId::of(Codec::Raw, &large), &large).unwrap());
    assert_eq!((sink.commit().unwrap(), ledger.count_missing().unwrap()), (0, 1));
    // Twice is as good as once, and a value that is here is not taken again.
    for added in [1, 0] {
        assert!(sink.put_opening(event, 0, &opening).unwrap());
        assert!(sink.put_opening(event, 0, &opening).unwrap());
        assert_eq!(sink.commit().unwrap(), added);
    }
    assert_eq!(ledger.get("short").unwrap(), Some(Value::Bytes(b"value".to_vec())));
    assert_sound(&ledger);
}

#[test]
fn erased_values_are_neither_sent_nor_listed_nor_taken() {
    let place = tempfile::tempdir().unwrap();
    let source = source(place.path());
    let (secret, shared) = (values::noise(1, 600_000), values::noise(2, 600_000));
    let mut transaction = source.transaction();
    transaction.put("secret", &secret).unwrap().put("shared", &shared).unwrap();
    let event = transaction.commit().unwrap().event;
    values::put(&source, "kept", &shared);
    let ledger = replica(&source, place.path(), "replica");
    let ids = |key| -> Vec<BlockId> {
        let chunks = values::chunks(&source, key).into_iter();
        chunks.chain([values::link(&source, key)]).map(|link| link.block).collect()
    };
    let (gone, kept) = (ids("secret"), ids("shared"));
    let opening = source.openings(event, &[0, 1, 2], 1 << 20).unwrap().remove(0).1;
    assert_eq!(source.openings(event, &[1, 0], 100).unwrap().len(), 1.min(100 / opening.len()));
    assert_eq!(missing(&ledger, 100).len(), 3);
    source.redact(event).unwrap();
    // Not even before it is collected.
    assert!(gone.iter().all(|id| source.block(*id).unwrap().is_none()));
    assert!(kept.iter().all(|id| source.block(*id).unwrap().is_some()));
    assert!(source.openings(event, &[0, 1], 1 << 20).unwrap().is_empty());
    pull(&ledger, &source, 1 << 20);
    let keys: Vec<_> = missing(&ledger, 100).into_iter().map(|value| value.key).collect();
    assert_eq!(keys.iter().map(|key| key.as_ref().unwrap().as_str()).collect::<Vec<_>>(), ["kept"]);
    let mut sink = ledger.value_sink();
    assert!(sink.put_opening(event, 0, &opening).unwrap());
    assert_eq!(sink.commit().unwrap(), 0);
    drop(sink);
    // What the erased value referred to.
    assert_eq!(collect_now(&ledger), 1);
    bring(&ledger, &source, &mut Dice::new(1));
    assert_eq!(ledger.get("secret").unwrap(), Some(Value::Erased));
    assert_eq!(values::get(&ledger, "kept"), shared);
    assert_sound(&ledger);
}
