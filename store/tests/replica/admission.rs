//! What becomes of events that are admitted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quipu_merge::{EventId, MAX_AHEAD, Reason};
use quipu_store::{
    AdmitReport, Branches, HeldEvent, Incoming, Ledger, Options, Outcome, WaitingReason,
};

use crate::history::{Known, create, genesis, key, sign};
use crate::support::assert_sound;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// A chain of events, each a microsecond after the one before.
fn chain(author: u8, first: &Known, count: usize) -> Vec<Known> {
    let mut chain = Vec::<Known>::new();
    for n in 0..count {
        let parents = if n == 0 { vec![first.id] } else { Vec::new() };
        let time = first.time + 1 + n as u64;
        chain.push(sign(&key(author), chain.last(), &parents, time, &[vec![author]]));
    }
    chain
}

fn admit(ledger: &Ledger, events: &[&Known]) -> AdmitReport {
    ledger.admit(events.iter().map(|event| event.incoming.clone()).collect()).unwrap()
}

fn held(event: &Known) -> HeldEvent {
    HeldEvent { author: event.author, seq: event.seq, id: event.id, prev: event.prev }
}

fn waits_for(ids: &[EventId]) -> Outcome {
    Outcome::Waits(WaitingReason::Missing(ids.to_vec()))
}

fn branch(event: &Known) -> Branches {
    Branches { author: event.author, tips: vec![(event.seq, event.id)] }
}

fn reason(outcome: &Result<Outcome, quipu_merge::Refusal>) -> Reason {
    outcome.as_ref().unwrap_err().reason
}

#[test]
fn each_event_of_a_batch_has_an_outcome_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("store"));
    let first = genesis(&ledger);
    let good = chain(1, &first, 3);
    let other = chain(2, &first, 4);
    let mut forged = good[1].incoming.clone();
    let at = forged.event.windows(4).position(|bytes| bytes == b"csig").unwrap();
    forged.event[at + 10] ^= 1;
    let mut cut = good[1].incoming.clone();
    cut.event.pop();
    let mut swapped = good[2].incoming.clone();
    swapped.body.clone_from(&first.incoming.body);
    // Not later than what it follows.
    let bad = sign(&key(3), None, &[first.id], first.time, &[vec![1]]);
    let after_bad = sign(&key(3), Some(&bad), &[], first.time + 9, &[vec![1]]);
    let mut batch: Vec<Incoming> = vec![good[0].incoming.clone(), forged, cut];
    batch.extend([&good[1], &good[0], &after_bad, &bad].map(|event| event.incoming.clone()));
    batch.push(swapped);
    batch.extend([&other[1], &other[3], &other[0], &good[2]].map(|event| event.incoming.clone()));
    let report = ledger.admit(batch).unwrap();
    let [a, forged, cut, b, twice, waiting, bad, swapped, c, d, e, f] = &report.outcomes[..] else {
        panic!("{:?}", report.outcomes)
    };
    for admitted in [a, b, e, f] {
        assert_eq!(admitted, &Ok(Outcome::Admitted));
    }
    assert_eq!((reason(forged), reason(cut)), (Reason::Signature, Reason::Encoding));
    assert_eq!((reason(bad), reason(swapped)), (Reason::Time, Reason::Body));
    assert_eq!(twice, &Ok(Outcome::Known));
    assert_eq!(waiting, &Ok(waits_for(&[after_bad.prev.unwrap()])));
    assert_eq!((c, d), (&Ok(waits_for(&[other[0].id])), &Ok(waits_for(&[other[2].id]))));
    // What waited comes right after what it waited for.
    let new = [&good[0], &good[1], &other[0], &other[1], &good[2]];
    assert_eq!(report.new, new.map(held));
    // What follows a bad event waits no longer.
    let waiting: Vec<_> = ledger.waiting().iter().map(|info| info.event).collect();
    assert_eq!(waiting, [other[3].id]);
    let report = admit(&ledger, &[&other[2], &good[0]]);
    assert_eq!(report.outcomes, [Ok(Outcome::Admitted), Ok(Outcome::Known)]);
    assert_eq!(report.new, [&other[2], &other[3]].map(held));
    assert_sound(&ledger);
}

