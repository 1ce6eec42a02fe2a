//! A thread that panics while it writes: nobody waits for it for ever, nothing is written on top of
//! what it left, and the store opens again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has done its work")]

use std::sync::mpsc;
use std::time::Duration;

use fail::FailScenario;
use quipu_store::{Ledger, NewLedger, ReadError, StorageError, WriteError};
use tempfile::TempDir;

fn write(ledger: &Ledger) -> Result<(), WriteError> {
    let mut transaction = ledger.transaction();
    transaction.inc("count", 1).unwrap();
    transaction.commit().map(drop)
}

/// A control event is written by a thread that has the ledger for itself.
fn grant(ledger: &Ledger) -> Result<(), WriteError> {
    ledger.grant(quipu_merge::AuthorKey([9; 32]), quipu_merge::Role::Writer).map(drop)
}

fn is_poisoned(result: Result<(), WriteError>) -> bool {
    matches!(result, Err(WriteError::Storage(StorageError::Poisoned(_))))
}

/// Lets a thread panic in `act` at `point`, and tells how many events there are when the store has
/// been opened again.
fn panic_at(point: &str, act: fn(&Ledger) -> Result<(), WriteError>) -> u64 {
    let scenario = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let ledger = Ledger::create(&path, &NewLedger::default()).unwrap();
    write(&ledger).unwrap();
    fail::cfg(point, "panic").unwrap();
    assert!(std::thread::scope(|scope| scope.spawn(|| act(&ledger)).join().is_err()));
    fail::remove(point);
    assert!(is_poisoned(write(&ledger)) && is_poisoned(grant(&ledger)), "{point}");
    match ledger.snapshot() {
        // Nothing has been written: what was there before can still be read.
        Ok(snapshot) => assert_eq!((point, snapshot.len().unwrap()), ("before-write", 2)),
        Err(ReadError::Storage(StorageError::Poisoned(_))) => assert_eq!(point, "after-write"),
        Err(other) => panic!("{other}"),
    }
    drop(ledger);
    let ledger = Ledger::open(&path).unwrap();
    let events = ledger.snapshot().unwrap().len().unwrap();
    write(&ledger).unwrap();
    assert!(ledger.verify(&mut |_, _| {}).unwrap().is_sound());
    // Until here, no other test may set fail points.
    scenario.teardown();
    events
}

#[test]
fn a_panic_poisons_the_ledger() {
    for act in [write, grant] {
        assert_eq!(panic_at("before-write", act), 2);
        assert_eq!(panic_at("after-write", act), 3);
    }
}

/// Those whose events are in the next group wait for the thread that panics.
#[test]
fn nobody_waits_for_a_thread_that_panicked() {
    let scenario = FailScenario::setup();
    let dir = TempDir::new().unwrap();
    let ledger = Ledger::create(dir.path().join("store"), &NewLedger::default()).unwrap();
    let (reached, wait) = mpsc::channel();
    let reached = std::sync::Mutex::new(reached);
    fail::cfg_callback("before-write", move || {
        reached.lock().unwrap().send(()).unwrap();
        // Time for the other to come.
        std::thread::sleep(Duration::from_millis(300));
        panic!("as the test wants");
    })
    .unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| write(&ledger));
        wait.recv().unwrap();
        let (second, third) = (scope.spawn(|| write(&ledger)), scope.spawn(|| grant(&ledger)));
        assert!(first.join().is_err());
        assert!(is_poisoned(second.join().unwrap()) && is_poisoned(third.join().unwrap()));
    });
    scenario.teardown();
}
