//! Pruning: what no state shows from a cut on goes, nothing else changes, and it can come back.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod support;

use std::fs::File;
use std::io::Seek;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quipu_merge::{BlockId, CarReader, CarWriter, Codec, Cut, Dump, EventId, Opening, Role, Shown};
use quipu_store::{
    Durability, GcOptions, Ledger, MergeOptions, NewLedger, Options, PruneOptions, PruneReport,
    ReadError, Value,
};
use rocksdb::{ColumnFamilyDescriptor, DB};
use support::values::{noise, on_disk, put};
use tempfile::TempDir;

const NOW: GcOptions = GcOptions { grace: Duration::ZERO, dry_run: false };
const REFILL: MergeOptions = MergeOptions { refill: true };
const LONG: usize = 2_000_000;

fn options() -> Options {
    Options::new().durability(Durability::Relaxed)
}

fn new(dir: &TempDir, name: &str) -> Ledger {
    options().create(dir.path().join(name), &NewLedger::default()).unwrap()
}

fn clone_of(ledger: &Ledger, dir: &Path) -> Ledger {
    options().clone_ledger(dir, ledger, &Cut::Everything, &mut |_, _| {}).unwrap().0
}

fn at(event: EventId) -> Cut {
    Cut::Heads(vec![event])
}

/// Says first what it is going to do.
fn prune(ledger: &Ledger, cut: &Cut) -> PruneReport {
    let mut reports = [true, false]
        .map(|dry_run| ledger.prune(cut, PruneOptions { dry_run }, &mut |_, _| {}).unwrap())
        .into_iter();
    let report = reports.next().unwrap();
    assert_eq!(Some(&report), reports.next().as_ref());
    report
}

fn merge(to: &Ledger, from: &Ledger) -> u64 {
    to.merge(from, &mut |_, _| {}).unwrap().new_values
}

fn refill(to: &Ledger, from: &Ledger) -> u64 {
    to.merge_with(from, REFILL, &mut |_, _| {}).unwrap().new_values
}

