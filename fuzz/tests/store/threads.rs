//! Many threads on one ledger: group commit, snapshots beside writers, conditions that race.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use quipu_merge::{Cut, EventId};
use quipu_store::{Committed, Expected, Ledger, LogFilter, NewLedger, Options, Value, WriteError};

use crate::compare::check_indexes;
use crate::files::{Place, merge, relaxed};

const THREADS: usize = 6;
const EACH: usize = 40;

fn write(ledger: &Ledger, thread: usize) -> Vec<Committed> {
    let each = (0..EACH).map(|number| {
        let mut transaction = ledger.transaction();
        transaction.inc("n", 1).unwrap().append("l", number.to_string().as_bytes()).unwrap();
        transaction.put(&format!("own/{thread}"), number.to_string().as_bytes()).unwrap();
        transaction.put("shared", thread.to_string().as_bytes()).unwrap();
        transaction.commit().unwrap()
    });
    each.collect()
}

/// Looks at snapshots until told to stop: each must hold whole events.
fn watch(ledger: &Ledger, stop: &AtomicBool) {
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        let snapshot = ledger.snapshot().unwrap();
        let sum = snapshot.counter("n").unwrap().unwrap_or(0);
        let events = i128::from(snapshot.len().unwrap());
        let log = snapshot.log(LogFilter::default()).unwrap().map(Result::unwrap);
        assert_eq!(log.count() as i128, events);
        assert!((last..=events).contains(&sum) && sum + 1 == events);
        last = sum;
    }
}

#[test]
fn threads_share_a_ledger() {
    let place = Place::new();
    let dir = place.path("store");
    let ledger = Options::new().create(&dir, &NewLedger::default()).unwrap();
    let stop = AtomicBool::new(false);
    let committed = thread::scope(|scope| {
        let watchers = (0..2).map(|_| scope.spawn(|| watch(&ledger, &stop))).collect::<Vec<_>>();
        let writers = (0..THREADS).map(|thread| {
            let ledger = &ledger;
            scope.spawn(move || write(ledger, thread))
        });
        let writers = writers.collect::<Vec<_>>();
        let committed = writers.into_iter().map(|writer| writer.join().unwrap());
        let committed = committed.collect::<Vec<_>>();
        stop.store(true, Ordering::Relaxed);
        watchers.into_iter().for_each(|watcher| watcher.join().unwrap());
        committed
    });
    for chain in &committed {
        assert!(chain.is_sorted_by_key(|one| one.seq));
    }
    let committed = committed.concat();
    let seqs = committed.iter().map(|one| one.seq.0).collect::<BTreeSet<u64>>();
    let total = (THREADS * EACH) as u64;
    assert_eq!(seqs, (2..total + 2).collect::<BTreeSet<u64>>());
    drop(ledger);
    let ledger = Options::new().open(&dir).unwrap();
    let snapshot = ledger.snapshot().unwrap();
    assert_eq!(snapshot.len().unwrap(), total + 1);
    for one in &committed {
        let event = snapshot.event(one.event).unwrap();
        assert_eq!((event.seq, event.time), (one.seq, one.time));
    }
    let last = committed.iter().max_by_key(|one| one.seq).unwrap();
    assert_eq!(snapshot.heads().unwrap(), [last.event]);
    for thread in 0..THREADS {
        let value = snapshot.get(&format!("own/{thread}")).unwrap();
        assert_eq!(value, Some(Value::Bytes((EACH - 1).to_string().into_bytes())));
    }
    let dump = serde_json::json!(snapshot.dump(&[]).unwrap());
    check_indexes(&snapshot, &dump, true, "what the threads wrote");
}

#[test]
fn conditions_race() {
    let place = Place::new();
    let ledger = relaxed().create(place.path("store"), &NewLedger::default()).unwrap();
    let first = thread::scope(|scope| {
        let claims = (0..THREADS).map(|thread| {
            let ledger = &ledger;
            scope.spawn(move || {
                let mut transaction = ledger.transaction();
                transaction.put("number", b"0").unwrap();
                transaction.put(&format!("claim/{thread}"), b"").unwrap();
                transaction.require("number", Expected::Absent).unwrap();
                transaction.commit()
            })
        });
        let claims = claims.collect::<Vec<_>>();
        let results = claims.into_iter().map(|claim| claim.join().unwrap()).collect::<Vec<_>>();
        let lost = |r: &&Result<Committed, _>| matches!(r, Err(WriteError::Condition { .. }));
        assert_eq!(results.iter().filter(lost).count(), THREADS - 1);
        results.into_iter().find_map(Result::ok).unwrap()
    });
    assert_eq!(ledger.snapshot().unwrap().register("number").unwrap()[0].event, first.event);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..EACH).for_each(|_| add_one(&ledger)));
        }
    });
    let number = ledger.snapshot().unwrap().get("number").unwrap();
    assert_eq!(number, Some(Value::Bytes((THREADS * EACH).to_string().into_bytes())));
}

/// Counts in a register, as a program without counters would.
fn add_one(ledger: &Ledger) {
    loop {
        let writes = ledger.snapshot().unwrap().register("number").unwrap();
        let [write] = writes.as_slice() else { panic!("{writes:?}") };
        let Some(Value::Bytes(bytes)) = &write.value else { panic!("{write:?}") };
        let number: usize = String::from_utf8(bytes.clone()).unwrap().parse().unwrap();
        let mut transaction = ledger.transaction();
        transaction.put("number", (number + 1).to_string().as_bytes()).unwrap();
        transaction.require("number", Expected::Writes(vec![write.event])).unwrap();
        match transaction.commit() {
            Ok(_) => return,
            Err(WriteError::Condition { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn merging_goes_on_beside_writing() {
    let place = Place::new();
    let new = NewLedger { policy: quipu_merge::Policy::Open, ..NewLedger::default() };
    let a = relaxed().create(place.path("a"), &new).unwrap();
    let clone = relaxed().clone_ledger(place.path("b"), &a, &Cut::Everything, &mut |_, _| {});
    let b = clone.unwrap().0;
    thread::scope(|scope| {
        scope.spawn(|| write(&a, 0));
        scope.spawn(|| write(&b, 1));
        for (to, from) in [(&a, &b), (&b, &a)] {
            scope.spawn(move || (0..20).for_each(|_| drop(merge(to, from))));
        }
    });
    merge(&a, &b);
    merge(&b, &a);
    let dumps = [&a, &b].map(|ledger| {
        let snapshot = ledger.snapshot().unwrap();
        let dump = serde_json::json!(snapshot.dump(&[]).unwrap());
        check_indexes(&snapshot, &dump, true, "both");
        dump
    });
    assert_eq!(dumps[0], dumps[1]);
    assert_eq!(dumps[0]["events"], 2 * EACH + 1);
    let heads: Vec<EventId> = a.snapshot().unwrap().heads().unwrap();
    assert!(heads.len() <= 2);
}
