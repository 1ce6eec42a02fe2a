//! Where many events in a row are lost, `verify` does not tell of each of their openings.
#![allow(clippy::unwrap_used, reason = "a test that panics has done its work")]

mod support;

use quipu_store::{Ledger, NewLedger};
use support::{raw, records, verify};
use tempfile::TempDir;

#[test]
fn openings_of_lost_events_are_told_of_together() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("ledger");
    let ledger = Ledger::create(&store, &NewLedger::default()).unwrap();
    for number in 0..50_u8 {
        let mut transaction = ledger.transaction();
        transaction.put(&format!("k/{number}"), &[number]).unwrap();
        transaction.commit().unwrap();
    }
    drop(ledger);
    let db = raw(&store);
    let events = records(&db, "events", b"");
    for (key, _) in events.get(10..20).unwrap().iter().chain(events.get(30..31).unwrap()) {
        db.delete_cf(db.cf_handle("events").unwrap(), key).unwrap();
    }
    drop(db);
    let report = verify(&Ledger::open(&store).unwrap());
    assert_eq!(report.openings, 50);
    let told: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    let told: Vec<_> = told.iter().filter(|what| what.contains("openings")).collect();
    let expected = [
        "events 11 to 20 on lane 0: 10 pages of openings, and no event that names them",
        "event 31 on lane 0: a page of openings, and no event that names it",
    ];
    assert_eq!(told, expected);
}
