//! `verify` finds nothing in sound stores, and something in every damaged one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has done its work")]

mod support;

use std::fs;
use std::path::Path;

use quipu_merge::ForkPolicy;
use quipu_store::{Ledger, NewLedger};
use rocksdb::DB;
use support::{assert_sound, busy_and_pruned, clone_of, copy, raw, records, some};
use tempfile::TempDir;

#[test]
fn sound_stores_have_no_findings() {
    for forks in [ForkPolicy::Keep, ForkPolicy::Exclude] {
        let dir = TempDir::new().unwrap();
        let path = busy_and_pruned(&dir, forks);
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
    let store = busy_and_pruned(&dir, ForkPolicy::Keep);
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
    let store = busy_and_pruned(&dir, ForkPolicy::Keep);
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
    let store = busy_and_pruned(&dir, ForkPolicy::Keep);
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
    let store = busy_and_pruned(&dir, ForkPolicy::Keep);
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
    let store = busy_and_pruned(&dir, ForkPolicy::Keep);
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
