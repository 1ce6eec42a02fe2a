//! A damaged store is made sound again: what is derived is derived anew, what is lost comes from
//! elsewhere, and what cannot be had is told.

#![expect(clippy::unwrap_used, reason = "a test that panics has done its work")]

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use ed25519_dalek::SigningKey;
use quipu_merge::{CheckpointNote, CheckpointSignature, Cut, ForkPolicy};
use quipu_store::{
    CertifiedCheckpoint, IdentityError, Ledger, NewLedger, OpenError, Options, Passphrase,
    RepairError, RepairOptions, RepairReport, WriteError,
};
use rocksdb::DB;
use support::values::put;
use support::{
    assert_sound, busy, busy_and_pruned, certified, clone_of, copy, merge, raw, records, some,
};
use tempfile::TempDir;

fn repair(store: &Path, from: &[&Path]) -> RepairReport {
    try_repair(store, from, false).unwrap()
}

fn try_repair(store: &Path, from: &[&Path], force: bool) -> Result<RepairReport, RepairError> {
    let from = from.iter().map(|path| path.to_path_buf()).collect();
    Options::new().min_free(0).repair(store, &RepairOptions { from, force }, &mut |_, _| {})
}

/// What a store has that every replica with the same events and values has.
#[derive(PartialEq)]
struct Content {
    heads: Vec<quipu_merge::EventId>,
    dump: String,
    order: Vec<quipu_merge::EventId>,
    names: String,
    waiting: Vec<quipu_merge::EventId>,
    file: Vec<u8>,
}

fn content(ledger: &Ledger) -> Content {
    let snapshot = ledger.snapshot().unwrap();
    let mut file = Vec::new();
    ledger.export(&mut file, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    Content {
        heads: snapshot.heads().unwrap(),
        dump: format!("{:?}", snapshot.dump(&[]).unwrap()),
        order: snapshot
            .log(quipu_store::LogFilter::default())
            .unwrap()
            .map(|info| info.unwrap().id)
            .collect(),
        names: format!("{:?}", snapshot.names().unwrap()),
        waiting: ledger.waiting().into_iter().map(|info| info.event).collect(),
        file,
    }
}

/// Opens a repaired store, which must be sound and have this content and author.
#[track_caller]
fn assert_is(store: &Path, expected: &Content, what: &str) {
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
struct Setting {
    dir: TempDir,
    store: PathBuf,
    twin: PathBuf,
    expected: Content,
}

impl Setting {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = busy(&dir, ForkPolicy::Keep);
        let twin = dir.path().join("twin");
        let ledger = Ledger::open(&store).unwrap();
        drop(clone_of(&ledger, &twin));
        let expected = content(&ledger);
        Self { dir, store, twin, expected }
    }

    /// A copy of the store, at a place of its own, that `change` has damaged.
    fn damaged(&self, change: impl FnOnce(&Path)) -> PathBuf {
        let damaged = self.dir.path().join("damaged");
        let _ = fs::remove_dir_all(&damaged);
        copy(&self.store, &damaged);
        // It is at home there.
        Ledger::open(&damaged).unwrap().keep_place().unwrap();
        change(&damaged);
        damaged
    }

    fn damaged_db(&self, change: impl FnOnce(&DB)) -> PathBuf {
        self.damaged(|store| change(&raw(store)))
    }
}

/// The families that are derived, and the records of `meta` that are.
const DERIVED: [(&str, &[u8]); 15] = [
    ("ids", b""),
    ("order", b""),
    ("state", b""),
    ("versions", b""),
    ("digests", b""),
    ("edges", b""),
    ("meta", b"L"),
    ("meta", b"C"),
    ("meta", b"V"),
    ("meta", b"E"),
    ("meta", b"K"),
    ("meta", b"G"),
    ("meta", b"heads"),
    ("meta", b"ledger"),
    ("meta", b"numbers"),
];

#[test]
fn a_sound_store_is_left_alone_and_a_forced_repair_changes_nothing() {
    let setting = Setting::new();
    let store = setting.damaged(|_| ());
    let report = repair(&store, &[]);
    assert!(!report.repaired && report.is_whole() && report.damaged.is_none());
    assert!(!store.join("db.damaged-1").exists());
    for number in 1..3 {
        let report = try_repair(&store, &[], true).unwrap();
        assert!(report.repaired && report.is_whole(), "{report:?}");
        assert_eq!(report.damaged, Some(store.join(format!("db.damaged-{number}"))));
        assert_eq!(
            (report.kept, report.fetched, report.unreadable),
            (setting.expected.order.len() as u64, 0, 0)
        );
        assert_is(&store, &setting.expected, "forced");
    }
    // The own chain goes on.
    let ledger = Ledger::open(&store).unwrap();
    let mut transaction = ledger.transaction();
    transaction.inc("count", 1).unwrap();
    transaction.commit().unwrap();
    assert!(!store.join("repair").exists());
}

#[test]
fn derived_records_that_are_gone_or_wrong_are_derived_again() {
    let setting = Setting::new();
    for (family, prefix) in DERIVED {
        let all = records(&raw(&setting.store), family, prefix);
        if all.is_empty() {
            continue;
        }
        let gone = setting.damaged_db(|db| {
            let handle = db.cf_handle(family).unwrap();
            all.iter().for_each(|(key, _)| db.delete_cf(handle, key).unwrap());
        });
        let wrong = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let mut wrong = value.clone();
            wrong.iter_mut().for_each(|byte| *byte ^= 1);
            (key.clone(), if value.is_empty() { b"more".to_vec() } else { wrong })
        };
        let report = repair(&gone, &[]);
        assert!(report.is_whole(), "{family} {prefix:?}: {report:#?}");
        assert_is(&gone, &setting.expected, family);
        let changed = setting.damaged_db(|db| {
            let handle = db.cf_handle(family).unwrap();
            for (key, value) in some(all, 3).iter().map(wrong) {
                db.put_cf(handle, key, value).unwrap();
            }
        });
        repair(&changed, &[]);
        assert_is(&changed, &setting.expected, family);
    }
}

