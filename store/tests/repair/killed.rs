//! Repairs that are cut short, and who opens the store meanwhile or afterwards.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use quipu_store::Ledger;
use rocksdb::DB;

use super::setting::{Setting, assert_is, delete_all, repair};
use super::support::assert_sound;
use super::support::values::put;

const SIGABRT: i32 = 6;

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

fn child_of(store: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "killed::child", "--ignored", "--test-threads=1"]);
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
    delete_all(db, "state", b"");
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
