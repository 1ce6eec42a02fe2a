//! What is started from a file reads as the source does.

use std::collections::BTreeSet;

use quipu_merge::{Cut, EventId, ForkPolicy, Key, Policy, ProvedKey, Role, Trust};
use quipu_store::{Ledger, Outcome, ProveFrom, PruneOptions, Snapshot, StartInfo};
use tempfile::TempDir;

use super::support::certified::{certify, next, options};
use super::support::values::put;
use super::support::{assert_sound, clone_of, merge};
use super::world::{create, file_of, start, world};

pub const POLICIES: [(Policy, ForkPolicy); 4] = [
    (Policy::Members, ForkPolicy::Keep),
    (Policy::Members, ForkPolicy::Exclude),
    (Policy::Open, ForkPolicy::Keep),
    (Policy::Open, ForkPolicy::Exclude),
];

/// Everything that can be read of a state, one by one.
pub fn read(snapshot: &Snapshot<'_>) -> String {
    let mut text = String::new();
    let mut keys = Vec::new();
    snapshot
        .keys("", |name, kinds| {
            keys.push((name.to_owned(), kinds.to_vec()));
            true
        })
        .unwrap();
    for (name, kinds) in keys {
        let mut members = Vec::new();
        snapshot
            .set(&name, |member| {
                members.push((member.to_vec(), snapshot.member_adds(&name, member).unwrap()));
                true
            })
            .unwrap();
        let mut values = Vec::new();
        snapshot
            .list(&name, |element| {
                values.push(element);
                true
            })
            .unwrap();
        let (writes, sum) = (snapshot.register(&name).unwrap(), snapshot.counter(&name).unwrap());
        text += &format!("{name} {kinds:?}\n {writes:?}\n {sum:?}\n {members:?}\n {values:?}\n");
    }
    text += &format!("{:?}\n{:?}\n", snapshot.conflicts("").unwrap(), snapshot.roles().unwrap());
    text += &format!("{:?}\n{:?}\n", snapshot.heads().unwrap(), snapshot.version().unwrap());
    text += &format!("{:?}\n{:?}\n", snapshot.forks().unwrap(), snapshot.len().unwrap());
    text += &format!("{:?} {:?}", snapshot.certified_tip(), snapshot.next_validators());
    text
}

/// Compares line by line: the whole is too long to be shown.
pub fn assert_same(a: &Snapshot<'_>, b: &Snapshot<'_>) {
    let (a, b) = (read(a), read(b));
    a.lines().zip(b.lines()).for_each(|(a, b)| assert_eq!(a, b));
    assert_eq!(a.lines().count(), b.lines().count());
}

/// What a proof shows of each key.
pub fn proofs(ledger: &Ledger, names: &BTreeSet<String>) -> Vec<Vec<u8>> {
    let snapshot = ledger.snapshot().unwrap();
    let prove = |name: &String| {
        let name = ProvedKey::Key(Key::new(name).unwrap());
        let proof = snapshot.prove_key(name, None, ProveFrom::Genesis).unwrap();
        proof.check(Trust::Genesis(ledger.id())).unwrap();
        proof.encode().unwrap()
    };
    names.iter().map(prove).collect()
}

pub fn names(ledger: &Ledger) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["nothing".to_owned()]);
    let snapshot = ledger.snapshot().unwrap();
    snapshot.keys("", |name, _| names.insert(name.to_owned())).unwrap();
    names
}

/// Takes an event over as a peer would.
fn hand_over(from: &Ledger, to: &Ledger, event: EventId) {
    let incoming = from.events(&[event], usize::MAX).unwrap();
    let outcomes = to.admit(incoming).unwrap().outcomes;
    assert!(matches!(outcomes[..], [Ok(Outcome::Admitted)]), "{outcomes:?}");
}

#[test]
fn the_state_is_that_of_the_source() {
    let mut lacked = 0;
    for seed in 0..12 {
        let (policy, forks) = POLICIES[usize::try_from(seed % 4).unwrap()];
        let dir = TempDir::new().unwrap();
        let source = world(&dir, seed, policy, forks);
        let (file, info) = file_of(&source);
        let (new, found) = start(&dir.path().join("new"), &file).unwrap();
        assert_eq!(found, info);
        assert_eq!(new.id(), source.id());
        assert_eq!(new.certification(), source.certification());
        assert_eq!(new.certification().height, Some(info.height));
        let of_source = source.snapshot().unwrap().at_final().unwrap();
        assert_same(&new.snapshot().unwrap(), &of_source);
        assert_same(&new.snapshot().unwrap().at_final().unwrap(), &of_source);
        assert_eq!(proofs(&new, &names(&source)), proofs(&source, &names(&source)));
        // It goes on as the source does.
        let event = put(&source, "k0", b"after");
        hand_over(&source, &new, event);
        assert_eq!(next(&new), next(&source), "seed {seed}");
        let certified = certify(&source);
        new.accept(certified).unwrap();
        assert_eq!(proofs(&new, &names(&source)), proofs(&source, &names(&source)));
        assert_sound(&new);
        // What it lacks of long values comes by merging.
        lacked += new.count_missing().unwrap();
        merge(&new, &source);
        assert_eq!(new.count_missing().unwrap(), 0);
        // It is the same when it is opened again.
        assert_same(&new.snapshot().unwrap(), &source.snapshot().unwrap());
        let place = new.dir().to_owned();
        drop(new);
        let new = options().open(place).unwrap();
        assert_same(&new.snapshot().unwrap(), &source.snapshot().unwrap());
        assert_sound(&new);
    }
    assert!(lacked > 0);
}