/// The file that the database reads last of those whose names end so.
fn file_of(store: &Path, end: &str) -> PathBuf {
    let entries = fs::read_dir(store.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().contains(end)).collect();
    files.sort();
    files.pop().unwrap()
}

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
    let unindexed = |store: &Path| {
        let db = raw(store);
        let handle = db.cf_handle("digests").unwrap();
        for (key, _) in records(&db, "digests", b"") {
            db.delete_cf(handle, key).unwrap();
        }
    };
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
fn pins_and_what_was_pruned_are_kept() {
    let dir = TempDir::new().unwrap();
    let store = busy_and_pruned(&dir, ForkPolicy::Keep);
    let kept = |ledger: &Ledger| {
        let mut pins = ledger.pins().unwrap();
        pins.sort_unstable();
        (pins, ledger.count_pruned().unwrap(), ledger.count_missing().unwrap())
    };
    let ledger = Ledger::open(&store).unwrap();
    let expected = (kept(&ledger), content(&ledger));
    assert!(expected.0.0.len() > 1 && expected.0.1 > 2 && expected.0.2 == 0);
    drop(ledger);
    // What it is derived from would make it anew, and lanes be numbered otherwise.
    let db = raw(&store);
    for (key, _) in records(&db, "order", b"") {
        db.delete_cf(db.cf_handle("order").unwrap(), &key).unwrap();
    }
    drop(db);
    let report = repair(&store, &[]);
    assert!(report.repaired && report.is_whole(), "{report:#?}");
    assert_is(&store, &expected.1, "repaired");
    assert!(kept(&Ledger::open(&store).unwrap()) == expected.0);
}

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

#[test]
fn what_is_lost_comes_from_a_replica_or_a_file() {
    let setting = Setting::new();
    let file = setting.dir.path().join("twin.car");
    fs::write(&file, &setting.expected.file).unwrap();
    let total = setting.expected.order.len() as u64;
    for source in [&setting.twin, &file] {
        for lost in ["db", "events", "openings", "blocks", "some"] {
            let store = setting.damaged(|store| match lost {
                "db" => fs::remove_dir_all(store.join("db")).unwrap(),
                "some" => {
                    let db = raw(store);
                    let handle = db.cf_handle("events").unwrap();
                    for (key, mut value) in some(records(&db, "events", b""), 7) {
                        *value.last_mut().unwrap() ^= 1;
                        db.put_cf(handle, key, value).unwrap();
                    }
                }
                family => {
                    let db = raw(store);
                    let handle = db.cf_handle(family).unwrap();
                    let all = records(&db, family, b"");
                    all.iter().for_each(|(key, _)| db.delete_cf(handle, key).unwrap());
                }
            });
            // A source is only taken where it is asked for.
            let report = repair(&store, &[source]);
            assert!(report.is_whole(), "{lost}: {report:#?}");
            assert_eq!(report.kept + report.fetched, total, "{lost}: {report:#?}");
            let ledger = Ledger::open(&store).unwrap();
            let found = content(&ledger);
            assert_sound(&ledger);
            assert!(found.file == setting.expected.file && found.dump == setting.expected.dump);
            // Nobody else knows the names.
            assert_eq!(found.names == setting.expected.names, lost != "db");
        }
    }
}

