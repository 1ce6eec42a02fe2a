//! `verify` finds nothing in sound stores, and something in every damaged one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has done its work")]

use std::fs;
use std::path::{Path, PathBuf};

use quipu_merge::{Cut, ForkPolicy, Link, Policy, Role};
use quipu_store::{Ledger, NewLedger, Options, Pin, PruneOptions, Value, VerifyReport};
use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode};
use tempfile::TempDir;

const FAMILIES: [&str; 10] = [
    "meta", "events", "ids", "order", "openings", "blocks", "digests", "edges", "state", "versions",
];

fn verify(ledger: &Ledger) -> VerifyReport {
    ledger.verify(&mut |_, _| {}).unwrap()
}

fn assert_sound(ledger: &Ledger) -> VerifyReport {
    let report = verify(ledger);
    let findings: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert!(report.is_sound(), "{findings:#?}");
    report
}

fn merge(to: &Ledger, from: &Ledger) {
    to.merge(from, &mut |_, _| {}).unwrap();
}

fn clone_of(ledger: &Ledger, dir: &Path) -> Ledger {
    Options::new().clone_ledger(dir, ledger, &Cut::Everything, &mut |_, _| {}).unwrap().0
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Writes something of every kind; `salt` sets the writers apart.
fn write(ledger: &Ledger, salt: u8, rounds: u32) {
    for round in 0..rounds {
        let mut transaction = ledger.transaction();
        let value = [salt; 20];
        transaction.put(&format!("shared/{}", round % 3), &value).unwrap();
        transaction.put(&format!("own/{salt}"), format!("{salt}-{round}").as_bytes()).unwrap();
        transaction.inc("count", i64::from(round) + 1).unwrap();
        transaction.inc("count", -1).unwrap().inc(&format!("count/{salt}"), 1).unwrap();
        transaction.append(&format!("list/{salt}"), b"alone").unwrap();
        transaction.add(&format!("set/{salt}"), b"alone").unwrap();
        transaction.add("set", &[salt, 0, u8::try_from(round % 2).unwrap()]).unwrap();
        transaction.append("list", &[salt; 200]).unwrap();
        transaction.commit().unwrap();
        let mut transaction = ledger.transaction();
        transaction.rem("set", &[1, 0, 0]).unwrap();
        transaction.del(&format!("shared/{}", (round + 1) % 3)).unwrap();
        transaction.put("medium", &[salt; 1000]).unwrap();
        transaction.commit().unwrap();
    }
}

/// A store with forks, revokes, redacts, conflicts, a waiting event and values of all lengths.
fn busy(dir: &TempDir, forks: ForkPolicy) -> PathBuf {
    let path = |name: &str| dir.path().join(name);
    let new = NewLedger { policy: Policy::Members, forks, ..NewLedger::default() };
    let first = Ledger::create(path("first"), &new).unwrap();
    let second = clone_of(&first, &path("second"));
    let third = clone_of(&first, &path("third"));
    let fourth = clone_of(&first, &path("fourth"));
    first.grant(fourth.author(), Role::Writer).unwrap();
    first.grant(second.author(), Role::Admin).unwrap();
    first.grant(third.author(), Role::Writer).unwrap();
    write(&first, 0, 3);
    let long: Vec<u8> =
        (0..3_000_000_u32).map(|n| n.to_be_bytes()[3] ^ n.to_be_bytes()[1]).collect();
    let mut transaction = first.transaction();
    transaction.put("long", &long).unwrap();
    let secret = transaction.commit().unwrap();
    let at_secret = Cut::Heads(vec![secret.event]);
    let mut transaction = first.transaction();
    transaction.put("pinned", &[0; 10_000]).unwrap();
    transaction.commit().unwrap();
    let Some(Value::Long(Link { block: pinned, .. })) = first.get("pinned").unwrap() else {
        panic!("no long value")
    };
    merge(&second, &first);
    merge(&third, &first);
    write(&second, 1, 4);
    write(&third, 2, 4);
    write(&first, 0, 2);
    let mut transaction = third.transaction();
    transaction.put("secret", b"to be erased").unwrap().append("list", b"this too").unwrap();
    let erased = transaction.commit().unwrap();
    let mut transaction = third.transaction();
    transaction.put("secret", b"erased by its author").unwrap();
    let own = transaction.commit().unwrap();
    third.redact(own.event).unwrap();
    merge(&second, &third);
    // A copy with the same key, which forks its author.
    drop(third);
    copy(&path("third"), &path("copy"));
    let third = Ledger::open(path("third")).unwrap();
    let copied = Ledger::open(path("copy")).unwrap();
    copied.keep_place().unwrap();
    write(&copied, 3, 2);
    write(&third, 4, 2);
    second.redact(erased.event).unwrap();
    second.revoke(third.author()).unwrap();
    write(&second, 1, 1);
    for other in [&second, &third, &copied] {
        merge(&first, other);
        assert_sound(other);
    }
    merge(&fourth, &first);
    write(&fourth, 5, 1);
    first.redact(secret.event).unwrap();
    write(&first, 0, 2);
    merge(&first, &fourth);
    first.revoke(second.author()).unwrap();
    write(&second, 1, 1);
    merge(&first, &second);
    first.set_name(second.author(), Some("second")).unwrap();
    let pins = first.snapshot().unwrap().heads().unwrap();
    let pins = pins.into_iter().map(Pin::Event).chain([Pin::Block(pinned)]);
    first.pin(&pins.collect::<Vec<_>>()).unwrap();
    let pruned = first.prune(&at_secret, PruneOptions::default(), &mut |_, _| {}).unwrap();
    assert!(pruned.values > 2, "{pruned:?}");
    let report = assert_sound(&first);
    assert!(
        report.events > 30 && report.openings > 30 && report.blocks > 2 && report.versions > 30
    );
    let status = first.status().unwrap();
    assert!(status.void > 0 && status.conflicts > 0 && status.forks.len() == 1, "{status:?}");
    path("first")
}

#[test]
fn sound_stores_have_no_findings() {
    for forks in [ForkPolicy::Keep, ForkPolicy::Exclude] {
        let dir = TempDir::new().unwrap();
        let path = busy(&dir, forks);
        let ledger = Ledger::open(&path).unwrap();
        assert_sound(&ledger);
        ledger.compact().unwrap();
        let copy = clone_of(&ledger, &dir.path().join("again"));
        let (left, right) = (assert_sound(&ledger), assert_sound(&copy));
        assert_eq!((left.events, left.versions), (right.events, right.versions));
        assert_eq!(
            ledger.snapshot().unwrap().dump(&[]).unwrap(),
            copy.snapshot().unwrap().dump(&[]).unwrap()
        );
    }
}

/// Opens the database beneath a closed store.
fn raw(store: &Path) -> DB {
    let families =
        FAMILIES.map(|name| ColumnFamilyDescriptor::new(name, rocksdb::Options::default()));
    DB::open_cf_descriptors(&rocksdb::Options::default(), store.join("db"), families).unwrap()
}

type Record = (Vec<u8>, Vec<u8>);

fn records(db: &DB, family: &str, prefix: &[u8]) -> Vec<Record> {
    let all = db.iterator_cf(db.cf_handle(family).unwrap(), IteratorMode::Start);
    let all = all.map(|item| item.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec()));
    all.filter(|(key, _)| key.starts_with(prefix)).collect()
}

