//! Whoever follows a store that lacks something is told where what is yet to be seen is not all here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use quipu_merge::{AuthorKey, Cut, EventId, ForkPolicy, Height, Role, Seq};
use quipu_store::{
    Below, Branches, EventInfo, Ledger, LogFilter, PruneOptions, ReadError, StartOptions,
};
use support::certified::{certify, create, options};
use support::{busy, merge};
use tempfile::TempDir;

fn events(ledger: &Ledger, cut: &Cut) -> Vec<EventInfo> {
    let snapshot = ledger.at(cut).unwrap();
    let log = snapshot.log(LogFilter::default()).unwrap();
    log.collect::<Result<_, _>>().unwrap()
}

/// The events that no other of their author goes on from, by the events alone.
fn ends(events: &[EventInfo]) -> Vec<Branches> {
    let followed: BTreeSet<EventId> = events.iter().filter_map(|event| event.prev).collect();
    let mut ends = BTreeMap::<AuthorKey, Vec<(Seq, EventId)>>::new();
    for event in events.iter().filter(|event| !followed.contains(&event.id)) {
        ends.entry(event.author).or_default().push((event.seq, event.id));
    }
    let branches = ends.into_iter().map(|(author, mut tips)| {
        tips.sort_unstable();
        Branches { author, tips }
    });
    branches.collect()
}

fn ids(branches: &[Branches]) -> Vec<EventId> {
    branches.iter().flat_map(|branches| &branches.tips).map(|(_, id)| *id).collect()
}

#[test]
fn the_branches_of_a_cut_end_where_it_does() {
    let dir = TempDir::new().unwrap();
    let ledger = Ledger::open(busy(&dir, ForkPolicy::Keep)).unwrap();
    let all = events(&ledger, &Cut::Everything);
    assert_eq!(ledger.snapshot().unwrap().branches().unwrap(), ledger.frontier().unwrap());
    let mut forked = 0;
    for event in &all {
        let cut = Cut::Heads(vec![event.id]);
        let branches = ledger.at(&cut).unwrap().branches().unwrap();
        assert_eq!(branches, ends(&events(&ledger, &cut)));
        forked += branches.iter().filter(|branches| branches.tips.len() > 1).count();
    }
    assert!(forked > 0);
}

fn put(ledger: &Ledger, key: &str) {
    let mut transaction = ledger.transaction();
    transaction.put(key, b"value").unwrap();
    transaction.commit().unwrap();
}

/// A ledger of two authors with three checkpoints and events after the last.
fn history(dir: &TempDir) -> Ledger {
    let ledger = create(&dir.path().join("whole"));
    let other = options()
        .clone_ledger(dir.path().join("other"), &ledger, &Cut::Everything, &mut |_, _| {})
        .unwrap()
        .0;
    ledger.grant(other.author(), Role::Writer).unwrap();
    for _ in 0..3 {
        merge(&other, &ledger);
        put(&ledger, "a");
        put(&other, "b");
        put(&other, "a");
        merge(&ledger, &other);
        put(&ledger, "a");
        certify(&ledger);
    }
    put(&ledger, "a");
    ledger
}

/// What every event has seen, as somebody does who follows, and whether that contains a checkpoint's cut.
fn seen(whole: &Ledger, height: u64) -> Vec<(Vec<EventId>, bool)> {
    let all = events(whole, &Cut::Everything);
    let cut = whole.snapshot().unwrap().checkpoint(Height(height)).unwrap().unwrap().cut;
    let seen = all.iter().map(|event| {
        let cut_of = whole.at(&Cut::Heads(vec![event.id])).unwrap();
        let contains = cut.heads().iter().all(|head| cut_of.contains(*head).unwrap());
        (ids(&cut_of.branches().unwrap()), contains)
    });
    let seen: Vec<_> = seen.collect();
    assert!(seen.iter().any(|(_, contains)| *contains) && !seen[0].0.is_empty());
    seen
}

#[test]
fn a_shallow_store_is_followed_from_its_checkpoint_on() {
    let dir = TempDir::new().unwrap();
    let whole = history(&dir);
    let mut file = Vec::new();
    whole.write_start(&mut file).unwrap();
    let start = StartOptions { below: Below::Hashes, ledger: Some(whole.id()) };
    let at = dir.path().join("shallow");
    let shallow = options().start_from(at, &mut file.as_slice(), &start, &mut |_, _| {}).unwrap().0;
    merge(&shallow, &whole);
    put(&whole, "later");
    merge(&shallow, &whole);
    for (seen, contains) in seen(&whole, 3) {
        for operations in [false, true] {
            let checked = shallow.check_beyond(seen.iter().copied(), operations);
            match checked {
                Ok(()) => assert!(contains, "{seen:?}"),
                Err(ReadError::BelowStart(Height(3))) => assert!(!contains, "{seen:?}"),
                Err(other) => panic!("{other}"),
            }
            assert!(whole.check_beyond(seen.iter().copied(), operations).is_ok());
        }
    }
    assert!(matches!(shallow.check_beyond([], false), Err(ReadError::BelowStart(_))));
    let snapshot = shallow.snapshot().unwrap();
    let cut = snapshot.checkpoint(Height(3)).unwrap().unwrap().cut;
    let at_start = snapshot.at(&Cut::Heads(cut.heads().to_vec())).unwrap();
    let begins = ids(&at_start.branches().unwrap());
    assert!(shallow.check_beyond(begins, true).is_ok());
}

#[test]
fn what_pruned_events_did_is_followed_from_the_checkpoint_on() {
    let dir = TempDir::new().unwrap();
    let whole = history(&dir);
    let seen = seen(&whole, 2);
    let cut = whole.snapshot().unwrap().checkpoint(Height(2)).unwrap().unwrap().cut;
    let cut = Cut::Heads(cut.heads().to_vec());
    let report = whole.prune(&cut, PruneOptions::default(), &mut |_, _| {}).unwrap();
    assert!(report.bodies > 0, "{report:?}");
    assert_eq!(whole.status().unwrap().pruned_to, Some(Height(2)));
    for (seen, contains) in seen {
        // The events themselves are all here.
        assert!(whole.check_beyond(seen.iter().copied(), false).is_ok());
        match whole.check_beyond(seen.iter().copied(), true) {
            Ok(()) => assert!(contains, "{seen:?}"),
            Err(ReadError::Pruned(Height(2))) => assert!(!contains, "{seen:?}"),
            Err(other) => panic!("{other}"),
        }
    }
    // All is derived but for the states that need what is gone.
    for (height, events) in [(1, 6), (3, 14)] {
        let report = whole.verify_checkpoints(Height(height)).unwrap();
        assert!(report.is_sound(), "{:?}", report.findings);
        assert_eq!((report.first, report.first_state), (Height(1), Height(2)));
        assert_eq!((report.checkpoints, report.events), (height, events));
    }
}
