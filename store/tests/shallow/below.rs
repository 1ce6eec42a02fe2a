//! What lies below the checkpoint is said not to be here.

use std::collections::BTreeMap;

use quipu_merge::{Checkpoint, Cut, CutExpression, Height, Key, ProvedKey};
use quipu_store::{ExportError, Ledger, LogFilter, ProveError, ProveFrom, ReadError};

use super::support::certified::{author, certify, checkpoint};
use super::support::reading::read;
use super::support::values::put;
use super::support::{assert_sound, merge};
use super::world::{Pair, pair};

#[track_caller]
fn assert_pruned<T>(answer: Result<T, impl Into<ReadError>>) {
    match answer.map_err(Into::into) {
        Err(ReadError::BelowStart(Height(3))) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is answered"),
    }
}

fn of_proof(error: ProveError) -> ReadError {
    match error {
        ProveError::Read(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn what_lies_below_is_said_not_to_be_here() {
    let Pair { whole, shallow, events, below, last, dir: _dir } = pair();
    let time = |event| whole.snapshot().unwrap().event(event).unwrap().time;
    let snapshot = shallow.snapshot().unwrap();
    for cut in [
        Cut::Heads(vec![shallow.id()]),
        Cut::Heads(Vec::new()),
        Cut::Time(time(events[1])),
        Cut::Clock(BTreeMap::from([(whole.author(), 6)])),
        Cut::Clock(BTreeMap::new()),
    ] {
        assert_pruned(shallow.at(&cut).map(drop));
    }
    for cut in [
        Cut::Heads(vec![events[2]]),
        Cut::Time(time(events[2])),
        Cut::Clock(BTreeMap::from([(whole.author(), 7)])),
    ] {
        assert_eq!(read(&shallow, &cut).unwrap(), read(&whole, &cut).unwrap());
        let dump = |ledger: &Ledger| ledger.at(&cut).unwrap().dump(&[]).unwrap();
        assert_eq!(dump(&shallow), dump(&whole));
    }
    assert!(matches!(shallow.at(&Cut::Heads(vec![below])), Err(ReadError::NoSuchEvent(_))));
    for height in 1..=2 {
        assert_pruned(snapshot.checkpoint(Height(height)));
        assert_pruned(snapshot.find_cut(&CutExpression::Checkpoint(height)));
        assert_pruned(shallow.verify_checkpoints(Height(height)));
        assert_eq!(snapshot.validators_of(Height(height)).unwrap().unwrap(), [author()]);
    }
    let mut heights = Vec::new();
    let visit = |checkpoint: &Checkpoint| {
        heights.push(checkpoint.height.0);
        true
    };
    assert_eq!(snapshot.first_checkpoint(), Height(3));
    snapshot.checkpoints(Height(3), visit).unwrap();
    assert_eq!(heights, [3]);
    assert_pruned(snapshot.checkpoints(Height(2), |_| true));
    assert!(shallow.verify_checkpoints(Height(3)).unwrap().is_sound());
    assert_pruned(snapshot.log_index(events[2]));
    assert_pruned(snapshot.log_entry(0));
    assert_pruned(snapshot.register_history("a"));
    assert_pruned(snapshot.clock(events[2]));
    assert_pruned(
        snapshot
            .precedes(events[2], events[2])
            .map(|_| ())
            .and(snapshot.precedes(shallow.id(), events[2])),
    );
    assert!(snapshot.precedes(events[2], last).unwrap());
    assert!(!snapshot.precedes(last, events[2]).unwrap());
    assert_eq!(snapshot.clock(last).unwrap(), whole.snapshot().unwrap().clock(last).unwrap());
    let filter = LogFilter { after: Some(events[2]), ..LogFilter::default() };
    assert_pruned(snapshot.log(filter).map(drop));
}

#[test]
fn what_lies_below_is_neither_proved_nor_exported() {
    let Pair { whole, shallow, events, dir: _dir, .. } = pair();
    let snapshot = shallow.snapshot().unwrap();
    let genesis = ProveFrom::Genesis;
    assert_pruned(snapshot.prove_event(events[2], genesis).map_err(of_proof));
    assert_pruned(snapshot.prove_extends(Height(1), Height(3), genesis).map_err(of_proof));
    let key = || ProvedKey::Key(Key::new("a").unwrap());
    let prove = |height| {
        let proof = snapshot.prove_key(key(), Some(Height(height)), genesis);
        proof.map_err(of_proof)
    };
    assert_pruned(prove(2));
    assert!(prove(3).is_ok());
    let export = |since: Option<&Cut>| {
        shallow.export(std::io::sink(), &Cut::Everything, since, &mut |_, _| {})
    };
    let exported = export(None).map_err(|error| match error {
        ExportError::Read(error) => error,
        other => panic!("{other}"),
    });
    assert_pruned(exported);
    assert_eq!(export(Some(&checkpoint(&whole, 3))).unwrap().events, 1);
}

#[test]
fn what_is_certified_later_is_proved_as_anywhere() {
    let Pair { whole, shallow, last, dir: _dir, .. } = pair();
    certify(&whole);
    put(&whole, "b", b"even later");
    certify(&whole);
    merge(&shallow, &whole);
    let prove = |ledger: &Ledger| {
        let snapshot = ledger.snapshot().unwrap();
        let genesis = ProveFrom::Genesis;
        let key = |name| ProvedKey::Key(Key::new(name).unwrap());
        let mut proofs = vec![
            snapshot.prove_event(last, genesis).unwrap().encode(),
            snapshot.prove_extends(Height(3), Height(5), genesis).unwrap().encode(),
        ];
        for height in 3..=5 {
            for name in ["a", "b", "l"] {
                let proof = snapshot.prove_key(key(name), Some(Height(height)), genesis);
                proofs.push(proof.unwrap().encode());
            }
        }
        proofs
    };
    assert_eq!(prove(&shallow), prove(&whole));
    assert_sound(&shallow);
}