#[test]
fn what_is_dated_ahead_waits_and_counts_as_held() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("store");
    let ledger = create(&path);
    let first = genesis(&ledger);
    let due = now() + MAX_AHEAD + 4_000_000;
    let ahead = sign(&key(1), None, &[first.id], due, &[vec![1]]);
    let after = sign(&key(1), Some(&ahead), &[], due + 1, &[vec![2]]);
    let missing = sign(&key(2), None, &[first.id], first.time + 1, &[vec![3]]);
    let mut parents = [ahead.id, missing.id];
    parents.sort_unstable();
    let stuck = sign(&key(3), None, &parents, due + 2, &[vec![4]]);
    let stuck_too = sign(&key(3), Some(&stuck), &[], due + 3, &[vec![5]]);
    let report = admit(&ledger, &[&stuck_too, &stuck, &after, &ahead]);
    assert!(report.new.is_empty());
    let waits = Ok(Outcome::Waits(WaitingReason::Due(quipu_merge::Micros(due))));
    assert_eq!(report.outcomes[3], waits);
    assert_eq!(ledger.next_due(), Some(quipu_merge::Micros(due - MAX_AHEAD)));
    let offered = [branch(&after), branch(&ahead), branch(&stuck), branch(&stuck_too)];
    let plan = |ledger: &Ledger| -> Vec<EventId> {
        ledger.plan(&offered).unwrap().into_iter().flat_map(|want| want.up_to).collect()
    };
    assert_eq!(plan(&ledger), [stuck.id, stuck_too.id]);
    drop(ledger);
    let ledger = Options::new().open(&path).unwrap();
    assert_eq!(plan(&ledger), [stuck.id, stuck_too.id]);
    // With a body that is missing, too.
    let bare = Incoming { body: None, ..missing.incoming.clone() };
    let report = ledger.admit(vec![bare]).unwrap();
    assert_eq!(report.outcomes, [Ok(Outcome::Waits(WaitingReason::BodyMissing))]);
    assert_eq!(ledger.plan(&[branch(&missing)]).unwrap().len(), 1);
    assert_eq!(plan(&ledger), [stuck.id, stuck_too.id]);
    assert_eq!(admit(&ledger, &[&missing]).new, [held(&missing)]);
    assert_eq!(plan(&ledger), []);
    assert!(ledger.admit(Vec::new()).unwrap().new.is_empty());
    std::thread::sleep(Duration::from_micros(due - MAX_AHEAD - now().min(due - MAX_AHEAD) + 1000));
    // What is due goes first, even where nothing else comes.
    let mut new = ledger.admit(Vec::new()).unwrap().new;
    new.sort_unstable_by_key(|event| (event.seq, event.id != ahead.id));
    let last = if new[2].id == after.id { [&after, &stuck_too] } else { [&stuck_too, &after] };
    assert_eq!(new, [&ahead, &stuck, last[0], last[1]].map(held));
    assert_sound(&ledger);
}

#[test]
fn openings_in_any_order_and_twice_are_taken_once() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("store"));
    let first = genesis(&ledger);
    let values: Vec<_> = (0..5).map(|n| vec![n; 2_000]).collect();
    let mut event = sign(&key(1), None, &[first.id], first.time + 1, &values);
    let openings = event.incoming.openings.clone();
    let foreign = (1, openings[0].1.clone());
    let mixed = [&openings[3..], &[foreign, openings[1].clone()], &openings[..2], &openings[3..4]];
    event.incoming.openings = mixed.concat();
    assert_eq!(admit(&ledger, &[&event]).new.len(), 1);
    let kept = &ledger.events(&[event.id], usize::MAX).unwrap()[0].openings;
    assert_eq!(kept.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [0, 1, 3, 4]);
    assert_eq!(ledger.count_missing().unwrap(), 1);
    assert_sound(&ledger);
}

/// Two threads admit the same events in different orders.
#[test]
fn admitting_side_by_side_admits_each_once() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("store"));
    let first = genesis(&ledger);
    let events: Vec<_> = (1..5).flat_map(|author| chain(author, &first, 100)).collect();
    let run = |backwards: bool| {
        let mut new = 0;
        for at in 0..20 {
            let at = if backwards { 19 - at } else { at };
            let batch: Vec<_> = events[at * 20..][..20].iter().collect();
            new += admit(&ledger, &batch).new.len();
        }
        new
    };
    let new = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(true));
        run(false) + other.join().unwrap()
    });
    assert_eq!((new, ledger.waiting().len()), (400, 0));
    assert_sound(&ledger);
}
