//! Changes of what a shallow store starts with.

use std::fs;
use std::path::{Path, PathBuf};

use quipu_merge::{ForkPolicy, Height};
use quipu_store::{OpenError, RepairError, RepairOptions, StorageError};
use tempfile::TempDir;

use super::support::certified::{certify, options};
use super::support::dice::Dice;
use super::support::values::put;
use super::support::{assert_sound, copy, merge, raw, records, some, verify};
use super::world::{history, start};

/// A store that starts from a checkpoint, closed, with events and a checkpoint after that.
fn closed() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let (whole, _) = history(dir.path(), &mut dice, ForkPolicy::Keep);
    let path = dir.path().join("shallow");
    let shallow = start(&whole, &path);
    put(&whole, "k0", b"later");
    certify(&whole);
    merge(&shallow, &whole);
    assert_sound(&shallow);
    drop(shallow);
    (dir, path)
}

/// Whether a store cannot be opened, or something is found that is wrong with it.
fn is_found(path: &Path) -> bool {
    match options().open(path) {
        Ok(ledger) => !verify(&ledger).is_sound(),
        Err(error) => matches!(error, OpenError::Storage(StorageError::Damaged { .. })),
    }
}

/// What a shallow store starts with is checked record by record: one that is gone, and one that is
/// another, are found. Only which earlier cut first held an event, the events below alone can tell.
#[test]
fn a_change_of_what_it_starts_with_is_found() {
    let (dir, path) = closed();
    let copy_to = |name: String| {
        let to = dir.path().join(name);
        copy(&path, &to);
        to
    };
    let mut tried = 0;
    let families = [
        ("state", ""),
        ("versions", ""),
        ("events", ""),
        ("ids", ""),
        ("order", ""),
        ("openings", ""),
        ("final", "s"),
        ("final", "e"),
        ("final", "f"),
        ("final", "k"),
        ("final", "m"),
        ("meta", "C"),
        ("meta", "L"),
        ("meta", "shallow"),
    ];
    for (family, prefix) in families {
        let found = records(&raw(&path), family, prefix.as_bytes());
        assert!(!found.is_empty(), "{family} {prefix}");
        for (at, (key, value)) in some(found, 2).into_iter().enumerate() {
            for change in ["gone", "other"] {
                if change == "other" && value.is_empty() {
                    continue;
                }
                let to = copy_to(format!("{family}-{prefix}-{at}-{change}"));
                {
                    let db = raw(&to);
                    let handle = db.cf_handle(family).unwrap();
                    let mut other = value.clone();
                    if let Some(last) = other.last_mut() {
                        *last ^= 1;
                    }
                    match change {
                        "gone" => db.delete_cf(handle, &key).unwrap(),
                        _ => db.put_cf(handle, &key, other).unwrap(),
                    }
                }
                assert!(is_found(&to), "{family} {prefix}: {key:02x?} {change}");
                fs::remove_dir_all(&to).unwrap();
                tried += 1;
            }
        }
    }
    assert!(tried > 35, "{tried}");
}

#[test]
fn a_store_that_starts_somewhere_is_not_repaired() {
    let (_dir, path) = closed();
    let forced = RepairOptions { force: true, ..RepairOptions::default() };
    let refused = options().repair(&path, &forced, &mut |_, _| {});
    assert!(matches!(refused, Err(RepairError::Shallow(Height(4)))), "{refused:?}");
    // It is as it was.
    let ledger = options().open(&path).unwrap();
    assert_eq!(ledger.shallow().unwrap().height, Height(4));
    assert_sound(&ledger);
    let status = ledger.status().unwrap();
    assert_eq!(status.shallow.as_ref(), ledger.shallow());
}
