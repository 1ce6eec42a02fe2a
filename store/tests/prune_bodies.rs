//! Bodies below a certified checkpoint: those that no later state needs go, everything from there on
//! stays as it is, what lies before says so, and all of it can come back.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has done its work"
)]

mod support;

use quipu_merge::{
    Body, BodyId, Content, Cut, Dump, Event, EventId, Height, Key, Micros, Opening, Operation,
    ProvedKey, Role, Seq,
};
use quipu_store::{
    ExportError, Incoming, Ledger, LogFilter, MergeOptions, Outcome, ProveFrom, PruneOptions,
    PruneReport, ReadError, Value, Want,
};
use support::certified::{author, certify, checkpoint, create, key, options};
use support::dice::Dice;
use support::reading::read;
use support::values::put;
use support::{assert_sound, merge};
use tempfile::TempDir;

const REFILL: MergeOptions = MergeOptions { refill: true };

/// Says first what it is going to do.
fn prune(ledger: &Ledger, height: u64) -> PruneReport {
    let cut = checkpoint(ledger, height);
    let [planned, done] = [true, false]
        .map(|dry_run| ledger.prune(&cut, PruneOptions { dry_run }, &mut |_, _| {}).unwrap());
    assert_eq!(planned, done);
    done
}

fn dump(ledger: &Ledger, cut: &Cut) -> Result<Dump, ReadError> {
    ledger.at(cut)?.dump(&[])
}

/// Writes some operations on a few keys.
fn write(ledger: &Ledger, dice: &mut Dice) {
    let mut transaction = ledger.transaction();
    for _ in 0..=dice.below(3) {
        let name = format!("k{}", dice.below(4));
        let member = [u8::try_from(dice.below(3)).unwrap()];
        match dice.below(12) {
            0..5 => transaction.put(&name, &dice.0.to_be_bytes()).map(drop),
            5 => transaction.put(&name, &[7; 1000]).map(drop),
            6 => transaction.del(&name).map(drop),
            7..9 => transaction.add(&name, &member).map(drop),
            9 => transaction.rem(&name, &member).map(drop),
            10 => transaction.inc(&name, 3).map(drop),
            _ => transaction.append(&name, b"element").map(drop),
        }
        .unwrap();
    }
    transaction.commit().unwrap();
}

/// A ledger with three checkpoints and events after the last, that two have written together; and a
/// replica that has all of it.
fn twins(dir: &TempDir, seed: u64) -> (Ledger, Ledger) {
    let ledger = create(&dir.path().join("ledger"));
    let other = options()
        .clone_ledger(dir.path().join("twin"), &ledger, &Cut::Everything, &mut |_, _| {})
        .unwrap()
        .0;
    ledger.grant(other.author(), Role::Writer).unwrap();
    let mut dice = Dice::new(seed);
    for round in 0..4 {
        merge(&other, &ledger);
        for _ in 0..12 {
            let writer = if dice.below(3) == 0 { &other } else { &ledger };
            write(writer, &mut dice);
            match dice.below(8) {
                0 => merge(&ledger, &other),
                1 => merge(&other, &ledger),
                _ => {}
            }
        }
        merge(&ledger, &other);
        if round < 3 {
            certify(&ledger);
        }
    }
    merge(&other, &ledger);
    (ledger, other)
}

fn events(ledger: &Ledger) -> Vec<EventId> {
    let snapshot = ledger.snapshot().unwrap();
    let filter = LogFilter { ascending: true, ..LogFilter::default() };
    snapshot.log(filter).unwrap().map(|event| event.unwrap().id).collect()
}

/// Both answer the same at every cut that contains the checkpoint; before, the one says that it cannot.
fn compare(pruned: &Ledger, twin: &Ledger, height: u64) {
    let heads = checkpoint(twin, height);
    let heads = twin.at(&heads).unwrap().heads().unwrap();
    let cuts = events(twin).into_iter().map(|event| Cut::Heads(vec![event]));
    let certified = (1..=3).map(|height| checkpoint(twin, height));
    let (mut same, mut before) = (0, 0);
    for cut in cuts.chain(certified).chain([Cut::Everything]) {
        let at = twin.at(&cut).unwrap();
        if heads.iter().all(|head| at.contains(*head).unwrap()) {
            assert_eq!(dump(pruned, &cut).unwrap(), dump(twin, &cut).unwrap());
            assert_eq!(read(pruned, &cut).unwrap(), read(twin, &cut).unwrap());
            same += 1;
        } else {
            for answer in [read(pruned, &cut).err(), dump(pruned, &cut).err()] {
                assert!(matches!(answer, Some(ReadError::Pruned(Height(at))) if at == height));
            }
            before += 1;
        }
        assert_eq!(pruned.at(&cut).unwrap().heads().unwrap(), at.heads().unwrap());
    }
    assert!(same > 3 && before > 3);
}