/// What a damaged store does: it cannot be opened, and says why, or `verify` finds something.
/// Reading it meanwhile gives answers or errors.
fn assert_noticed(store: &Path, what: &str) {
    let ledger = match Ledger::open(store) {
        Ok(ledger) => ledger,
        Err(error) => {
            assert!(error.to_string().len() > 10, "{what}: {error}");
            return;
        }
    };
    if let Ok(snapshot) = ledger.snapshot() {
        let _ = snapshot.dump(&[]);
        let _ = snapshot.register_history("shared/0");
        let _ = snapshot.log(quipu_store::LogFilter::default()).map(|log| log.take(1000).count());
        let _ = snapshot.keys("", |key, _| {
            let _ = snapshot.get(key);
            true
        });
    }
    match ledger.verify(&mut |_, _| {}) {
        Ok(report) => assert!(!report.is_sound(), "{what}: nothing was found"),
        Err(error) => panic!("{what}: {error}"),
    }
}

/// Damages a copy of the store, closes it, and looks whether that is noticed.
fn damage(dir: &TempDir, store: &Path, what: &str, change: impl FnOnce(&DB)) {
    let damaged = dir.path().join("damaged");
    copy(store, &damaged);
    let db = raw(&damaged);
    change(&db);
    drop(db);
    assert_noticed(&damaged, what);
    fs::remove_dir_all(damaged).unwrap();
}

