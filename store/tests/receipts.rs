//! Receipts: with the event, or not at all.

#![allow(clippy::unwrap_used, reason = "a test that panics has done its work")]

use quipu_merge::Micros;
use quipu_store::{
    Expected, Ledger, MAX_RECEIPT_NAME, MAX_RECEIPT_NOTE, NewLedger, Receipt, RepairOptions,
    WriteError,
};

fn ledger(dir: &tempfile::TempDir) -> Ledger {
    Ledger::create(dir.path().join("ledger"), &NewLedger::default()).unwrap()
}

fn commit(ledger: &Ledger, name: &[u8]) -> Receipt {
    let mut transaction = ledger.transaction();
    transaction.inc("c", 1).unwrap().receipt(name, b"note").unwrap();
    let committed = transaction.commit().unwrap();
    Receipt { name: name.to_vec(), note: b"note".to_vec(), committed }
}

#[test]
fn a_receipt_is_there_when_the_event_is() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(&dir);
    assert_eq!(ledger.receipt(b"a").unwrap(), None);
    let receipt = commit(&ledger, b"a");
    assert_eq!(ledger.receipt(b"a").unwrap().as_ref(), Some(&receipt));
    assert!(receipt.committed.time > Micros(0));
    // What is not committed leaves none.
    let mut transaction = ledger.transaction();
    transaction.put("k", b"v").unwrap().receipt(b"b", b"").unwrap();
    transaction.require("k", Expected::Writes(vec![receipt.committed.event])).unwrap();
    assert!(matches!(transaction.commit(), Err(WriteError::Condition { .. })));
    let mut transaction = ledger.transaction();
    transaction.receipt(b"b", b"").unwrap();
    assert!(transaction.commit().is_err());
    drop(ledger);
    let ledger = Ledger::open(dir.path().join("ledger")).unwrap();
    assert_eq!(ledger.receipts(None, 10).unwrap(), [receipt]);
    assert!(ledger.verify(&mut |_, _| {}).unwrap().findings.is_empty());
}

#[test]
fn receipts_are_listed_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(&dir);
    let all = [&b""[..], b"a", b"a\0", b"b"].map(|name| commit(&ledger, name));
    assert_eq!(ledger.receipts(None, 10).unwrap(), all);
    assert_eq!(ledger.receipts(None, 2).unwrap(), all[..2]);
    assert_eq!(ledger.receipts(Some(b"a"), 10).unwrap(), all[2..]);
    assert_eq!(ledger.receipts(Some(b"b"), 10).unwrap(), []);
    ledger.drop_receipts(&[b"a".to_vec(), b"none".to_vec()]).unwrap();
    let names: Vec<_> = ledger.receipts(None, 10).unwrap().into_iter().map(|r| r.name).collect();
    assert_eq!(names, [&b""[..], b"a\0", b"b"]);
    // One of the same name takes its place.
    let later = commit(&ledger, b"b");
    assert_eq!(ledger.receipt(b"b").unwrap(), Some(later));
}

#[test]
fn a_receipt_has_a_length() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(&dir);
    let mut transaction = ledger.transaction();
    let (name, note) = ([1; MAX_RECEIPT_NAME], [2; MAX_RECEIPT_NOTE]);
    assert!(transaction.receipt(&[name.as_slice(), &[0]].concat(), &note).is_err());
    assert!(transaction.receipt(&name, &[note.as_slice(), &[0]].concat()).is_err());
    transaction.inc("c", 1).unwrap().receipt(&name, &note).unwrap();
    transaction.commit().unwrap();
    assert_eq!(ledger.receipt(&name).unwrap().unwrap().note, note);
}

#[test]
fn repair_keeps_receipts_of_events_that_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(&dir);
    let receipt = commit(&ledger, b"a");
    let path = ledger.dir().to_owned();
    drop(ledger);
    quipu_store::Options::new().repair(&path, &RepairOptions::default(), &mut |_, _| {}).unwrap();
    let ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.receipts(None, 10).unwrap(), [receipt]);
    assert!(ledger.verify(&mut |_, _| {}).unwrap().findings.is_empty());
}

#[test]
fn numbers_of_the_database_and_whether_it_takes_writes() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(&dir);
    for number in 0..100 {
        commit(&ledger, format!("{number}").as_bytes());
    }
    ledger.check_writable().unwrap();
    let stats = ledger.database_stats().unwrap();
    assert!(stats.keys >= 100 && stats.memtable_bytes > 0, "{stats:?}");
    assert_eq!((stats.background_errors, stats.writes_stopped), (0, false));
    let snapshot = ledger.snapshot().unwrap();
    assert_eq!(ledger.database_stats().unwrap().snapshots, 1);
    drop(snapshot);
    ledger.compact().unwrap();
    let stats = ledger.database_stats().unwrap();
    assert!(stats.tables > 0 && stats.table_bytes > 0, "{stats:?}");
}