#[test]
fn nothing_changes_from_the_checkpoint_on() {
    let mut dropped = 0;
    for seed in 1..=6 {
        let dir = TempDir::new().unwrap();
        let (ledger, twin) = twins(&dir, seed);
        let height = 1 + seed % 3;
        let report = prune(&ledger, height);
        dropped += report.bodies;
        if report.bodies == 0 {
            continue;
        }
        assert_sound(&ledger);
        assert_eq!(prune(&ledger, height), PruneReport::default());
        compare(&ledger, &twin, height);
        // Proofs, and what is certified later, are the same too.
        let genesis = ProveFrom::Genesis;
        for height in height..=3 {
            for name in ["k0", "k1"] {
                let name = || ProvedKey::Key(Key::new(name).unwrap());
                let prove = |ledger: &Ledger| {
                    let snapshot = ledger.snapshot().unwrap();
                    let proof = snapshot.prove_key(name(), Some(Height(height)), genesis);
                    proof.unwrap().encode()
                };
                assert_eq!(prove(&ledger), prove(&twin));
            }
        }
        let next = certify(&ledger);
        merge(&twin, &ledger);
        assert_eq!(twin.certification().height, Some(next.height()));
        assert_sound(&ledger);
        // All of it comes back.
        let report = ledger.merge_with(&twin, REFILL, &mut |_, _| {}).unwrap();
        assert!(report.refilled_bodies > 0);
        assert_sound(&ledger);
        for event in events(&twin) {
            let cut = Cut::Heads(vec![event]);
            assert_eq!(dump(&ledger, &cut).unwrap(), dump(&twin, &cut).unwrap());
            assert_eq!(read(&ledger, &cut).unwrap(), read(&twin, &cut).unwrap());
        }
    }
    assert!(dropped > 20, "{dropped}");
}

/// A ledger of which a body is gone: the event with it, and the last one.
fn pruned(dir: &TempDir) -> (Ledger, EventId, EventId) {
    let ledger = create(&dir.path().join("ledger"));
    let first = put(&ledger, "a", b"first");
    put(&ledger, "a", b"second");
    certify(&ledger);
    let last = put(&ledger, "b", b"third");
    let report = prune(&ledger, 1);
    assert_eq!((report.bodies, report.values), (1, 1));
    (ledger, first, last)
}

#[test]
fn events_stay_and_tell_that_their_operations_are_gone() {
    let dir = TempDir::new().unwrap();
    let (ledger, first, last) = pruned(&dir);
    let snapshot = ledger.snapshot().unwrap();
    let event = snapshot.event(first).unwrap();
    assert!(event.body.is_none() && event.operations().is_empty());
    assert_eq!(event.value(&snapshot, 0).unwrap(), None);
    assert!(snapshot.event(last).unwrap().body.is_some());
    assert_eq!(events(&ledger).len(), 4);
    assert!(matches!(snapshot.register_history("a"), Err(ReadError::Pruned(Height(1)))));
    // Who asks for a key gets what is known, and is told that this may not be all.
    let of_key = |ascending| {
        let filter = LogFilter { key: Some("a".to_owned()), ascending, ..LogFilter::default() };
        let found: Vec<_> = snapshot.log(filter).unwrap().map(|event| event.is_ok()).collect();
        found
    };
    assert_eq!((of_key(false), of_key(true)), (vec![true, false], vec![false, true]));
    assert!(snapshot.prove_event(first, ProveFrom::Genesis).is_ok());
}

#[test]
fn events_without_bodies_are_given_to_nobody() {
    let dir = TempDir::new().unwrap();
    let (ledger, first, last) = pruned(&dir);
    let all = Cut::Everything;
    let exported = |since: Option<&Cut>| {
        ledger.export(std::io::sink(), &all, since, &mut |_, _| {}).map(|report| report.events)
    };
    assert!(matches!(exported(None), Err(ExportError::Read(ReadError::Pruned(_)))));
    assert_eq!(exported(Some(&checkpoint(&ledger, 1))).unwrap(), 1);
    let cloned = options().clone_ledger(dir.path().join("c"), &ledger, &all, &mut |_, _| {});
    let error = cloned.err().unwrap().to_string();
    assert!(error.contains("pruned"), "{error}");
    // Peers get the event alone, and the rest as before.
    let mut feed = ledger.feed(&[Want { up_to: vec![last], held: Vec::new() }]).unwrap();
    let portion = feed.read(&ledger, usize::MAX).unwrap();
    let bodies: Vec<_> = portion.events.iter().map(|event| event.body.is_some()).collect();
    assert_eq!(bodies, [true, false, true, true]);
    assert!(ledger.events(&[first], usize::MAX).unwrap()[0].body.is_none());
}

