//! A database that does not open, or lacks files.

use std::fs;
use std::path::Path;

use quipu_store::{Ledger, NewLedger, OpenError};
use tempfile::TempDir;

use super::setting::{Setting, assert_is, content, delete_all, file_of, repair};
use super::support::raw;

/// What RocksDB cannot open at all: everything is still there, in table files and logs.
#[test]
fn a_database_without_its_manifest_is_made_anew_without_loss() {
    let setting = Setting::new();
    let compacted = |store: &Path| Ledger::open(store).unwrap().compact().unwrap();
    let as_it_is = |_: &Path| ();
    for prepare in [as_it_is as fn(&Path), compacted] {
        for end in ["CURRENT", "MANIFEST"] {
            for cut in [None, Some(0), Some(10)] {
                let store = setting.damaged(|store| {
                    prepare(store);
                    let file = file_of(store, end);
                    match cut {
                        None => fs::remove_file(file).unwrap(),
                        Some(length) => {
                            let file = fs::OpenOptions::new().write(true).open(file).unwrap();
                            file.set_len(length).unwrap();
                        }
                    }
                });
                let error = Ledger::open(&store).map(drop).unwrap_err();
                assert!(!matches!(error, OpenError::NotFound(_)), "{end} {cut:?}: {error}");
                let report = repair(&store, &[]);
                assert!(report.is_whole(), "{end} {cut:?}: {report:#?}");
                assert_is(&store, &setting.expected, end);
            }
        }
    }
}

/// The blocks of a long value are in table files that the database took over, which name no family.
#[test]
fn blocks_are_kept_without_a_manifest_and_without_an_index() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let ledger = Ledger::create(&store, &NewLedger::default()).unwrap();
    let mut transaction = ledger.transaction();
    let long: Vec<u8> = (0..1_500_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
    transaction.put("long", &long).unwrap();
    transaction.commit().unwrap();
    let expected = content(&ledger);
    drop(ledger);
    let untouched = |_: &Path| ();
    let compacted = |store: &Path| Ledger::open(store).unwrap().compact().unwrap();
    let unindexed = |store: &Path| delete_all(&raw(store), "digests", b"");
    for prepare in [untouched as fn(&Path), unindexed, compacted] {
        prepare(&store);
        fs::remove_file(store.join("db/CURRENT")).unwrap();
        let report = repair(&store, &[]);
        assert!(report.is_whole() && report.verified.blocks > 10, "{report:#?}");
        assert_is(&store, &expected, "blocks");
    }
}

#[test]
fn a_table_file_that_is_gone_is_made_good() {
    let setting = Setting::new();
    let tables = |store: &Path| {
        let entries = fs::read_dir(store.join("db")).unwrap().map(|entry| entry.unwrap().path());
        let mut tables: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "sst")).collect();
        tables.sort();
        tables
    };
    drop(Ledger::open(&setting.store).unwrap().compact());
    let count = tables(&setting.store).len();
    assert!(count > 5, "{count}");
    for number in 0..count {
        let store = setting.damaged(|store| fs::remove_file(&tables(store)[number]).unwrap());
        let report = repair(&store, &[&setting.twin]);
        assert!(report.repaired && report.is_whole(), "{number}: {report:#?}");
        let ledger = Ledger::open(&store).unwrap();
        let found = content(&ledger);
        assert!(found.file == setting.expected.file && found.dump == setting.expected.dump);
        assert!(found.order == setting.expected.order && ledger.loss().is_none());
    }
}

/// A store whose content is in its log alone.
#[test]
fn a_log_without_a_manifest_is_read() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let ledger = Ledger::create(&store, &NewLedger::default()).unwrap();
    for number in 0..20_u8 {
        let mut transaction = ledger.transaction();
        transaction.put("key", &[number]).unwrap().inc("count", 1).unwrap();
        transaction.put("long", &[number; 20_000]).unwrap();
        transaction.commit().unwrap();
    }
    ledger.set_name(ledger.author(), Some("me")).unwrap();
    let expected = content(&ledger);
    drop(ledger);
    fs::remove_file(store.join("db/CURRENT")).unwrap();
    let report = repair(&store, &[]);
    assert!(report.is_whole(), "{report:#?}");
    assert_is(&store, &expected, "a log");
}