/// Verifies a store; tells how many values are pruned, and how many missing.
fn gone(ledger: &Ledger) -> (u64, u64) {
    let report = ledger.verify(&mut |_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    let status = ledger.status().unwrap();
    (status.pruned_values, status.missing_values)
}

fn bytes(text: &str) -> Option<Value> {
    Some(Value::Bytes(text.as_bytes().to_vec()))
}

fn get_at(ledger: &Ledger, event: EventId, key: &str) -> Option<Value> {
    ledger.at(&at(event)).unwrap().get(key).unwrap()
}

fn dump(ledger: &Ledger, cut: &Cut) -> Dump {
    ledger.at(cut).unwrap().dump(&[]).unwrap()
}

fn long(seed: u8) -> Vec<u8> {
    noise(seed.into(), LONG)
}

fn file(ledger: &Ledger) -> File {
    let mut file = tempfile::tempfile().unwrap();
    ledger.export(&mut file, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    file.rewind().unwrap();
    file
}

/// A store with values of every kind, of which some are shown after the second event and later,
/// and an untouched twin. The events are in order.
fn twins(dir: &TempDir) -> (Ledger, Ledger, Vec<EventId>) {
    let ledger = new(dir, "ledger");
    let mut events = Vec::new();
    let mut write = |round: u8| {
        let mut transaction = ledger.transaction();
        transaction.put("short", format!("short {round}").as_bytes()).unwrap();
        transaction.put("twice", b"first in its event").unwrap();
        transaction.put("twice", format!("twice {round}").as_bytes()).unwrap();
        transaction.put("medium", &[round; 1000]).unwrap().put("long", &long(round)).unwrap();
        transaction.append("list", format!("element {round}").as_bytes()).unwrap();
        transaction.add("set", &[round]).unwrap().inc("count", 1).unwrap();
        if round == 1 {
            transaction.put("deleted", b"soon").unwrap().put("stays", b"stays").unwrap();
        } else {
            transaction.del("deleted").unwrap();
        }
        events.push(transaction.commit().unwrap().event);
    };
    (1..=3).for_each(&mut write);
    let twin = clone_of(&ledger, &dir.path().join("twin"));
    (ledger, twin, events)
}

/// What is pruned of the twins at the second event: four registers of the first, and what is
/// written twice in one event.
const PRUNED: u64 = 7;

#[test]
fn what_no_state_shows_goes_and_says_so() {
    let dir = TempDir::new().unwrap();
    let (ledger, twin, events) = twins(&dir);
    let report = prune(&ledger, &at(events[1]));
    assert_eq!((report.values, report.pinned), (PRUNED, 0));
    assert!(report.blocks > 1 && report.block_bytes >= LONG as u64, "{report:?}");
    assert!((1_000..2_000).contains(&report.opening_bytes), "{report:?}");
    assert_eq!(gone(&ledger), (PRUNED, 0));
    // Nothing that is read from the cut on has changed.
    for cut in [at(events[1]), at(events[2]), Cut::Everything] {
        assert_eq!(dump(&ledger, &cut), dump(&twin, &cut));
    }
    // Before, it says what is gone, and nothing else.
    let past = ledger.at(&at(events[0])).unwrap();
    for key in ["short", "twice", "medium", "long", "deleted"] {
        assert_eq!(past.get(key).unwrap(), Some(Value::Pruned), "{key}");
        let history = ledger.snapshot().unwrap().register_history(key).unwrap();
        assert_eq!(history.last().unwrap().value, Some(Value::Pruned), "{key}");
    }
    assert_eq!(past.get("stays").unwrap(), bytes("stays"));
    assert_eq!(past.counter("count").unwrap(), Some(1));
    let mut elements = Vec::new();
    past.list("list", |element| {
        elements.push(element.value);
        true
    })
    .unwrap();
    assert_eq!(elements, [bytes("element 1").unwrap()]);
    let event = past.event(events[0]).unwrap();
    assert_eq!(event.value(&past, 0).unwrap(), Some(Value::Pruned));
    let (dumped, mut expected) = (dump(&ledger, &at(events[0])), dump(&twin, &at(events[0])));
    for (_, writes) in expected.registers.iter_mut().filter(|(key, _)| *key != "stays") {
        writes[0].value = Shown::Nothing;
    }
    assert_eq!(dumped, expected);
    let mut told = 0;
    past.dump_noting(&[], &mut |value| told += u32::from(*value == Value::Pruned)).unwrap();
    assert_eq!(told, 5);
    drop(past);
    // There is nothing more to be done.
    assert_eq!(prune(&ledger, &at(events[1])), PruneReport::default());
    assert!(matches!(
        ledger.prune(&at(EventId([1; 32])), PruneOptions::default(), &mut |_, _| {}),
        Err(ReadError::NoSuchEvent(_))
    ));
    // A later cut has more.
    assert_eq!(prune(&ledger, &Cut::Everything).values, 5);
    assert_eq!(gone(&ledger), (PRUNED + 5, 0));
    assert_eq!(dump(&ledger, &Cut::Everything), dump(&twin, &Cut::Everything));
}

#[test]
fn blocks_go_when_their_grace_period_is_over() {
    let dir = TempDir::new().unwrap();
    let (ledger, _, events) = twins(&dir);
    let report = prune(&ledger, &at(events[1]));
    let kept = ledger.gc(GcOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!((kept.blocks, kept.young), (0, 1), "{kept:?}");
    let collected = ledger.gc(NOW, &mut |_, _| {}).unwrap();
    assert_eq!((collected.blocks, collected.bytes), (report.blocks, report.block_bytes));
    assert!(collected.disk_after < collected.disk_before * 3 / 4, "{collected:?}");
    assert_eq!(gone(&ledger), (PRUNED, 0));
}

#[test]
fn a_pruned_store_exchanges_events_as_before() {
    let dir = TempDir::new().unwrap();
    let (ledger, twin, events) = twins(&dir);
    twin.snapshot().unwrap();
    ledger.grant(twin.author(), Role::Writer).unwrap();
    prune(&ledger, &at(events[1]));
    ledger.gc(NOW, &mut |_, _| {}).unwrap();
    assert_eq!((merge(&twin, &ledger), merge(&ledger, &twin)), (0, 0));
    put(&ledger, "here", b"here");
    put(&twin, "short", b"there");
    assert_eq!((merge(&twin, &ledger), merge(&ledger, &twin)), (1, 1));
    // What was pruned does not come back by itself.
    assert_eq!(ledger.import(file(&twin), &mut |_, _| {}).unwrap().new_values, 0);
    assert_eq!((gone(&ledger), gone(&twin)), ((PRUNED, 0), (0, 0)));
    for cut in [at(events[1]), Cut::Everything] {
        assert_eq!(dump(&ledger, &cut), dump(&twin, &cut));
    }
    // A replica of it lacks these values, and has them from another.
    let cloned = clone_of(&ledger, &dir.path().join("cloned"));
    let path = dir.path().join("imported");
    let (imported, _) = options().clone_file(path, file(&ledger), &mut |_, _| {}).unwrap();
    for replica in [&cloned, &imported] {
        assert_eq!(gone(replica), (0, PRUNED));
        assert_eq!(dump(replica, &Cut::Everything), dump(&twin, &Cut::Everything));
        assert_eq!(get_at(replica, events[0], "long"), Some(Value::Missing));
        assert_eq!(merge(replica, &twin), PRUNED);
        assert_eq!(dump(replica, &at(events[0])), dump(&twin, &at(events[0])));
    }
}

#[test]
fn a_fuller_replica_has_it_back() {
    let dir = TempDir::new().unwrap();
    let (ledger, twin, events) = twins(&dir);
    let other = clone_of(&ledger, &dir.path().join("other"));
    for store in [&ledger, &other] {
        prune(store, &Cut::Everything);
        store.gc(NOW, &mut |_, _| {}).unwrap();
    }
    // Two that lack the same do not help each other.
    assert_eq!(refill(&ledger, &other), 0);
    let all = gone(&ledger).0;
    // Without its blocks, a long value is not taken back.
    let source = file(&twin);
    let reader = CarReader::new(&source).unwrap();
    let mut writer = CarWriter::new(tempfile::tempfile().unwrap(), reader.roots()).unwrap();
    for block in reader.map(Result::unwrap).filter(|block| block.id.codec != Codec::Raw) {
        writer.block(block.id, &block.bytes).unwrap();
    }
    let report = ledger.import_with(writer.finish().unwrap(), REFILL, &mut |_, _| {}).unwrap();
    assert_eq!((report.new_values, gone(&ledger)), (all - 2, (2, 0)));
    assert_eq!(refill(&ledger, &twin), 2);
    let report = other.import_with(file(&twin), REFILL, &mut |_, _| {}).unwrap();
    assert_eq!(report.new_values, all);
    for store in [&ledger, &other] {
        assert_eq!(gone(store), (0, 0));
        for event in &events {
            assert_eq!(dump(store, &at(*event)), dump(&twin, &at(*event)));
        }
        let snapshot = store.at(&at(events[0])).unwrap();
        let Some(Value::Long(link)) = snapshot.get("long").unwrap() else { panic!("not long") };
        let mut read = Vec::new();
        let write = |bytes: &[u8]| {
            read.extend_from_slice(bytes);
            Ok(())
        };
        snapshot.read_long(link, write).unwrap().unwrap();
        assert_eq!(read, long(1));
    }
}

#[test]
fn what_is_erased_after_it_was_pruned_is_gone() {
    let dir = TempDir::new().unwrap();
    let (ledger, twin, events) = twins(&dir);
    let report = prune(&ledger, &at(events[1]));
    ledger.redact(events[0]).unwrap();
    assert_eq!(get_at(&ledger, events[0], "long"), Some(Value::Erased));
    // The blocks had a grace period, and have none any more.
    let collected = ledger.gc(GcOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!((collected.blocks, collected.young), (report.blocks, 0));
    gone(&ledger);
    // Neither does who has not learned of it bring it back.
    assert_eq!(refill(&ledger, &twin), 1);
    assert_eq!(ledger.import_with(file(&twin), REFILL, &mut |_, _| {}).unwrap().new_values, 0);
    assert_eq!(get_at(&ledger, events[0], "short"), Some(Value::Erased));
    assert_eq!(get_at(&ledger, events[0], "stays"), Some(Value::Erased));
    gone(&ledger);
}

#[test]
fn what_was_collected_and_is_erased_later_leaves_the_files() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir, "ledger");
    let (short, secret) = (&long(9)[..100], &long(3)[..100_000]);
    let mut transaction = ledger.transaction();
    transaction.put("short", short).unwrap().put("secret", secret).unwrap();
    let other = [long(1), long(2), long(4), long(5)].concat();
    transaction.put("other", &other).unwrap();
    let event = transaction.commit().unwrap().event;
    put(&ledger, "secret", b"later");
    put(&ledger, "short", b"later");
    ledger.compact().unwrap();
    prune(&ledger, &Cut::Everything);
    assert!(ledger.gc(NOW, &mut |_, _| {}).unwrap().blocks > 0);
    // What is short stays in files; of what is long, it depends on what else is in them.
    let needles = [&short[..32], &secret[50_000..50_032]];
    assert!(on_disk(ledger.dir(), needles[0]));
    ledger.redact(event).unwrap();
    assert_eq!(ledger.gc(NOW, &mut |_, _| {}).unwrap().purged, 1);
    assert_eq!(needles.map(|needle| on_disk(ledger.dir(), needle)), [false; 2]);
    gone(&ledger);
}

#[test]
fn what_never_came_and_no_state_shows_need_not_come() {
    let dir = TempDir::new().unwrap();
    let (ledger, twin, events) = twins(&dir);
    let source = file(&ledger);
    let reader = CarReader::new(&source).unwrap();
    let mut writer = CarWriter::new(tempfile::tempfile().unwrap(), reader.roots()).unwrap();
    let is_opening =
        |id: BlockId, bytes: &[u8]| id.codec == Codec::DagCbor && Opening::decode(bytes).is_ok();
    for block in reader.map(Result::unwrap).filter(|block| !is_opening(block.id, &block.bytes)) {
        writer.block(block.id, &block.bytes).unwrap();
    }
    let path = dir.path().join("bare");
    let bare = options().clone_file(path, writer.finish().unwrap(), &mut |_, _| {}).unwrap().0;
    let all = gone(&bare).1;
    assert_eq!(prune(&bare, &at(events[1])).values, PRUNED);
    assert_eq!(gone(&bare), (PRUNED, all - PRUNED));
    assert_eq!(merge(&bare, &twin), all - PRUNED);
    assert_eq!(dump(&bare, &at(events[1])), dump(&twin, &at(events[1])));
    assert_eq!(get_at(&bare, events[0], "short"), Some(Value::Pruned));
    assert_eq!(refill(&bare, &twin), PRUNED);
    assert_eq!((gone(&bare), get_at(&bare, events[0], "short")), ((0, 0), bytes("short 1")));
}

#[test]
fn what_stands_again_because_another_is_void_is_kept() {
    let dir = TempDir::new().unwrap();
    let first = new(&dir, "first");
    let replica = |name: &str, role| {
        let path = dir.path().join(name);
        options().clone_granted(path, &first, role, &mut |_, _| {}).unwrap().0
    };
    let writer = replica("writer", Role::Writer);
    let admin = replica("admin", Role::Admin);
    put(&first, "k", b"oldest");
    let own = put(&first, "k", b"own");
    let own = (own, put(&first, "other", b"own"));
    merge(&writer, &first);
    put(&writer, "k", b"by the writer");
    let theirs = put(&writer, "other", b"by the writer");
    merge(&first, &writer);
    let early = clone_of(&first, &dir.path().join("early"));
    // By somebody who has not seen it.
    admin.revoke(writer.author()).unwrap();
    merge(&first, &admin);
    assert_eq!(first.get("k").unwrap(), bytes("own"));
    // What the cut shows stays, and what stands now.
    assert_eq!(prune(&first, &at(theirs)).values, 1);
    assert_eq!(first.get("k").unwrap(), bytes("own"));
    assert_eq!(get_at(&first, theirs, "k"), bytes("by the writer"));
    assert_eq!(get_at(&first, own.0, "k"), bytes("own"));
    gone(&first);
    // Who prunes before it learns of the revoke cannot know.
    assert_eq!(prune(&early, &at(theirs)).values, 3);
    merge(&early, &admin);
    assert_eq!(early.get("k").unwrap(), Some(Value::Pruned));
    let root = |ledger| dump(ledger, &Cut::Everything).state_root;
    assert_eq!(root(&early), root(&first));
    gone(&early);
    refill(&early, &first);
    assert_eq!(early.get("k").unwrap(), bytes("own"));
    gone(&early);
    // With the void events in the cut, and the revoke, theirs are gone for good.
    assert_eq!(prune(&first, &Cut::Everything).values, 2);
    assert_eq!(first.get("k").unwrap(), bytes("own"));
    gone(&first);
}

#[test]
fn conflicting_values_stay() {
    let dir = TempDir::new().unwrap();
    let first = new(&dir, "first");
    put(&first, "k", b"before");
    let path = dir.path().join("second");
    let second = options().clone_granted(path, &first, Role::Writer, &mut |_, _| {}).unwrap().0;
    put(&first, "k", b"one");
    put(&second, "k", b"other");
    merge(&first, &second);
    assert_eq!(prune(&first, &Cut::Everything).values, 1);
    let mut values: Vec<_> =
        first.snapshot().unwrap().register("k").unwrap().into_iter().map(|w| w.value).collect();
    values.sort_by_key(|value| format!("{value:?}"));
    assert_eq!(values, [bytes("one"), bytes("other")]);
    gone(&first);
}

#[test]
fn pruning_beside_writers() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir, "ledger");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u8)
            .map(|thread| {
                let ledger = &ledger;
                scope.spawn(move || {
                    for number in 0..300_u32 {
                        let value = [number.to_be_bytes().as_slice(), &[thread; 200]].concat();
                        put(ledger, &format!("shared/{}", number % 5), &value);
                        put(ledger, &format!("own/{thread}"), &value);
                    }
                })
            })
            .collect();
        let pruner = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                ledger.prune(&Cut::Everything, PruneOptions::default(), &mut |_, _| {}).unwrap();
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
        pruner.join().unwrap();
    });
    prune(&ledger, &Cut::Everything);
    // What has one value each, now.
    assert_eq!(gone(&ledger), (1_800 - 8, 0));
    for thread in 0..3_u8 {
        let value = [299_u32.to_be_bytes().as_slice(), &[thread; 200]].concat();
        assert_eq!(ledger.get(&format!("own/{thread}")).unwrap(), Some(Value::Bytes(value)));
    }
}

