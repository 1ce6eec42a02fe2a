//! A store that was started without what is below: the events come all the same, and what no state from the
//! checkpoint on needs is dropped before it is whole.

use std::path::Path;

use quipu_merge::{Cut, EventId, ForkPolicy, Height, Policy};
use quipu_store::{
    Acceptance, Below, FillError, Ledger, LogFilter, Outcome, PruneOptions, ReadError,
    WaitingReason,
};
use tempfile::TempDir;

use super::support::certified::{certify, next, options};
use super::support::dice::Dice;
use super::support::values::put;
use super::support::{assert_sound, merge};
use super::world::{create, world, write};
use super::{POLICIES, SIGABRT, fill, hand_over, put_long, run_child, start};

/// What replicas have in common that hold the same events, whatever they have dropped.
fn common(ledger: &Ledger) -> [String; 3] {
    let snapshot = ledger.snapshot().unwrap();
    let order = snapshot.log(LogFilter::default()).unwrap();
    let order: Vec<EventId> = order.map(|event| event.unwrap().id).collect();
    let dump = snapshot.dump(&[]).unwrap();
    [format!("{:?}", ledger.certification()), format!("{order:?}"), format!("{dump:?}")]
}

#[track_caller]
fn assert_alike(a: &Ledger, b: &Ledger) {
    assert_sound(a);
    for ((a, b), name) in common(a).into_iter().zip(common(b)).zip(["certified", "order", "state"])
    {
        assert!(a == b, "the {name} differs");
    }
}

fn cut_of(ledger: &Ledger, height: Height) -> Cut {
    let checkpoint = ledger.snapshot().unwrap().checkpoint(height).unwrap().unwrap();
    Cut::Heads(checkpoint.cut.heads().to_vec())
}

/// Fills a store and opens it again.
#[track_caller]
fn filled(front: Ledger, source: &Ledger) -> Ledger {
    let dir = front.dir().to_owned();
    fill(&front, source).unwrap();
    drop(front);
    let whole = options().open(dir).unwrap();
    assert!(whole.shallow().is_none());
    whole
}

/// Of two that write, one has an event under way when the checkpoint is certified.
#[test]
fn what_was_under_way_at_the_checkpoint_comes_in_and_certifying_goes_on() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    let first = create(&path("first"), Policy::Open, ForkPolicy::Keep);
    let everything = Cut::Everything;
    let second =
        options().clone_ledger(path("second"), &first, &everything, &mut |_, _| {}).unwrap().0;
    for round in 0..5_u8 {
        put(&first, "k", &[round]);
    }
    let under_way = put(&second, "k", b"under way");
    certify(&first);
    let front = start(&first, &path("front"), Below::Pruned);
    // Both go on, and so does this one.
    put(&first, "k", b"beyond");
    merge(&first, &second);
    let tying = put(&first, "k", b"ties them in");
    let own = put(&front, "own", b"v");
    let waits = hand_over(&second, &front, under_way);
    assert!(matches!(waits, Outcome::Waits(WaitingReason::History)), "{waits:?}");
    merge(&front, &first);
    assert!(!front.snapshot().unwrap().contains(tying).unwrap());
    front.accept(certify(&first)).unwrap();
    assert_eq!(front.certification().pending, 1);

    let whole = filled(front, &first);
    let snapshot = whole.snapshot().unwrap();
    assert!([under_way, tying, own].iter().all(|event| snapshot.contains(*event).unwrap()));
    drop(snapshot);
    assert_eq!((whole.certification().pending, whole.certification().height), (0, Some(Height(2))));
    merge(&first, &whole);
    assert_alike(&whole, &first);
    put(&whole, "k", b"after all");
    merge(&first, &whole);
    assert_eq!(whole.accept(certify(&first)).unwrap(), Acceptance::Counted);
    assert_alike(&whole, &first);
}

#[test]
fn it_is_an_ordinary_store_whose_bodies_are_pruned() {
    for (seed, (policy, forks)) in (20..24).zip(POLICIES) {
        let dir = TempDir::new().unwrap();
        let source = world(&dir, seed, policy, forks);
        let last = source.certification().height.unwrap();
        let front = start(&source, &dir.path().join("front"), Below::Pruned);
        write(&source, &mut Dice::new(seed));
        merge(&front, &source);
        let whole = filled(front, &source);
        assert_alike(&whole, &source);
        // Nothing is left to drop, and nothing is missing.
        let cut = cut_of(&whole, last);
        let again = whole.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap();
        assert_eq!((again.values, again.bodies), (0, 0), "{again:?}");
        assert_eq!(whole.count_missing().unwrap(), source.count_missing().unwrap());
        let below = whole.at(&cut_of(&whole, Height(2))).unwrap();
        let read = below.dump(&[]);
        assert!(matches!(read, Err(ReadError::Pruned(height)) if height == last), "{read:?}");
        assert!(whole.at(&cut).unwrap().dump(&[]).is_ok());
        // It certifies on.
        write(&source, &mut Dice::new(seed + 1));
        merge(&whole, &source);
        let certified = next(&whole);
        assert_eq!(whole.accept(certified.clone()).unwrap(), Acceptance::Counted);
        assert_eq!(source.accept(certified).unwrap(), Acceptance::Counted);
        assert_alike(&whole, &source);
        // What has been dropped nobody can get here.
        let other = start(&source, &dir.path().join("other"), Below::Hashes);
        let refused = fill(&other, &whole);
        assert!(matches!(refused, Err(FillError::Source(_))), "{refused:?}");
        drop(filled(other, &source));
    }
}

/// Of long values, only those that stand come.
#[test]
fn long_values_that_do_not_stand_do_not_come() {
    let dir = TempDir::new().unwrap();
    let source = world(&dir, 30, Policy::Open, ForkPolicy::Keep);
    let gone = put_long(&source, "long value", 1);
    let stands = put_long(&source, "long value", 2);
    certify(&source);
    let front = start(&source, &dir.path().join("front"), Below::Pruned);
    let whole = filled(front, &source);
    assert_eq!(whole.absent_blocks(&[gone.block, stands.block]).unwrap(), [gone.block]);
    assert!(!whole.lacks_block(gone.block).unwrap());
    assert_eq!(whole.count_missing().unwrap(), source.count_missing().unwrap());
}

fn setting(dir: &TempDir) -> (Ledger, Ledger) {
    let source = world(dir, 31, Policy::Open, ForkPolicy::Keep);
    put_long(&source, "long value", 1);
    put_long(&source, "long value", 2);
    certify(&source);
    let front = start(&source, &dir.path().join("front"), Below::Pruned);
    put(&front, "own", b"v");
    merge(&source, &front);
    (source, front)
}

/// Wherever it is killed, it goes on.
#[test]
fn killed_while_it_is_pruned_it_goes_on() {
    let points = [("between-pruned", 0), ("between-pruned-bodies", 0), ("before-filling-whole", 0)];
    for (point, after) in points {
        let dir = TempDir::new().unwrap();
        let (source, front) = setting(&dir);
        let (from, to) = (source.dir().to_owned(), front.dir().to_owned());
        drop((source, front));
        let killed = run_child(Path::new(&to), Some(&from), point, after);
        assert_eq!(killed, Some(SIGABRT), "{point}");
        let (source, front) = (options().open(from).unwrap(), options().open(to).unwrap());
        assert!(front.shallow().is_some());
        let last = front.shallow().unwrap().height;
        let whole = filled(front, &source);
        let cut = cut_of(&whole, last);
        let again = whole.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap();
        assert_eq!((again.values, again.bodies), (0, 0), "{point}: {again:?}");
        assert_alike(&whole, &source);
    }
}
