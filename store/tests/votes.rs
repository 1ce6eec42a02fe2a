//! The log of what a validator signs: what is kept of it, when, and for whom.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use quipu_merge::{AuthorKey, Height};
use quipu_store::{
    KeptEvidence, Ledger, MAX_ACCUSED, MAX_EVIDENCE_AGAINST, MAX_EVIDENCE_NAME,
    MAX_KEPT_EVIDENCE_LEN, NewLedger, Options, RepairOptions, VoteEntry, VoteLog, Votes,
};
use support::copy;

fn entry(height: u64, bytes: &[u8]) -> VoteEntry<'_> {
    VoteEntry { height: Height(height), bytes }
}

fn open(ledger: &Arc<Ledger>) -> (VoteLog, Votes, Option<Vec<u8>>) {
    VoteLog::open(ledger, ledger.author()).unwrap()
}

fn create(dir: &Path) -> Arc<Ledger> {
    Arc::new(Ledger::create(dir, &NewLedger::default()).unwrap())
}

#[test]
fn what_is_appended_is_kept_until_it_is_trimmed() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("ledger");
    let ledger = create(&dir);
    let (mut log, votes, mark) = open(&ledger);
    assert_eq!((votes, mark), (Votes::New, None));
    log.append(&[entry(1, b"a"), entry(1, b"b")], None).unwrap();
    log.append(&[entry(2, b"cc")], Some(b"mark")).unwrap();
    assert_eq!(log.len(), 4);
    drop((log, ledger));

    let ledger = Arc::new(Ledger::open(&dir).unwrap());
    let (mut log, votes, mark) = open(&ledger);
    let all = Votes::Kept(vec![b"a".to_vec(), b"b".to_vec(), b"cc".to_vec()]);
    assert_eq!((votes, mark), (all, Some(b"mark".to_vec())));
    log.trim(Height(2)).unwrap();
    log.trim(Height(2)).unwrap();
    log.append(&[entry(3, b"d")], Some(b"later")).unwrap();
    assert_eq!(log.len(), 3);
    drop(log);
    let (mut log, votes, mark) = open(&ledger);
    let rest = Votes::Kept(vec![b"cc".to_vec(), b"d".to_vec()]);
    assert_eq!((votes, mark), (rest, Some(b"later".to_vec())));
    log.trim(Height(9)).unwrap();
    assert!(log.is_empty());
    assert_eq!(open(&ledger).1, Votes::Kept(Vec::new()));
    assert_eq!(ledger.verify(&mut |_, _| {}).unwrap().findings, []);
}

#[test]
fn a_new_key_has_signed_nothing() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("ledger"));
    open(&ledger).0.append(&[entry(1, b"a")], Some(b"mark")).unwrap();
    ledger.rotate_identity(None).unwrap();
    let (mut log, votes, mark) = open(&ledger);
    assert_eq!((votes, mark), (Votes::New, None));
    log.append(&[entry(5, b"b")], None).unwrap();
    assert_eq!(open(&ledger).1, Votes::Kept(vec![b"b".to_vec()]));
}

/// Whoever copies a store, or mends one, cannot know what was signed with its key.
#[test]
fn a_copy_and_a_repaired_store_have_lost_their_votes() {
    let place = tempfile::tempdir().unwrap();
    let (dir, other) = (place.path().join("ledger"), place.path().join("copy"));
    let ledger = create(&dir);
    open(&ledger).0.append(&[entry(1, b"a")], Some(b"mark")).unwrap();
    drop(ledger);
    copy(&dir, &other);
    let copied = Arc::new(Ledger::open(&other).unwrap());
    assert_eq!(open(&copied).1, Votes::Lost);
    // Also when somebody says that the other one is gone: it may have gone on before.
    copied.keep_place().unwrap();
    let (mut log, votes, _) = open(&copied);
    assert_eq!(votes, Votes::Lost);
    log.append(&[entry(1, b"lost")], None).unwrap();
    assert_eq!(open(&copied).1, Votes::Kept(vec![b"lost".to_vec()]));

    let anew = RepairOptions { force: true, ..RepairOptions::default() };
    assert!(Options::new().repair(&dir, &anew, &mut |_, _| {}).unwrap().repaired);
    let repaired = Arc::new(Ledger::open(&dir).unwrap());
    assert_eq!(open(&repaired).1, Votes::Lost);
}

/// A database that was replaced by an older one does not know of the marks that were made since.
#[test]
fn an_older_database_is_behind_its_mark() {
    let place = tempfile::tempdir().unwrap();
    let (dir, other) = (place.path().join("ledger"), place.path().join("copy"));
    drop(create(&dir));
    copy(&dir, &other);
    let ledger = Arc::new(Ledger::open(&dir).unwrap());
    open(&ledger).0.append(&[entry(1, b"a")], Some(b"mark")).unwrap();
    drop(ledger);
    fs::remove_dir_all(dir.join("db")).unwrap();
    copy(&other.join("db"), &dir.join("db"));
    fs::remove_file(dir.join("acknowledged")).unwrap();
    let ledger = Arc::new(Ledger::open(&dir).unwrap());
    assert_eq!(open(&ledger).1, Votes::Lost);
    fs::write(dir.join("voted"), b"torn").unwrap();
    assert_eq!(open(&ledger).1, Votes::Lost);
}

#[test]
fn evidence_is_kept_once() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("ledger"));
    let keep =
        |name: &[u8], proof: &[u8]| ledger.keep_evidence(AuthorKey([1; 32]), name, proof).unwrap();
    assert_eq!(keep(b"one", b"proof"), KeptEvidence::New);
    assert_eq!(keep(b"one", b"another"), KeptEvidence::Known);
    assert_eq!(keep(b"long", &[0; MAX_KEPT_EVIDENCE_LEN + 1]), KeptEvidence::NoRoom);
    assert_eq!(keep(&[0; MAX_EVIDENCE_NAME + 1], b"proof"), KeptEvidence::NoRoom);
    assert_eq!(ledger.evidence().unwrap(), [b"proof"]);
}

/// Nobody can lie so often that nothing is kept against others.
#[test]
fn evidence_against_each_key_has_room_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("ledger"));
    let key = |number: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        AuthorKey(key)
    };
    let keep =
        |of: usize, name: usize| ledger.keep_evidence(key(of), &name.to_be_bytes(), b"p").unwrap();
    for name in 0..MAX_EVIDENCE_AGAINST {
        assert_eq!(keep(0, name), KeptEvidence::New);
    }
    assert_eq!(keep(0, MAX_EVIDENCE_AGAINST), KeptEvidence::NoRoom);
    for of in 1..MAX_ACCUSED {
        assert_eq!(keep(of, 0), KeptEvidence::New);
    }
    assert_eq!(keep(MAX_ACCUSED, 0), KeptEvidence::NoRoom);
    assert_eq!(keep(MAX_ACCUSED - 1, 1), KeptEvidence::New);
    assert_eq!(ledger.evidence().unwrap().len(), MAX_EVIDENCE_AGAINST + MAX_ACCUSED);
}