/// Events that follow one that is gone wait, are told, and come in once it is back; own events are
/// refused meanwhile.
#[test]
fn what_cannot_be_placed_is_told_and_not_dropped() {
    let setting = Setting::new();
    let own = Ledger::open(&setting.store).unwrap().author();
    // Without the mark, the events that wait tell that others were there.
    for marked in [true, false] {
        let store = setting.damaged_db(|db| {
            let (key, _) = records(db, "events", &[0, 0, 0, 0]).remove(3);
            db.delete_cf(db.cf_handle("events").unwrap(), key).unwrap();
        });
        if !marked {
            fs::remove_file(store.join("acknowledged")).unwrap();
        }
        let report = repair(&store, &[]);
        assert!(!report.is_whole() && report.repaired && report.left_behind == 0, "{report:#?}");
        let unplaced = report.unplaced.iter().find(|unplaced| unplaced.author == own).unwrap();
        assert_eq!((unplaced.first.0, report.lost_events), (5, 1));
        assert_eq!(report.verified.findings.len(), 1, "{:?}", report.verified.findings);
        let ledger = Ledger::open(&store).unwrap();
        let (author, last, _) = ledger.loss().unwrap().own().unwrap();
        assert_eq!((author, last), (own, unplaced.last));
        let mut transaction = ledger.transaction();
        transaction.inc("count", 1).unwrap();
        assert!(matches!(transaction.commit(), Err(WriteError::Lost(_))));
        assert!(!ledger.waiting().is_empty());
        drop(ledger);
        let report = repair(&store, &[&setting.twin]);
        assert!(report.is_whole() && report.fetched > 0, "{report:#?}");
        let report = repair(&store, &[]);
        assert!(!report.repaired, "{report:#?}");
        assert_is(&store, &setting.expected, "brought back");
    }
}

#[test]
fn a_log_that_was_cut_off_stays_a_loss() {
    let dir = TempDir::new().unwrap();
    let (store, twin) = (dir.path().join("store"), dir.path().join("twin"));
    drop(Ledger::create(&store, &NewLedger::default()).unwrap());
    let ledger = Ledger::open(&store).unwrap();
    for _ in 0..4 {
        let mut transaction = ledger.transaction();
        transaction.inc("count", 1).unwrap();
        transaction.commit().unwrap();
    }
    drop(clone_of(&ledger, &twin));
    let expected = content(&ledger);
    drop(ledger);
    let log = file_of(&store, ".log");
    let length = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length / 2).unwrap();
    // The manifest as well: the loss is told by what is beside the database.
    fs::remove_file(store.join("db/CURRENT")).unwrap();
    let report = repair(&store, &[]);
    assert!(report.loss.is_some() && !report.is_whole() && report.unplaced.is_empty());
    let ledger = Ledger::open(&store).unwrap();
    assert_eq!(ledger.loss(), report.loss);
    let mut transaction = ledger.transaction();
    transaction.inc("count", 1).unwrap();
    assert!(matches!(transaction.commit(), Err(WriteError::Lost(_))));
    drop(ledger);
    let report = repair(&store, &[&twin]);
    assert!(report.is_whole(), "{report:#?}");
    assert_is(&store, &expected, "brought back");
}

#[test]
fn without_the_first_event_or_any_room_nothing_changes() {
    let setting = Setting::new();
    let before = |store: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let store = setting.damaged(|store| fs::remove_dir_all(store.join("db")).unwrap());
    let names = before(&store);
    let refused = try_repair(&store, &[], false);
    assert!(matches!(refused, Err(RepairError::NoGenesis(_))), "{refused:?}");
    let refused = try_repair(&store, &[&store], false);
    assert!(matches!(refused, Err(RepairError::Itself(_))), "{refused:?}");
    let other = setting.dir.path().join("nobody");
    let refused = try_repair(&store, &[&other], false);
    assert!(matches!(refused, Err(RepairError::Source { .. })), "{refused:?}");
    assert_eq!(before(&store), names);
    let store = setting.damaged(|store| fs::remove_file(store.join("db/CURRENT")).unwrap());
    let names = before(&store);
    let refused = Options::new().min_free(u64::MAX / 2).repair(
        &store,
        &RepairOptions::default(),
        &mut |_, _| {},
    );
    assert!(matches!(refused, Err(RepairError::NoRoom { .. })), "{refused:?}");
    assert_eq!(before(&store), names);
    drop(Ledger::create(&other, &NewLedger::default()).unwrap());
    let refused = try_repair(&store, &[&other], false);
    assert!(matches!(refused, Err(RepairError::Source { .. })), "{refused:?}");
    assert_eq!(before(&store), names);
    let nowhere = try_repair(&setting.dir.path().join("nowhere"), &[], false);
    assert!(matches!(nowhere, Err(RepairError::Open(OpenError::NotFound(_)))));
    let held = Ledger::open(&other).unwrap();
    let locked = try_repair(&other, &[], true);
    assert!(matches!(locked, Err(RepairError::Open(OpenError::Locked(_)))), "{locked:?}");
    drop(held);
}

