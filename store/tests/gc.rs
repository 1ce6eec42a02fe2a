//! Collecting garbage: what nothing refers to goes, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quipu_merge::{BlockId, Codec, Link};
use quipu_store::{
    GcOptions, GcReport, Ledger, NewLedger, Options, StorageError, Value, WriteError,
};
use support::values::{blocks, chunks, get, link, noise, on_disk, put};
use support::{clone_of, merge};
use tempfile::TempDir;

const NOW: GcOptions = GcOptions { grace: Duration::ZERO, dry_run: false };

fn new(dir: &TempDir) -> Ledger {
    Ledger::create(dir.path().join("store"), &NewLedger::default()).unwrap()
}

fn gc(ledger: &Ledger, options: GcOptions) -> GcReport {
    ledger.gc(options, &mut |_, _| {}).unwrap()
}

#[test]
fn what_is_referred_to_stays() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let (first, second) = (noise(1, 3_000_000), noise(2, 200_000));
    put(&ledger, "first", &first);
    put(&ledger, "second", &second);
    // What was overwritten can be read in the past.
    put(&ledger, "second", &first);
    let before = blocks(&ledger);
    let report = gc(&ledger, NOW);
    assert_eq!((report.blocks, report.young, report.in_use), (0, 0, 0));
    assert_eq!(blocks(&ledger), before);
    assert_eq!((get(&ledger, "first"), get(&ledger, "second")), (first.clone(), first));
}

#[test]
fn the_same_content_is_stored_once() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let value = noise(1, 3_000_000);
    put(&ledger, "one", &value);
    let before = blocks(&ledger);
    put(&ledger, "two", &value);
    let mut transaction = ledger.transaction();
    transaction.put("three", &value).unwrap().put("four", &value).unwrap();
    transaction.commit().unwrap();
    assert_eq!(blocks(&ledger), before);
    assert_eq!(get(&ledger, "four"), value);
}

#[test]
fn erased_content_goes_with_all_that_only_it_refers_to() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let shared = noise(1, 2_000_000);
    let secret = noise(2, 2_000_000);
    put(&ledger, "shared", &shared);
    let alone = blocks(&ledger);
    let both = put(&ledger, "both", &[shared.clone(), secret.clone()].concat());
    let (short, inline) = (noise(4, 100), noise(5, 4_000));
    let short_event = put(&ledger, "short", &short);
    let inline_event = put(&ledger, "inline", &inline);
    let medium = put(&ledger, "medium", &noise(3, 20_000));
    // Some are in table files by now, and some in the log.
    ledger.compact().unwrap();
    put(&ledger, "inline", b"later");
    let needles = [&short[..32], &inline[2_000..2_032], &secret[1_000_000..1_000_032]];
    for needle in needles {
        assert!(on_disk(ledger.dir(), needle));
    }
    for event in [both, short_event, inline_event, medium] {
        ledger.redact(event).unwrap();
    }
    let preview = gc(&ledger, GcOptions { dry_run: true, ..NOW });
    // What has been erased waits for nobody.
    let report = gc(&ledger, GcOptions::default());
    assert_eq!((preview.blocks, preview.bytes), (report.blocks, report.bytes));
    assert!(report.blocks > 2 && report.bytes >= 2_000_000, "{report:?}");
    assert!(report.disk_after < report.disk_before, "{report:?}");
    assert_eq!(report.purged, 4);
    assert_eq!(blocks(&ledger), alone);
    assert_eq!(get(&ledger, "shared"), shared);
    assert_eq!(ledger.snapshot().unwrap().get("both").unwrap(), Some(Value::Erased));
    assert_eq!(gc(&ledger, NOW).purged, 0);
    for needle in needles {
        assert!(!on_disk(ledger.dir(), needle));
    }
    assert!(on_disk(ledger.dir(), &shared[1_000_000..1_000_032]));
}

#[test]
fn what_is_erased_goes_with_what_lists_it() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let content = noise(1, 2_000_000);
    let whole = put(&ledger, "whole", &content);
    let tails = chunks(&ledger, "whole").into_iter();
    let before = |chunk: Link| content.len() - usize::try_from(chunk.size).unwrap();
    let mut tails = tails.map(|chunk| (chunk.block, &content[before(chunk)..]));
    let (last, tail) = tails.find(|(id, tail)| BlockId::of(Codec::Raw, tail) == *id).unwrap();
    let part = put(&ledger, "part", tail);
    assert_eq!(link(&ledger, "part").block, last);
    // In a copy, manifests come before what they list.
    let copy = clone_of(&ledger, &dir.path().join("copy"));
    for event in [whole, part] {
        ledger.redact(event).unwrap();
    }
    merge(&copy, &ledger);
    for ledger in [&ledger, &copy] {
        assert!(gc(ledger, NOW).blocks > 2);
        assert_eq!(blocks(ledger), 0);
    }
}

