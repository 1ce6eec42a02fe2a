//! Starting from a checkpoint, against a copy of everything: until it reads, and follows what is written
//! from then on.

use quipu_merge::{Cut, EventId};
use quipu_store::{Below, Durability, Ledger, NewLedger, Options, StartOptions, Value};

use crate::certifying::{author, certify_all};
use crate::writing::key;
use crate::{Figure, best, timed};

const EVENTS: usize = 1_000_000;
const KEYS: usize = 10_000;
/// So many events come with each checkpoint.
const CERTIFIED: usize = 50_000;

/// A ledger with as many keys, each of which was written so often.
fn fill(dir: &std::path::Path) -> Ledger {
    let new = NewLedger { validators: Some(vec![author()]), ..NewLedger::default() };
    let options = Options::new().durability(Durability::Relaxed);
    let ledger = options.create(dir, &new).unwrap();
    for number in 0..EVENTS {
        let mut transaction = ledger.transaction();
        transaction.put(&key(number % KEYS), &(number as u64).to_be_bytes()).unwrap();
        transaction.commit().unwrap();
        if (number + 1) % CERTIFIED == 0 {
            certify_all(&ledger);
        }
    }
    ledger.compact().unwrap();
    ledger
}

/// Reads, then takes what the source writes after its checkpoint, as from a peer, and reads that.
fn reads_and_follows(ledger: &Ledger, source: &Ledger, written: &mut Vec<EventId>) {
    let value = ledger.get(&key(7)).unwrap();
    assert!(matches!(value, Some(Value::Bytes(_))), "{value:?}");
    let new = (written.len() as u64).to_le_bytes();
    let mut transaction = source.transaction();
    transaction.put(&key(7), &new).unwrap();
    written.push(transaction.commit().unwrap().event);
    let incoming = source.events(written, usize::MAX).unwrap();
    let outcomes = ledger.admit(incoming).unwrap().outcomes;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let value = ledger.get(&key(7)).unwrap();
    assert!(matches!(&value, Some(Value::Bytes(value)) if *value == new), "{value:?}");
}

pub fn start() -> Vec<Figure> {
    let dir = tempfile::tempdir().unwrap();
    let source = fill(&dir.path().join("source"));
    let options = Options::new().durability(Durability::Immediate);
    let mut number = 0;
    let mut place = || {
        number += 1;
        dir.path().join(format!("target-{number}"))
    };
    // A start has none of them, a copy those of before.
    let mut written = Vec::new();
    let copy = best(2, || {
        let place = place();
        timed(|| {
            let copied = options.clone_ledger(&place, &source, &Cut::Everything, &mut |_, _| {});
            reads_and_follows(&copied.unwrap().0, &source, &mut written);
        })
    });
    let start = StartOptions { below: Below::Pruned, ledger: Some(source.id()) };
    let mut file = Vec::new();
    let writing = best(3, || {
        file.clear();
        timed(|| {
            let info = source.write_start(&mut file).unwrap();
            assert_eq!(info.keys, KEYS as u64);
        })
    });
    let reading = best(3, || {
        let place = place();
        timed(|| {
            let started = options.start_from(&place, &mut file.as_slice(), &start, &mut |_, _| {});
            reads_and_follows(&started.unwrap().0, &source, &mut written);
        })
    });
    let both = writing + reading;
    vec![Figure::at_least(
        "a copy of 1 M events with 10 k keys that follows, against a start from their checkpoint",
        20.0,
        copy.as_secs_f64() / both.as_secs_f64(),
        format!(
            "copy {copy:.1?}; write the file {writing:.0?}, make a store of it that follows {reading:.0?}, {} KiB",
            file.len() >> 10
        ),
    )]
}
