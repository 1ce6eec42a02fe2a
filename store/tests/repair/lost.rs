//! What is gone: it is fetched, or told.

use std::fs;
use std::path::Path;

use quipu_store::{Ledger, NewLedger, OpenError, Options, RepairError, RepairOptions, WriteError};
use tempfile::TempDir;

use super::setting::{
    Setting, assert_is, content, delete_all, file_of, repair, try_repair, write_on,
};
use super::support::{assert_sound, clone_of, raw, records, some};

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
                family => delete_all(&raw(store), family, b""),
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
        assert!(matches!(write_on(&ledger), Err(WriteError::Lost(_))));
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
        write_on(&ledger).unwrap();
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
    assert!(matches!(write_on(&ledger), Err(WriteError::Lost(_))));
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