#[test]
fn an_abandoned_transaction_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let mut transaction = ledger.transaction();
    transaction.put("never", &noise(1, 5_000_000)).unwrap();
    drop(transaction);
    assert_eq!(blocks(&ledger), 0);
    let staged = std::fs::read_dir(ledger.dir().join("staging")).unwrap().count();
    assert_eq!(staged, 0);
    // One that is refused has brought its blocks, and nothing refers to them.
    let mut transaction = ledger.transaction();
    transaction.put("never", &noise(2, 50_000)).unwrap();
    transaction.require("other", quipu_store::Expected::Writes(vec![ledger.id()])).unwrap();
    transaction.commit().unwrap_err();
    assert!(blocks(&ledger) > 0);
    let report = gc(&ledger, GcOptions::default());
    assert!(report.blocks == 0 && report.young > 0, "{report:?}");
    let report = gc(&ledger, NOW);
    assert!(report.blocks > 0 && report.young == 0, "{report:?}");
    assert_eq!(blocks(&ledger), 0);
}

#[test]
fn what_a_transaction_is_about_to_refer_to_is_not_collected() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let value = noise(1, 1_500_000);
    let event = put(&ledger, "old", &value);
    let mut transaction = ledger.transaction();
    transaction.put("new", &value).unwrap();
    ledger.redact(event).unwrap();
    let report = gc(&ledger, NOW);
    assert!(report.in_use > 0, "{report:?}");
    transaction.commit().unwrap();
    assert_eq!(get(&ledger, "new"), value);
    assert_eq!(gc(&ledger, NOW).in_use, 0);
    blocks(&ledger);
    assert_eq!(get(&ledger, "new"), value);
}

#[test]
fn a_snapshot_reads_on_while_its_blocks_are_collected() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    let value = noise(1, 2_000_000);
    let event = put(&ledger, "k", &value);
    let snapshot = ledger.snapshot().unwrap();
    let Some(Value::Long(link)) = snapshot.get("k").unwrap() else { panic!("no long value") };
    ledger.redact(event).unwrap();
    gc(&ledger, NOW);
    let mut len = 0;
    let count = |bytes: &[u8]| {
        len += bytes.len();
        Ok(())
    };
    snapshot.read_long(link, count).unwrap().unwrap();
    assert_eq!(len, value.len());
}

#[test]
fn collecting_beside_writers_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let options = Options::new().durability(quipu_store::Durability::Relaxed);
    let ledger = options.create(dir.path().join("store"), &NewLedger::default()).unwrap();
    let done = AtomicBool::new(false);
    // Few different values, written and erased again and again by several threads.
    let value = |number: u64| noise(number % 5, 30_000 + (number % 5) as usize * 400_000);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u64)
            .map(|thread| {
                let ledger = &ledger;
                scope.spawn(move || {
                    for number in 0..30 {
                        let event = put(ledger, &format!("{thread}/{number}"), &value(number));
                        if number % 2 == 0 {
                            ledger.redact(event).unwrap();
                        }
                    }
                })
            })
            .collect();
        let collector = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                gc(&ledger, NOW);
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        collector.join().unwrap();
    });
    gc(&ledger, NOW);
    blocks(&ledger);
    for thread in 0..3 {
        for number in (1..30).step_by(2) {
            assert_eq!(get(&ledger, &format!("{thread}/{number}")), value(number));
        }
    }
}

#[test]
fn garbage_goes_where_there_is_no_room_for_more() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    put(&ledger, "kept", &noise(1, 200_000));
    let kept = blocks(&ledger);
    let erased = put(&ledger, "erased", &noise(2, 200_000));
    let garbage = blocks(&ledger) - kept;
    ledger.redact(erased).unwrap();
    drop(ledger);
    let full = Options::new().min_free(u64::MAX).open(dir.path().join("store")).unwrap();
    let mut transaction = full.transaction();
    transaction.put("more", b"value").unwrap();
    let refused = transaction.commit().unwrap_err();
    assert!(matches!(refused, WriteError::Storage(StorageError::NoRoom { .. })), "{refused}");
    let report = gc(&full, NOW);
    assert_eq!((report.blocks, report.purged), (garbage, 1), "{report:?}");
    assert_eq!(blocks(&full), kept);
    assert_eq!(get(&full, "kept"), noise(1, 200_000));
}