#[test]
fn many_values_of_one_event() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir, "ledger");
    for _ in 0..2 {
        let mut transaction = ledger.transaction();
        for number in 0..5_000_u32 {
            transaction.put(&format!("k/{number}"), &number.to_be_bytes()).unwrap();
        }
        transaction.commit().unwrap();
    }
    let mut last = (0, 0);
    let mut note = |done, total| last = (done, total);
    let report = ledger.prune(&Cut::Everything, PruneOptions::default(), &mut note).unwrap();
    assert_eq!((report.values, last), (5_000, (3, 3)));
    assert_eq!(gone(&ledger), (5_000, 0));
}

#[test]
fn what_is_lost_is_told_from_what_is_pruned() {
    let dir = TempDir::new().unwrap();
    let (ledger, _, events) = twins(&dir);
    prune(&ledger, &at(events[1]));
    let path = ledger.dir().join("db");
    drop(ledger);
    let change = |family: &str, prefix: &[u8]| {
        let names = DB::list_cf(&rocksdb::Options::default(), &path).unwrap();
        let families =
            names.iter().map(|name| ColumnFamilyDescriptor::new(name, rocksdb::Options::default()));
        let db = DB::open_cf_descriptors(&rocksdb::Options::default(), &path, families).unwrap();
        let handle = db.cf_handle(family).unwrap();
        let item = db.prefix_iterator_cf(handle, prefix).next().unwrap().unwrap();
        assert!(item.0.starts_with(prefix));
        db.delete_cf(handle, &item.0).unwrap();
        item
    };
    let restore = |family: &str, (key, value): (Box<[u8]>, Box<[u8]>)| {
        let names = DB::list_cf(&rocksdb::Options::default(), &path).unwrap();
        let families =
            names.iter().map(|name| ColumnFamilyDescriptor::new(name, rocksdb::Options::default()));
        let db = DB::open_cf_descriptors(&rocksdb::Options::default(), &path, families).unwrap();
        db.put_cf(db.cf_handle(family).unwrap(), key, value).unwrap();
    };
    for (family, prefix) in [("openings", &[][..]), ("meta", b"P")] {
        let item = change(family, prefix);
        let ledger = Ledger::open(dir.path().join("ledger")).unwrap();
        let report = ledger.verify(&mut |_, _| {}).unwrap();
        assert!(report.findings.iter().any(|f| f.what.contains("is gone")), "{report:?}");
        drop(ledger);
        restore(family, item);
    }
    gone(&Ledger::open(dir.path().join("ledger")).unwrap());
}