#[test]
fn the_key_says_who_the_replica_is_where_the_database_does_not() {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    let passphrase = Passphrase::new("secret".to_owned());
    let ledger =
        Options::new().passphrase(passphrase.clone()).create(&store, &NewLedger::default());
    let author = ledger.unwrap().author();
    let db = raw(&store);
    db.delete_cf(db.cf_handle("meta").unwrap(), b"author").unwrap();
    drop(db);
    let refused = try_repair(&store, &[], false);
    assert!(
        matches!(refused, Err(RepairError::Identity(IdentityError::PassphraseNeeded))),
        "{refused:?}"
    );
    let unlocked = Options::new().passphrase(passphrase);
    let report = unlocked.repair(&store, &RepairOptions::default(), &mut |_, _| {}).unwrap();
    assert!(report.is_whole());
    assert_eq!(Ledger::open(&store).unwrap().author(), author);
    // Where it is recorded, nothing asks for the key.
    fs::remove_file(store.join("db/CURRENT")).unwrap();
    assert!(repair(&store, &[]).is_whole());
    assert_eq!(Ledger::open(&store).unwrap().author(), author);
}

/// Lines of notes that can be read and hold stay, those of a checkpoint included that waits afterwards.
/// Nothing that a peer could not have handed over comes along.
#[test]
fn cosignatures_that_hold_are_kept() {
    let dir = TempDir::new().unwrap();
    let (store, twin) = (dir.path().join("store"), dir.path().join("twin"));
    let ledger = certified::create(&store);
    let sign = |certified: &CertifiedCheckpoint, key: &SigningKey, seconds| {
        let note = CheckpointNote::of(&certified.checkpoint, certified.id());
        CheckpointSignature::sign(&note, key, seconds).unwrap()
    };
    let own = |certified: &CertifiedCheckpoint| sign(certified, &certified::key(), 7);
    let all: Vec<_> = (0..4_u8)
        .map(|number| {
            put(&ledger, "key", &[number]);
            certified::certify(&ledger)
        })
        .collect();
    let heights: Vec<_> = all.iter().map(CertifiedCheckpoint::height).collect();
    let stranger = sign(&all[1], &SigningKey::from_bytes(&[2; 32]), 7);
    let altered = CheckpointSignature { seconds: 8, ..own(&all[1]) };
    let of_another = own(&all[0]);
    ledger.keep_cosignatures(heights[0], &[own(&all[0])]).unwrap();
    let again = sign(&all[1], &certified::key(), 9);
    let some = [stranger, altered, of_another, own(&all[1]), again];
    ledger.keep_cosignatures(heights[1], &some).unwrap();
    ledger.keep_cosignatures(heights[2], &[stranger, of_another]).unwrap();
    ledger.keep_cosignatures(heights[3], &[own(&all[3])]).unwrap();
    let nowhere = heights[3].next().unwrap();
    ledger.keep_cosignatures(nowhere, &[own(&all[3])]).unwrap();
    drop(clone_of(&ledger, &twin));
    drop(ledger);

    let db = raw(&store);
    let (finals, events) = (db.cf_handle("final").unwrap(), db.cf_handle("events").unwrap());
    // A line is cut off behind the last one of the first note.
    let (key, record) = records(&db, "final", b"n").remove(0);
    db.put_cf(finals, key, [&record[..], &record[..100]].concat()).unwrap();
    let (last, _) = records(&db, "events", b"").pop().unwrap();
    db.delete_cf(events, last).unwrap();
    drop(db);
    let report = repair(&store, &[]);
    assert!(report.repaired && report.lost_checkpoints == 1, "{report:#?}");
    let ledger = Ledger::open(&store).unwrap();
    let kept = |height| ledger.snapshot().unwrap().cosignatures(height).unwrap();
    let expected = [vec![own(&all[0])], vec![own(&all[1])], vec![], vec![own(&all[3])]];
    assert_eq!(heights.iter().copied().map(kept).collect::<Vec<_>>(), expected);
    assert!(kept(nowhere).is_empty());
    merge(&ledger, &Ledger::open(&twin).unwrap());
    assert_eq!(ledger.certification().height, Some(heights[3]));
    assert_eq!(kept(heights[3]), expected[3]);
    drop(ledger);
    assert_sound(&Ledger::open(&store).unwrap());
}

