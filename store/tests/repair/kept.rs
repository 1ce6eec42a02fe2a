//! What nobody else has, and what a peer could have handed over as well.

use std::fs;

use ed25519_dalek::SigningKey;
use quipu_merge::{CheckpointNote, CheckpointSignature, ForkPolicy};
use quipu_store::{
    CertifiedCheckpoint, IdentityError, Ledger, NewLedger, Options, Passphrase, RepairError,
    RepairOptions,
};
use tempfile::TempDir;

use super::setting::{assert_is, content, delete_all, repair, try_repair};
use super::support::values::put;
use super::support::{assert_sound, busy_and_pruned, certified, clone_of, merge, raw, records};

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
    delete_all(&raw(&store), "order", b"");
    let report = repair(&store, &[]);
    assert!(report.repaired && report.is_whole(), "{report:#?}");
    assert_is(&store, &expected.1, "repaired");
    assert!(kept(&Ledger::open(&store).unwrap()) == expected.0);
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