/// A few of many, spread evenly.
fn some<T>(all: Vec<T>, count: usize) -> Vec<T> {
    let step = all.len().div_ceil(count).max(1);
    all.into_iter().step_by(step).collect()
}

/// Kinds of records: their family, what their keys begin with, how many of them to try.
const KINDS: [(&str, &[u8], usize); 21] = [
    ("meta", b"L", 2),
    ("meta", b"C", 3),
    ("meta", b"V", 2),
    ("meta", b"E", 2),
    ("meta", b"K", 2),
    ("meta", b"P", 2),
    ("meta", b"Ib", 1),
    ("meta", b"Ie", 0),
    ("meta", b"ledger", 1),
    ("meta", b"heads", 1),
    ("meta", b"format", 1),
    ("events", b"", 5),
    ("ids", b"", 4),
    ("order", b"", 4),
    ("state", b"c", 1),
    ("state", b"l", 1),
    ("state", b"m", 2),
    ("state", b"r", 4),
    ("state", b"s", 1),
    ("openings", b"", 0),
    ("versions", b"", 12),
];

#[test]
fn missing_records_are_noticed() {
    let dir = TempDir::new().unwrap();
    let store = busy(&dir, ForkPolicy::Keep);
    for (family, prefix, count) in KINDS {
        let all = records(&raw(&store), family, prefix);
        assert!(!all.is_empty(), "{family} {prefix:?}");
        // An opening may be missing, and so may the pin of an event.
        for (key, _) in some(all, count.max(1)).into_iter().take(count) {
            damage(&dir, &store, &format!("{family} without {key:?}"), |db| {
                db.delete_cf(db.cf_handle(family).unwrap(), &key).unwrap();
            });
        }
    }
}

#[test]
fn changed_records_are_noticed() {
    let dir = TempDir::new().unwrap();
    let store = busy(&dir, ForkPolicy::Keep);
    let kinds = KINDS.into_iter().map(|(family, prefix, count)| (family, prefix, count.max(2)));
    let kinds = kinds.chain([("blocks", [].as_slice(), 2)]);
    for (family, prefix, count) in kinds {
        let all = records(&raw(&store), family, prefix);
        for (key, value) in some(all, count) {
            let places = [0, value.len() / 2, value.len().saturating_sub(1)];
            for place in places.into_iter().filter(|place| *place < value.len()) {
                // The number of the commit is any number.
                if key == b"heads" && place == 0 {
                    continue;
                }
                damage(&dir, &store, &format!("{family} {key:?}: byte {place}"), |db| {
                    let mut value = value.clone();
                    value[place] ^= 1;
                    db.put_cf(db.cf_handle(family).unwrap(), &key, value).unwrap();
                });
            }
            if value.len() > 1 {
                damage(&dir, &store, &format!("{family} {key:?}: cut off"), |db| {
                    db.put_cf(db.cf_handle(family).unwrap(), &key, &value[..value.len() / 2])
                        .unwrap();
                });
            }
        }
    }
}

