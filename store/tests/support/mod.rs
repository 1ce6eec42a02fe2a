//! A store with something of everything, and what lies beneath it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

pub mod certified;
pub mod dice;
pub mod reading;
pub mod values;

use std::fs;
use std::path::{Path, PathBuf};

use quipu_merge::{Cut, ForkPolicy, Link, Policy, Role};
use quipu_store::{Ledger, NewLedger, Options, Pin, PruneOptions, Value, VerifyReport};
use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode};
use tempfile::TempDir;

const FAMILIES: [&str; 12] = [
    "meta", "events", "ids", "order", "openings", "blocks", "digests", "edges", "state",
    "versions", "final", "tree",
];

pub fn verify(ledger: &Ledger) -> VerifyReport {
    ledger.verify(&mut |_, _| {}).unwrap()
}

pub fn assert_sound(ledger: &Ledger) -> VerifyReport {
    let report = verify(ledger);
    let findings: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert!(report.is_sound(), "{findings:#?}");
    report
}

pub fn merge(to: &Ledger, from: &Ledger) {
    to.merge(from, &mut |_, _| {}).unwrap();
}

pub fn clone_of(ledger: &Ledger, dir: &Path) -> Ledger {
    Options::new().clone_ledger(dir, ledger, &Cut::Everything, &mut |_, _| {}).unwrap().0
}

pub fn copy(from: &Path, to: &Path) {
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
pub fn write(ledger: &Ledger, salt: u8, rounds: u32) {
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
pub fn busy(dir: &TempDir, forks: ForkPolicy) -> PathBuf {
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
    let report = assert_sound(&first);
    assert!(
        report.events > 30 && report.openings > 30 && report.blocks > 2 && report.versions > 30
    );
    let status = first.status().unwrap();
    assert!(status.void > 0 && status.conflicts > 0 && status.forks.len() == 1, "{status:?}");
    path("first")
}

/// The same, with pins, and without the values that no state shows any more.
pub fn busy_and_pruned(dir: &TempDir, forks: ForkPolicy) -> PathBuf {
    let path = busy(dir, forks);
    let ledger = Ledger::open(&path).unwrap();
    let heads = ledger.snapshot().unwrap().heads().unwrap();
    let mut transaction = ledger.transaction();
    transaction.put("pinned", &[0; 10_000]).unwrap();
    transaction.commit().unwrap();
    let Some(Value::Long(Link { block: pinned, .. })) = ledger.get("pinned").unwrap() else {
        panic!("no long value")
    };
    let pins = heads.iter().copied().map(Pin::Event).chain([Pin::Block(pinned)]);
    ledger.pin(&pins.collect::<Vec<_>>()).unwrap();
    let pruned = ledger.prune(&Cut::Heads(heads), PruneOptions::default(), &mut |_, _| {}).unwrap();
    assert!(pruned.values > 2, "{pruned:?}");
    assert_sound(&ledger);
    path
}

/// Opens the database beneath a closed store.
pub fn raw(store: &Path) -> DB {
    let families =
        FAMILIES.map(|name| ColumnFamilyDescriptor::new(name, rocksdb::Options::default()));
    DB::open_cf_descriptors(&rocksdb::Options::default(), store.join("db"), families).unwrap()
}

/// A key and a value.
pub type Record = (Vec<u8>, Vec<u8>);

pub fn records(db: &DB, family: &str, prefix: &[u8]) -> Vec<Record> {
    let all = db.iterator_cf(db.cf_handle(family).unwrap(), IteratorMode::Start);
    let all = all.map(|item| item.unwrap()).map(|(key, value)| (key.to_vec(), value.to_vec()));
    all.filter(|(key, _)| key.starts_with(prefix)).collect()
}

/// A few of many, spread evenly.
pub fn some<T>(all: Vec<T>, count: usize) -> Vec<T> {
    let step = all.len().div_ceil(count).max(1);
    all.into_iter().step_by(step).collect()
}
