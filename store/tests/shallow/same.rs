//! From the checkpoint on, both stores say the same.

use quipu_merge::{Cut, EventId, ForkPolicy, Height, Role};
use quipu_store::{Derivation, Ledger, LogFilter, PruneOptions, ReadError, Value};
use tempfile::TempDir;

use super::support::certified::{certify, checkpoint, options};
use super::support::dice::Dice;
use super::support::reading::read;
use super::support::values::put;
use super::support::{assert_sound, merge};
use super::world::{NOW, Pair, history, pair, pull, start, write};

/// The events of the log, the latest first, and whether it says that there are others before.
fn log(ledger: &Ledger, ascending: bool) -> (Vec<(EventId, bool, Option<Height>)>, bool) {
    let snapshot = ledger.snapshot().unwrap();
    let filter = LogFilter { ascending, ..LogFilter::default() };
    let (mut events, mut pruned) = (Vec::new(), false);
    for event in snapshot.log(filter).unwrap() {
        match event {
            Ok(event) => events.push((event.id, event.void, event.certified)),
            Err(ReadError::BelowStart(_)) => pruned = true,
            Err(other) => panic!("{other}"),
        }
    }
    (events, pruned)
}

fn derived(ledger: &Ledger) -> Derivation {
    ledger.derive(&ledger.snapshot().unwrap().heads().unwrap()).unwrap()
}

pub fn assert_same(shallow: &Ledger, whole: &Ledger) {
    let waiting = shallow.waiting();
    assert!(waiting.is_empty(), "{waiting:?}");
    let everything = Cut::Everything;
    assert_eq!(read(shallow, &everything).unwrap(), read(whole, &everything).unwrap());
    assert_eq!(shallow.frontier().unwrap(), whole.frontier().unwrap());
    match shallow.snapshot().unwrap().dump(&[]) {
        Ok(dump) => assert_eq!(dump, whole.snapshot().unwrap().dump(&[]).unwrap()),
        // What is void below is not known, where something may be.
        Err(ReadError::VoidUnknown { .. }) => {
            let status = whole.status().unwrap();
            let roles = whole.snapshot().unwrap().roles().unwrap();
            let revoked = roles.values().any(|roles| roles.contains(&"revoked"));
            assert!(status.void > 0 || revoked || !status.forks.is_empty());
        }
        Err(other) => panic!("{other}"),
    }
    for ascending in [false, true] {
        let ((ours, pruned), (mut theirs, _)) = (log(shallow, ascending), log(whole, ascending));
        assert!(pruned);
        let below = theirs.len() - ours.len();
        if ascending {
            theirs.drain(..below);
        } else {
            theirs.truncate(ours.len());
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn from_the_checkpoint_on_they_are_the_same() {
    for seed in 1..=8_u64 {
        let dir = TempDir::new().unwrap();
        let mut dice = Dice::new(seed);
        let forks = if seed % 2 == 0 { ForkPolicy::Exclude } else { ForkPolicy::Keep };
        let (whole, other) = history(dir.path(), &mut dice, forks);
        let shallow = start(&whole, &dir.path().join("shallow"));
        assert_sound(&shallow);
        assert_same(&shallow, &whole);
        let height = shallow.certification().height.unwrap();
        whole.grant(shallow.author(), Role::Writer).unwrap();
        for round in 0..4 {
            for ledger in [&whole, &other, &shallow] {
                for _ in 0..=dice.below(4) {
                    write(ledger, &mut dice);
                }
            }
            if round % 2 == 0 {
                merge(&shallow, &whole);
                merge(&shallow, &other);
                merge(&whole, &shallow);
                merge(&other, &shallow);
                merge(&other, &whole);
            } else {
                pull(&shallow, &whole);
                pull(&shallow, &other);
                pull(&whole, &shallow);
                pull(&other, &shallow);
                pull(&other, &whole);
            }
            assert_same(&shallow, &whole);
            assert_eq!(derived(&shallow).id, derived(&whole).id);
            let certified = certify(&whole);
            shallow.accept(certified.clone()).unwrap();
            other.accept(certified).unwrap();
            assert_same(&shallow, &whole);
            assert_sound(&shallow);
        }
        let last = shallow.certification().height.unwrap();
        assert_eq!(last.0, height.0 + 4);
        for height in height.0..=last.0 {
            let cut = checkpoint(&whole, height);
            assert_eq!(read(&shallow, &cut).unwrap(), read(&whole, &cut).unwrap());
        }
        drop(shallow);
        let shallow = options().open(dir.path().join("shallow")).unwrap();
        assert_same(&shallow, &whole);
    }
}

#[test]
fn pruning_keeps_what_it_starts_with() {
    let Pair { whole, shallow, dir: _dir, .. } = pair();
    for number in 0..4 {
        put(&whole, "a", &[number]);
        certify(&whole);
    }
    merge(&shallow, &whole);
    let cut = checkpoint(&whole, 6);
    let report = shallow.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap();
    // Bodies stay until all that precedes the start is here.
    assert!(report.bodies == 0 && report.values > 0, "{report:?}");
    shallow.gc(NOW, &mut |_, _| {}).unwrap();
    assert_eq!(read(&shallow, &Cut::Everything).unwrap(), read(&whole, &Cut::Everything).unwrap());
    assert_sound(&shallow);
    let below = shallow.at(&checkpoint(&whole, 4)).unwrap().get("a");
    assert!(matches!(below, Ok(Some(Value::Pruned))), "{below:?}");
    put(&whole, "a", b"last");
    certify(&whole);
    merge(&shallow, &whole);
    assert_same(&shallow, &whole);
}