/// Not a test: what the next one starts as a process of its own.
#[test]
#[ignore = "runs as a child of another test"]
fn child() {
    let Ok(store) = std::env::var("QUIPU_STORE") else { return };
    if let Ok(twin) = std::env::var("QUIPU_REPAIRED_MEANWHILE") {
        return write_while_it_is_repaired(Path::new(&store), Path::new(&twin));
    }
    fail::cfg_callback(std::env::var("QUIPU_CRASH").unwrap(), || std::process::abort()).unwrap();
    match std::env::var("QUIPU_TWIN") {
        Ok(twin) => drop(repair(Path::new(&store), &[Path::new(&twin)])),
        Err(_) => drop(Ledger::open(&store)),
    }
}

const SIGABRT: i32 = 6;

fn child_of(store: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored", "--test-threads=1"]);
    command.env("QUIPU_STORE", store).env_remove("QUIPU_REPAIRED_MEANWHILE");
    command
}

fn run_child(store: &Path, twin: Option<&Path>, point: &str) -> Option<i32> {
    let mut command = child_of(store);
    command.env("QUIPU_CRASH", point);
    if let Some(twin) = twin {
        command.env("QUIPU_TWIN", twin);
    }
    command.output().unwrap().status.signal()
}

/// Opens the store, which is repaired meanwhile as far as that a note says so, and writes.
fn write_while_it_is_repaired(store: &Path, twin: &Path) {
    let (path, twin, once) = (store.to_owned(), twin.to_owned(), Once::new());
    let repair = move || {
        once.call_once(|| {
            let killed = run_child(&path, Some(&twin), "after-exchange-noted");
            assert_eq!(killed, Some(SIGABRT));
        });
    };
    fail::cfg_callback("before-database-opened", repair).unwrap();
    put(&Ledger::open(store).unwrap(), "written", b"meanwhile");
}

/// Nothing is written to a database that is going to be replaced.
#[test]
fn who_opens_the_store_while_it_is_repaired_has_the_repaired_one() {
    let setting = Setting::new();
    let store = setting.damaged_db(without_state);
    let mut command = child_of(&store);
    command.env("QUIPU_REPAIRED_MEANWHILE", &setting.twin);
    assert!(command.output().unwrap().status.success());
    let ledger = Ledger::open(&store).unwrap();
    assert_sound(&ledger);
    assert!(ledger.get("written").unwrap().is_some());
    assert!(store.join("db.damaged-1").is_dir() && !store.join("repair").exists());
}

/// Leaves nothing of the state.
fn without_state(db: &DB) {
    let handle = db.cf_handle("state").unwrap();
    for (key, _) in records(db, "state", b"") {
        db.delete_cf(handle, key).unwrap();
    }
}

/// Wherever a repair is killed, and whatever is killed that finishes it: the store is the damaged
/// one or the repaired one.
#[test]
fn a_repair_that_is_killed_is_finished_or_leaves_nothing() {
    let setting = Setting::new();
    let points = [
        "between-repaired-batches",
        "before-exchange-noted",
        "after-exchange-noted",
        "after-database-set-aside",
        "after-database-replaced",
    ];
    for (number, point) in points.into_iter().enumerate() {
        let done = number > 1;
        let store = setting.damaged_db(without_state);
        assert_eq!(run_child(&store, Some(&setting.twin), point), Some(SIGABRT), "{point}");
        assert!(store.join("repair").is_dir(), "{point}");
        for again in ["after-database-set-aside", "after-database-replaced"] {
            let killed = run_child(&store, None, again);
            assert!(killed.is_none() || done, "{point} {again}");
        }
        // It opens, as the one or the other, for a daemon as well, which keeps others out by this lock.
        let daemon = fs::File::open(&store).unwrap();
        daemon.try_lock().unwrap();
        let sound = Ledger::open(&store).unwrap().verify(&mut |_, _| {}).unwrap().is_sound();
        assert_eq!((sound, store.join("db.damaged-1").is_dir()), (done, done), "{point}");
        assert!(!store.join("repair").exists());
        assert_eq!(repair(&store, &[&setting.twin]).repaired, !done, "{point}");
        assert_is(&store, &setting.expected, point);
    }
}
