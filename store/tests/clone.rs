//! Replicas that are granted a role as they are made: what is left where that does not succeed.

#![expect(clippy::unwrap_used, reason = "a test that panics has done its work")]

use std::path::Path;

use quipu_merge::{Cut, Role};
use quipu_store::{Ledger, NewLedger, OpenError, Options, WriteError};
use rocksdb::{DB, IteratorMode};
use tempfile::TempDir;

fn put(ledger: &Ledger) {
    let mut transaction = ledger.transaction();
    transaction.put("k", b"v").unwrap();
    transaction.commit().unwrap();
}

fn granted(dir: &Path, source: &Ledger) -> Result<Ledger, OpenError> {
    let cloned = Options::new().clone_granted(dir, source, Role::Writer, &mut |_, _| {});
    cloned.map(|(ledger, _)| ledger)
}

fn events(ledger: &Ledger) -> u64 {
    ledger.snapshot().unwrap().len().unwrap()
}

#[test]
fn a_granted_clone_writes_at_once() {
    let place = TempDir::new().unwrap();
    let source = Ledger::create(place.path().join("source"), &NewLedger::default()).unwrap();
    put(&source);
    let dir = place.path().join("clone");
    let (clone, report) =
        Options::new().clone_granted(&dir, &source, Role::Writer, &mut |_, _| {}).unwrap();
    assert_eq!((report.new_events, events(&clone), events(&source)), (2, 3, 3));
    assert_ne!(clone.author(), source.author());
    put(&clone);
    drop(clone);
    put(&Ledger::open(&dir).unwrap());
}

#[test]
fn a_failed_grant_leaves_nothing() {
    let place = TempDir::new().unwrap();
    let admin = Ledger::create(place.path().join("admin"), &NewLedger::default()).unwrap();
    let dir = place.path().join("new");
    let none = Options::new().clone_ledger(
        place.path().join("none"),
        &admin,
        &Cut::Everything,
        &mut |_, _| {},
    );
    let source = none.unwrap().0;
    let refused = granted(&dir, &source).err().unwrap();
    assert!(matches!(refused, OpenError::Grant(_)), "{refused}");
    assert!(!dir.exists());
    assert_eq!(events(&source), 1);
    // Where there is something already, nothing is granted either.
    let exists = granted(admin.dir(), &admin).err().unwrap();
    assert!(matches!(exists, OpenError::Exists(_)), "{exists}");
    assert_eq!(events(&admin), 1);
    let path = admin.dir().to_owned();
    drop(admin);
    std::fs::remove_file(path.join("identity.pem")).unwrap();
    let admin = Ledger::open(path).unwrap();
    let locked = granted(&dir, &admin).err().unwrap();
    let OpenError::Grant(error) = &locked else { unreachable!("{locked}") };
    assert!(matches!(**error, WriteError::Identity(_)), "{error}");
    assert!(!dir.exists());
    assert_eq!(events(&admin), 1);
}

#[test]
fn a_failed_clone_leaves_the_grant_alone() {
    let place = TempDir::new().unwrap();
    let path = place.path().join("source");
    let source = Ledger::create(&path, &NewLedger::default()).unwrap();
    (0..3).for_each(|_| put(&source));
    drop(source);
    let (raw, options) = (path.join("db"), rocksdb::Options::default());
    let db = DB::open_cf(&options, &raw, DB::list_cf(&options, &raw).unwrap()).unwrap();
    let family = db.cf_handle("events").unwrap();
    let (second, _) = db.iterator_cf(family, IteratorMode::Start).nth(1).unwrap().unwrap();
    db.delete_cf(family, second).unwrap();
    drop(db);
    let source = Ledger::open(&path).unwrap();
    let dir = place.path().join("new");
    let failed = granted(&dir, &source).err().unwrap();
    assert!(matches!(failed, OpenError::Merge(_)), "{failed}");
    assert!(!dir.exists());
    let heads = source.snapshot().unwrap().heads().unwrap();
    assert_eq!(source.snapshot().unwrap().event(heads[0]).unwrap().seq.0, 5);
}
