//! Followers: every event once, in order, and not before readers see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quipu_merge::EventId;
use quipu_store::{HeldEvent, Ledger, Notice};

use crate::exchange::pull;
use crate::history::{Dice, History, create, empty_clone};

const NO_TIME: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

fn write(ledger: &Ledger) -> EventId {
    let mut transaction = ledger.transaction();
    transaction.inc("n", 1).unwrap();
    transaction.commit().unwrap().event
}

fn write_some(ledger: &Ledger, count: usize) {
    for _ in 0..count {
        write(ledger);
    }
}

fn ids(notice: Option<Notice>) -> Vec<EventId> {
    match notice {
        Some(Notice::New(new)) => new.iter().map(|event| event.id).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_follower_hears_of_everything_once_and_in_order() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("store"));
    let mut dice = Dice::new(5);
    let other = empty_clone(&ledger, &place.path().join("other"));
    History::random(&ledger, &mut dice, 6, 400).admit_to(&other);
    let merged = empty_clone(&ledger, &place.path().join("merged"));
    write_some(&merged, 300);
    write_some(&ledger, 20);
    let follower = ledger.follow(1 << 20).unwrap();
    let before = ledger.frontier().unwrap();
    let done = AtomicBool::new(false);
    let heard = std::thread::scope(|scope| {
        let writers = [
            scope.spawn(|| write_some(&ledger, 500)),
            scope.spawn(|| write_some(&ledger, 500)),
            scope.spawn(|| assert!(pull(&ledger, &other, 10_000) > 300)),
            scope.spawn(|| drop(ledger.merge(&merged, &mut |_, _| {}).unwrap())),
        ];
        let follower = scope.spawn(|| {
            let mut heard = Vec::<HeldEvent>::new();
            loop {
                // Looked at first: what comes before the end is heard all the same.
                let is_done = done.load(Ordering::SeqCst);
                match follower.next(if is_done { NO_TIME } else { Duration::from_millis(5) }) {
                    Some(Notice::New(new)) => {
                        let snapshot = ledger.snapshot().unwrap();
                        assert!(new.iter().all(|event| snapshot.contains(event.id).unwrap()));
                        heard.extend(new.iter());
                    }
                    Some(Notice::Lagged) => panic!("it lagged"),
                    None if is_done => return heard,
                    None => {}
                }
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::SeqCst);
        follower.join().unwrap()
    });
    let once: BTreeSet<_> = heard.iter().map(|event| event.id).collect();
    assert_eq!(once.len(), heard.len());
    assert_eq!(heard.len(), 1_000 + 399 + 300);
    // Each branch goes on from where it was: applied to the frontier before, it gives that of now.
    let mut tips: BTreeMap<_, BTreeSet<_>> =
        before.into_iter().map(|own| (own.author, own.tips.into_iter().collect())).collect();
    let mut held: BTreeSet<_> = tips.values().flatten().map(|(_, id)| *id).collect();
    for event in heard {
        let own = tips.entry(event.author).or_default();
        own.retain(|(_, id)| Some(*id) != event.prev);
        own.insert((event.seq, event.id));
        assert!(event.prev.is_none_or(|prev| held.contains(&prev)));
        held.insert(event.id);
    }
    let now = ledger.frontier().unwrap().into_iter();
    let now: BTreeMap<_, _> = now.map(|own| (own.author, own.tips.into_iter().collect())).collect();
    assert_eq!(tips, now);
}

#[test]
fn a_slow_follower_is_told_that_it_lagged() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("store"));
    let (slow, quick) = (ledger.follow(10).unwrap(), ledger.follow(10).unwrap());
    assert_eq!(slow.next(NO_TIME), None);
    for _ in 0..30 {
        let id = write(&ledger);
        assert_eq!(ids(quick.next(LONG)), [id]);
    }
    assert_eq!(slow.next(NO_TIME), Some(Notice::Lagged));
    assert_eq!(slow.next(NO_TIME), None);
    let id = write(&ledger);
    assert_eq!((ids(slow.next(NO_TIME)), ids(quick.next(NO_TIME))), (vec![id], vec![id]));
    // A commit that is larger than what is kept is told of, where nothing else waits.
    let other = empty_clone(&ledger, &place.path().join("other"));
    write_some(&other, 50);
    let merged = ledger.merge(&other, &mut |_, _| {}).unwrap().new_events;
    assert_eq!(ids(slow.next(NO_TIME)).len() as u64, merged);
    drop(slow);
    // One more is too many, and all are passed over.
    write(&ledger);
    assert_eq!(quick.next(NO_TIME), Some(Notice::Lagged));
}

#[test]
fn who_waits_is_woken() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("store"));
    let follower = ledger.follow(10).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || ids(follower.next(LONG)));
        std::thread::sleep(Duration::from_millis(20));
        let id = write(&ledger);
        assert_eq!(waiting.join().unwrap(), [id]);
    });
    // Nobody follows any more.
    write(&ledger);
    let follower = ledger.follow(10).unwrap();
    assert_eq!(follower.next(NO_TIME), None);
    let id = write(&ledger);
    assert_eq!(ids(follower.next(NO_TIME)), [id]);
}
