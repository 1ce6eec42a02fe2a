//! Long work that is ended early: what has been done is whole, and the next one goes on with the rest.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has done its work")]

mod support;

use std::ops::ControlFlow;
use std::time::Duration;

use quipu_merge::Cut;
use quipu_store::{
    Durability, Expected, GcOptions, Ledger, NewLedger, Options, PruneOptions, ReadError,
    StorageError,
};
use support::assert_sound;
use support::values::{blocks, noise, put};
use tempfile::TempDir;

const NOW: GcOptions = GcOptions { grace: Duration::ZERO, dry_run: false };

fn new(dir: &TempDir) -> Ledger {
    let relaxed = Options::new().durability(Durability::Relaxed);
    relaxed.create(dir.path().join("store"), &NewLedger::default()).unwrap()
}

/// Lets so many steps be taken.
fn steps(mut left: u32) -> impl FnMut(u64, u64) -> ControlFlow<()> {
    move |_, _| match left.checked_sub(1) {
        Some(fewer) => {
            left = fewer;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    }
}

#[test]
fn a_check_ends() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    for number in 0..1500_u32 {
        put(&ledger, &number.to_string(), b"value");
    }
    for count in [0, 1, 3] {
        let ended = ledger.verify(&mut steps(count));
        assert!(matches!(ended, Err(ReadError::Storage(StorageError::Stopped))), "{ended:?}");
    }
    assert_sound(&ledger);
}

#[test]
fn collecting_ends_between_blocks() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    put(&ledger, "kept", &noise(1, 1_000_000));
    let kept = blocks(&ledger);
    let mut transaction = ledger.transaction();
    // One that is refused has brought its blocks, and nothing refers to them.
    transaction.put("never", &noise(2, 12_000_000)).unwrap();
    transaction.require("other", Expected::Writes(vec![ledger.id()])).unwrap();
    transaction.commit().unwrap_err();
    let all = blocks(&ledger);
    for dry_run in [true, false] {
        let ended = ledger.gc(GcOptions { dry_run, ..NOW }, &mut steps(0));
        assert!(matches!(ended, Err(StorageError::Stopped)), "{ended:?}");
        assert_eq!(blocks(&ledger), all);
    }
    let ended = ledger.gc(NOW, &mut steps(1));
    assert!(matches!(ended, Err(StorageError::Stopped)), "{ended:?}");
    let left = blocks(&ledger);
    assert!(kept < left && left < all, "{left} of {all} blocks");
    let report = ledger.gc(NOW, &mut |_, _| {}).unwrap();
    assert_eq!(report.blocks, left - kept);
    assert_eq!(blocks(&ledger), kept);
}

#[test]
fn pruning_ends_between_portions() {
    let dir = TempDir::new().unwrap();
    let ledger = new(&dir);
    for number in 0..300_u32 {
        put(&ledger, "key", number.to_string().as_bytes());
    }
    let prune = |dry_run, count| {
        let options = PruneOptions { dry_run };
        ledger.prune(&Cut::Everything, options, &mut steps(count))
    };
    let pruned = || ledger.status().unwrap().pruned_values;
    for (dry_run, least) in [(true, 0), (false, 1)] {
        let ended = prune(dry_run, 0);
        assert!(matches!(ended, Err(ReadError::Storage(StorageError::Stopped))), "{ended:?}");
        assert!((least..299).contains(&pruned()), "{}", pruned());
    }
    assert_sound(&ledger);
    let before = pruned();
    assert_eq!(prune(false, u32::MAX).unwrap().values, 299 - before);
    assert_eq!(pruned(), 299);
}
