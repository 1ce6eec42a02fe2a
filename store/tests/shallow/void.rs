//! What is void below the start is told where it can be, and otherwise said not to be known.

use quipu_merge::{Cut, ForkPolicy, Height, Role};
use quipu_store::{Ledger, ReadError};
use tempfile::TempDir;

use super::support::certified::certify;
use super::support::merge;
use super::support::values::put;
use super::world::{clone_of, create, start};

/// A ledger, and another writer who has written.
fn writers(dir: &TempDir) -> (Ledger, Ledger) {
    let whole = create(&dir.path().join("whole"), ForkPolicy::Keep);
    let other = clone_of(&whole, &dir.path().join("other"));
    whole.grant(other.author(), Role::Writer).unwrap();
    merge(&other, &whole);
    put(&other, "b", b"known");
    merge(&whole, &other);
    (whole, other)
}

fn assert_same_dump(shallow: &Ledger, whole: &Ledger) {
    let [ours, theirs] = [shallow, whole].map(|ledger| ledger.snapshot().unwrap());
    assert_eq!(ours.dump(&[]).unwrap(), theirs.dump(&[]).unwrap());
    assert_eq!(ours.void().unwrap(), theirs.void().unwrap());
}

#[test]
fn who_wrote_nothing_beside_or_after_a_revoke_has_no_void_events_below() {
    let dir = TempDir::new().unwrap();
    let (whole, other) = writers(&dir);
    whole.revoke(other.author()).unwrap();
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    assert_same_dump(&shallow, &whole);
    // Nor has it later, whatever it writes above.
    whole.grant(other.author(), Role::Writer).unwrap();
    merge(&other, &whole);
    put(&other, "b", b"again");
    merge(&whole, &other);
    merge(&shallow, &whole);
    assert_same_dump(&shallow, &whole);
}

#[test]
fn what_is_revoked_above_makes_nothing_below_void() {
    let dir = TempDir::new().unwrap();
    let (whole, other) = writers(&dir);
    put(&other, "b", b"below");
    merge(&whole, &other);
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    merge(&other, &whole);
    whole.revoke(other.author()).unwrap();
    put(&other, "b", b"void");
    merge(&whole, &other);
    merge(&shallow, &whole);
    assert_eq!(whole.snapshot().unwrap().void().unwrap().len(), 1);
    assert_same_dump(&shallow, &whole);
}

#[test]
fn whoever_wrote_after_a_revoke_below_is_named() {
    let dir = TempDir::new().unwrap();
    let (whole, other) = writers(&dir);
    whole.revoke(other.author()).unwrap();
    put(&other, "b", b"void");
    whole.grant(other.author(), Role::Writer).unwrap();
    merge(&whole, &other);
    merge(&other, &whole);
    let head = put(&other, "b", b"valid");
    merge(&whole, &other);
    certify(&whole);
    let shallow = start(&whole, &dir.path().join("shallow"));
    for cut in [Cut::Everything, Cut::Heads(vec![head])] {
        let snapshot = shallow.at(&cut).unwrap();
        for refused in [snapshot.dump(&[]).map(drop), snapshot.void().map(drop)] {
            match refused {
                Err(ReadError::VoidUnknown { height: Height(1), author }) => {
                    assert_eq!(author, other.author());
                }
                answer => panic!("{answer:?}"),
            }
        }
        // The state does not depend on them.
        assert_eq!(snapshot.register("b").unwrap().len(), 1);
    }
}
