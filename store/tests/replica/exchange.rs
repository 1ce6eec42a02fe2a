//! Stores that tell each other all they have.

use quipu_merge::ForkPolicy;
use quipu_store::Ledger;

use crate::history::{Dice, History, create, empty_clone};
use crate::support::{assert_sound, busy};

/// Gives `to` what `from` has and it lacks; tells how many events that were.
pub fn pull(to: &Ledger, from: &Ledger, max_len: usize) -> usize {
    let wants = to.plan(&from.frontier().unwrap()).unwrap();
    let mut feed = from.feed(&wants).unwrap();
    let mut new = 0;
    loop {
        let portion = feed.read(from, max_len).unwrap();
        new += to.admit(portion.events).unwrap().new.len();
        if portion.last {
            return new;
        }
    }
}

fn dump(ledger: &Ledger) -> quipu_merge::Dump {
    ledger.snapshot().unwrap().dump(&[]).unwrap()
}

fn write(ledger: &Ledger) {
    let mut transaction = ledger.transaction();
    transaction.inc("n", 1).unwrap();
    transaction.commit().unwrap();
}

fn assert_equal(a: &Ledger, b: &Ledger) {
    assert_eq!(a.frontier().unwrap(), b.frontier().unwrap());
    assert_eq!(dump(a), dump(b));
    assert_sound(a);
    assert_sound(b);
}

#[test]
fn replicas_end_up_equal_whatever_each_had() {
    let place = tempfile::tempdir().unwrap();
    for seed in 0..25 {
        let mut dice = Dice::new(seed + 77);
        let path = |name: &str| place.path().join(format!("{seed}-{name}"));
        let a = create(&path("a"));
        let b = empty_clone(&a, &path("b"));
        let whole = History::random(&a, &mut dice, 5, 120);
        whole.part(&mut dice).admit_to(&a);
        whole.part(&mut dice).admit_to(&b);
        let mut rounds = 0;
        while a.frontier().unwrap() != b.frontier().unwrap() {
            // What is written meanwhile on both sides comes along.
            if rounds == 0 {
                write(&a);
                write(&b);
            }
            let max_len = [0, 2_000, 1 << 20][dice.below(3)];
            pull(&a, &b, max_len);
            pull(&b, &a, max_len);
            rounds += 1;
            assert!(rounds < 3, "seed {seed}");
        }
        assert_equal(&a, &b);
    }
}

/// Roles, revokes, redacts, forks that exclude: everything that changes verdicts.
#[test]
fn a_copy_of_a_busy_store_is_equal() {
    for forks in [ForkPolicy::Keep, ForkPolicy::Exclude] {
        let place = tempfile::tempdir().unwrap();
        let source = Ledger::open(busy(&place, forks)).unwrap();
        for (name, max_len) in [("one by one", 0), ("in large portions", 256 << 10)] {
            let copy = empty_clone(&source, &place.path().join(name));
            pull(&copy, &source, max_len);
            assert_eq!(copy.frontier().unwrap(), source.frontier().unwrap());
            copy.merge(&source, &mut |_, _| {}).unwrap();
            assert_equal(&copy, &source);
        }
    }
}

#[test]
fn events_may_come_in_any_order() {
    let place = tempfile::tempdir().unwrap();
    let ordered = create(&place.path().join("ordered"));
    let mixed = empty_clone(&ordered, &place.path().join("mixed"));
    let mut dice = Dice::new(99);
    let whole = History::random(&ordered, &mut dice, 5, 300);
    whole.admit_to(&ordered);
    let mut ids = whole.order.clone();
    dice.shuffle(&mut ids);
    let mut new = Vec::new();
    for ids in ids.chunks(20) {
        new.extend(mixed.admit(whole.incoming(ids)).unwrap().new);
    }
    let mut held = whole.closure([]);
    for event in new {
        assert!(whole.events[&event.id].follows.iter().all(|id| held.events.contains_key(id)));
        held.insert(whole.events[&event.id].clone());
    }
    assert_equal(&mixed, &ordered);
}