#[test]
fn bogus_records_are_noticed() {
    let dir = TempDir::new().unwrap();
    let store = busy(&dir, ForkPolicy::Keep);
    for (family, prefix, _) in KINDS.into_iter().chain([("blocks", [].as_slice(), 1)]) {
        let Some((key, value)) = records(&raw(&store), family, prefix).into_iter().next_back()
        else {
            continue;
        };
        if [b"ledger".as_slice(), b"format", b"heads"].contains(&prefix) {
            continue;
        }
        damage(&dir, &store, &format!("{family} {prefix:?}: one more"), |db| {
            let mut key = key.clone();
            *key.last_mut().unwrap() ^= 0x55;
            db.put_cf(db.cf_handle(family).unwrap(), key, &value).unwrap();
        });
        damage(&dir, &store, &format!("{family} {prefix:?}: a longer key"), |db| {
            db.put_cf(db.cf_handle(family).unwrap(), [key.as_slice(), b"x"].concat(), &value)
                .unwrap();
        });
    }
    damage(&dir, &store, "an unknown mark", |db| {
        db.put_cf(db.cf_handle("meta").unwrap(), b"Unknown", b"").unwrap();
    });
    damage(&dir, &store, "a waiting event that is none", |db| {
        db.put_cf(
            db.cf_handle("meta").unwrap(),
            [b"W".as_slice(), &[7; 32]].concat(),
            b"\x01\x02\x00",
        )
        .unwrap();
    });
    damage(&dir, &store, "an event marked as void", |db| {
        let (key, _) = records(db, "events", b"").remove(4);
        db.put_cf(db.cf_handle("meta").unwrap(), [b"V".as_slice(), &key].concat(), b"").unwrap();
    });
}

/// The time of an event stands in front of it in its record, too.
#[test]
fn another_time_in_a_record_is_noticed() {
    let dir = TempDir::new().unwrap();
    let store = busy(&dir, ForkPolicy::Keep);
    for (key, value) in some(records(&raw(&store), "events", b""), 4) {
        // An event is a map of nine entries whose first key is `v`.
        let event = value.windows(3).position(|bytes| bytes == [0xa9, 0x61, b'v']).unwrap();
        damage(&dir, &store, "the time of a record", |db| {
            let mut value = value.clone();
            // The length of an event takes two bytes; the time ends before it.
            value[event - 4] ^= 1;
            db.put_cf(db.cf_handle("events").unwrap(), &key, value).unwrap();
        });
    }
}

/// Bytes of an erased value that came back are noticed, though they are what the event names.
#[test]
fn erased_values_that_are_there_are_noticed() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let ledger = Ledger::create(&store, &NewLedger::default()).unwrap();
    let mut transaction = ledger.transaction();
    transaction.put("secret", b"to be erased").unwrap();
    let event = transaction.commit().unwrap().event;
    drop(ledger);
    let held = records(&raw(&store), "openings", b"");
    let ledger = Ledger::open(&store).unwrap();
    ledger.redact(event).unwrap();
    assert_sound(&ledger);
    drop(ledger);
    let [(key, value)] = held.as_slice() else { panic!("{held:?}") };
    damage(&dir, &store, "an erased value", |db| {
        assert!(records(db, "openings", b"").is_empty());
        db.put_cf(db.cf_handle("openings").unwrap(), key, value).unwrap();
    });
}

#[test]
fn flipped_bytes_in_files_are_noticed() {
    let dir = TempDir::new().unwrap();
    let store = busy(&dir, ForkPolicy::Keep);
    Ledger::open(&store).unwrap().compact().unwrap();
    let tables = fs::read_dir(store.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let tables: Vec<_> =
        tables.filter(|path| path.extension().is_some_and(|e| e == "sst")).collect();
    assert!(!tables.is_empty());
    for table in tables {
        let damaged = dir.path().join("damaged");
        copy(&store, &damaged);
        let table = damaged.join("db").join(table.file_name().unwrap());
        let mut bytes = fs::read(&table).unwrap();
        // Close to the front: data, and not what RocksDB merely keeps beside it.
        bytes[10] ^= 0xff;
        fs::write(&table, bytes).unwrap();
        assert_noticed(&damaged, &table.display().to_string());
        fs::remove_dir_all(damaged).unwrap();
    }
}