#[test]
fn who_lacks_them_too_gives_none_back() {
    let dir = TempDir::new().unwrap();
    let (ledger, first, _) = pruned(&dir);
    let report = ledger.merge_with(&ledger, REFILL, &mut |_, _| {}).unwrap();
    assert_eq!(report.refilled_bodies, 0);
    assert!(ledger.snapshot().unwrap().event(first).unwrap().body.is_none());
    assert!(matches!(read(&ledger, &Cut::Heads(vec![first])), Err(ReadError::Pruned(_))));
}

#[test]
fn a_repair_keeps_what_is_left() {
    let dir = TempDir::new().unwrap();
    let (ledger, twin) = twins(&dir, 3);
    assert!(prune(&ledger, 2).bodies > 0);
    let expected = dump(&ledger, &Cut::Everything).unwrap();
    let place = ledger.dir().to_owned();
    drop(ledger);
    let forced = quipu_store::RepairOptions { force: true, ..Default::default() };
    let report = options().repair(&place, &forced, &mut |_, _| {}).unwrap();
    assert!(report.repaired && report.is_whole(), "{report:?}");
    let ledger = options().open(&place).unwrap();
    assert_sound(&ledger);
    assert_eq!(dump(&ledger, &Cut::Everything).unwrap(), expected);
    assert_eq!(ledger.certification().height, Some(Height(3)));
    compare(&ledger, &twin, 2);
    assert!(ledger.merge_with(&twin, REFILL, &mut |_, _| {}).unwrap().refilled_bodies > 0);
    assert_sound(&ledger);
}

/// An event of the test's key, right after another, that puts a value under a salt of its own.
fn event_at(
    before: Option<EventId>,
    seq: u64,
    granted: EventId,
    time: Micros,
    name: &str,
    value: &[u8],
) -> Incoming {
    let content = Content::Inline(value.to_vec());
    let (id, opening) = Opening { author: author(), salt: [5; 16], content }.seal();
    let body = Body::Data(vec![Operation::Put { key: Key::new(name).unwrap(), value: id }]);
    let body = body.encode().unwrap();
    let event = Event {
        author: author(),
        seq: Seq(seq),
        prev: before,
        parents: if before.is_none() { vec![granted] } else { Vec::new() },
        time: Micros(time.0 + seq),
        body: BodyId::of(&body),
        size: u32::try_from(body.len()).unwrap(),
    };
    let event = event.sign(&key()).unwrap();
    Incoming { event: event.bytes().to_vec(), body: Some(body), openings: vec![(0, opening)] }
}

/// A redact erases what the event named, wherever its author used it, though its body is gone.
#[test]
fn what_is_gone_can_be_erased() {
    let dir = TempDir::new().unwrap();
    let ledger = create(&dir.path().join("ledger"));
    let granted = ledger.grant(author(), Role::Writer).unwrap().event;
    let time = ledger.snapshot().unwrap().event(granted).unwrap().time;
    let mut last = None;
    let mut ids = Vec::new();
    for (seq, (name, value)) in (1..).zip([("a", b"secret"), ("b", b"secret"), ("a", b"public")]) {
        let incoming = event_at(last, seq, granted, time, name, value);
        let id = EventId::of(&incoming.event);
        let outcomes = ledger.admit(vec![incoming]).unwrap().outcomes;
        assert!(matches!(outcomes[..], [Ok(Outcome::Admitted)]), "{outcomes:?}");
        last = Some(id);
        ids.push(id);
    }
    certify(&ledger);
    assert_eq!(prune(&ledger, 1).bodies, 1);
    let value = || ledger.get("b").unwrap();
    assert_eq!(value(), Some(Value::Bytes(b"secret".to_vec())));
    ledger.redact(ids[0]).unwrap();
    assert_eq!(value(), Some(Value::Erased));
    assert_sound(&ledger);
    certify(&ledger);
    ledger.gc(quipu_store::GcOptions::default(), &mut |_, _| {}).unwrap();
    assert_eq!(value(), Some(Value::Erased));
    assert_sound(&ledger);
}