/// A state that takes several chapters, and a tree that takes several pieces.
#[test]
fn a_large_state_comes_in_pieces() {
    let dir = TempDir::new().unwrap();
    let source = create(&dir.path().join("source"), Policy::Members, ForkPolicy::Keep);
    for half in 0..2 {
        let mut transaction = source.transaction();
        for n in 0..9_000 {
            transaction.put(&format!("{n:05}/{half}"), &[half; 3]).unwrap();
        }
        transaction.commit().unwrap();
        let mut transaction = source.transaction();
        for n in 0..4_000_u16 {
            transaction.append("list", &n.to_be_bytes()).unwrap();
            transaction.add("set", &[&n.to_be_bytes()[..], &[half]].concat()).unwrap();
        }
        transaction.commit().unwrap();
        let mut transaction = source.transaction();
        for n in 0..700 {
            transaction.put(&format!("medium/{n}/{half}"), &[half; 4000]).unwrap();
        }
        transaction.commit().unwrap();
    }
    certify(&source);
    let (file, info) = file_of(&source);
    assert_eq!(info.keys, 18_000 + 1_400 + 2);
    let (new, found) = start(&dir.path().join("new"), &file).unwrap();
    assert_eq!(found, info);
    assert_same(&new.snapshot().unwrap(), &source.snapshot().unwrap());
    let some = ["00000/0", "08999/1", "list", "set", "medium/3/0", "nothing"];
    let some = some.map(ToOwned::to_owned).into();
    assert_eq!(proofs(&new, &some), proofs(&source, &some));
    hand_over(&source, &new, put(&source, "00007/0", b"after"));
    assert_eq!(next(&new), next(&source));
    assert_sound(&new);
}

/// Bodies and values that no state shows any more are not needed.
#[test]
fn a_pruned_source_is_as_good() {
    let mut dropped = 0;
    for seed in 20..24 {
        let (policy, forks) = POLICIES[usize::try_from(seed % 4).unwrap()];
        let dir = TempDir::new().unwrap();
        let source = world(&dir, seed, policy, forks);
        let (file, info) = file_of(&source);
        let (whole, _) = start(&dir.path().join("whole"), &file).unwrap();
        let cut = Cut::Heads(source.snapshot().unwrap().heads().unwrap());
        let pruned = source.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap();
        dropped += pruned.bodies;
        let (file, found) = file_of(&source);
        assert_eq!(StartInfo { len: info.len, ..found }, info);
        let (new, _) = start(&dir.path().join("new"), &file).unwrap();
        assert_same(&new.snapshot().unwrap(), &whole.snapshot().unwrap());
        assert_sound(&new);
    }
    assert!(dropped > 0);
}

/// Of an event that a void redact names, values that stand no more are not to be had, as of others.
#[test]
fn a_void_redact_leaves_nothing_that_is_missed() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let source = create(&path("source"), Policy::Members, ForkPolicy::Keep);
    let other = clone_of(&source, &path("other"));
    source.grant(other.author(), Role::Writer).unwrap();
    merge(&other, &source);
    let mut transaction = other.transaction();
    transaction.put("covered", b"1").unwrap().put("stands", b"2").unwrap();
    let event = transaction.commit().unwrap().event;
    merge(&source, &other);
    put(&source, "covered", b"3");
    source.revoke(other.author()).unwrap();
    other.redact(event).unwrap();
    merge(&source, &other);
    certify(&source);
    assert_eq!(source.snapshot().unwrap().void().unwrap().len(), 1);
    let (file, _) = file_of(&source);
    let (new, _) = start(&path("new"), &file).unwrap();
    assert_same(&new.snapshot().unwrap(), &source.snapshot().unwrap());
    assert_sound(&new);
    assert_eq!(new.count_missing().unwrap(), 0);
}
