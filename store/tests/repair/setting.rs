//! A damaged store, and what a repair is to make of it.

use std::fs;
use std::path::{Path, PathBuf};

use quipu_merge::{Cut, EventId, ForkPolicy};
use quipu_store::{
    Committed, Ledger, LogFilter, Options, RepairError, RepairOptions, RepairReport, WriteError,
};
use rocksdb::DB;
use tempfile::TempDir;

use super::support::{assert_sound, busy, clone_of, copy, raw, records};

pub fn repair(store: &Path, from: &[&Path]) -> RepairReport {
    try_repair(store, from, false).unwrap()
}

pub fn try_repair(store: &Path, from: &[&Path], force: bool) -> Result<RepairReport, RepairError> {
    let from = from.iter().map(|path| path.to_path_buf()).collect();
    Options::new().min_free(0).repair(store, &RepairOptions { from, force }, &mut |_, _| {})
}

/// What a store has that every replica with the same events and values has.
#[derive(PartialEq)]
pub struct Content {
    pub heads: Vec<EventId>,
    pub dump: String,
    pub order: Vec<EventId>,
    pub names: String,
    pub waiting: Vec<EventId>,
    pub file: Vec<u8>,
}

pub fn content(ledger: &Ledger) -> Content {
    let snapshot = ledger.snapshot().unwrap();
    let mut file = Vec::new();
    ledger.export(&mut file, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    Content {
        heads: snapshot.heads().unwrap(),
        dump: format!("{:?}", snapshot.dump(&[]).unwrap()),
        order: snapshot.log(LogFilter::default()).unwrap().map(|info| info.unwrap().id).collect(),
        names: format!("{:?}", snapshot.names().unwrap()),
        waiting: ledger.waiting().into_iter().map(|info| info.event).collect(),
        file,
    }
}

/// Opens a repaired store, which must be sound and have this content and author.
#[track_caller]
pub fn assert_is(store: &Path, expected: &Content, what: &str) {
    let ledger = Ledger::open(store).unwrap();
    assert_sound(&ledger);
    let found = content(&ledger);
    assert!(found.heads == expected.heads, "{what}: the heads");
    assert!(found.order == expected.order, "{what}: the order");
    assert!(found.dump == expected.dump, "{what}: the state");
    assert!(found.names == expected.names, "{what}: the names");
    assert!(found.waiting == expected.waiting, "{what}: what waits");
    assert!(found.file == expected.file, "{what}: the bytes");
    assert!(!ledger.is_copied() && ledger.loss().is_none());
}

/// A store, a replica that has all of it, and what they hold.
pub struct Setting {
    pub dir: TempDir,
    pub store: PathBuf,
    pub twin: PathBuf,
    pub expected: Content,
}

impl Setting {
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = busy(&dir, ForkPolicy::Keep);
        let twin = dir.path().join("twin");
        let ledger = Ledger::open(&store).unwrap();
        drop(clone_of(&ledger, &twin));
        let expected = content(&ledger);
        Self { dir, store, twin, expected }
    }

    /// A copy of the store, at a place of its own, that `change` has damaged.
    pub fn damaged(&self, change: impl FnOnce(&Path)) -> PathBuf {
        let damaged = self.dir.path().join("damaged");
        let _ = fs::remove_dir_all(&damaged);
        copy(&self.store, &damaged);
        // It is at home there.
        Ledger::open(&damaged).unwrap().keep_place().unwrap();
        change(&damaged);
        damaged
    }

    pub fn damaged_db(&self, change: impl FnOnce(&DB)) -> PathBuf {
        self.damaged(|store| change(&raw(store)))
    }
}

/// Removes the records of a family that begin with `prefix`.
pub fn delete_all(db: &DB, family: &str, prefix: &[u8]) {
    let handle = db.cf_handle(family).unwrap();
    records(db, family, prefix).iter().for_each(|(key, _)| db.delete_cf(handle, key).unwrap());
}

/// Writes one more event.
pub fn write_on(ledger: &Ledger) -> Result<Committed, WriteError> {
    let mut transaction = ledger.transaction();
    transaction.inc("count", 1).unwrap();
    transaction.commit()
}

/// The file that the database reads last of those whose names end so.
pub fn file_of(store: &Path, end: &str) -> PathBuf {
    let entries = fs::read_dir(store.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().contains(end)).collect();
    files.sort();
    files.pop().unwrap()
}
