//! Reading, against plain point reads.

use std::path::Path;

use quipu_merge::{Cut, EventId, Micros};
use quipu_store::{Durability, Ledger, Value};

use crate::baseline::{noise, raw};
use crate::writing::{key, ledger};
use crate::{Figure, best, micros, timed};

/// Fills a ledger with so many events of one put each.
pub fn fill(dir: &Path, events: usize) -> Ledger {
    let ledger = ledger(dir, Durability::Relaxed);
    (0..events).for_each(|number| crate::writing::put(&ledger, number));
    ledger.sync().unwrap();
    ledger
}

pub fn get() -> Vec<Figure> {
    const EVENTS: usize = 1_000_000;
    const READS: usize = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let ledger = fill(&dir.path().join("l"), EVENTS);
    ledger.compact().unwrap();
    let db = raw(&dir.path().join("raw"), 1);
    let family = db.cf_handle("f0").unwrap();
    (0..EVENTS).for_each(|n| db.put_cf(family, key(n), noise(n as u64, 16)).unwrap());
    db.flush_cf(family).unwrap();
    db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
    let wanted: Vec<_> = (0..READS).map(|n| key(n.wrapping_mul(7919) % EVENTS)).collect();
    let plain = best(3, || {
        timed(|| {
            for key in &wanted {
                assert!(db.get_cf(family, key).unwrap().is_some());
            }
        })
    });
    let ours = best(3, || {
        timed(|| {
            for key in &wanted {
                assert!(matches!(ledger.get(key).unwrap(), Some(Value::Bytes(_))));
            }
        })
    });
    let detail = format!(
        "get {:.2} µs; plain point read {:.2} µs",
        micros(ours, READS),
        micros(plain, READS)
    );
    vec![Figure::at_least(
        "get of a current value, 1 M events",
        0.5,
        plain.as_secs_f64() / ours.as_secs_f64(),
        detail,
    )]
}

pub fn travel() -> Vec<Figure> {
    const VERSIONS: usize = 10_000;
    const READS: usize = 20_000;
    let measure = |others: usize| {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(&dir.path().join("l"), Durability::Relaxed);
        let mut cuts: Vec<(EventId, Micros)> = Vec::with_capacity(VERSIONS);
        for n in 0..VERSIONS {
            let mut transaction = ledger.transaction();
            transaction.put("much", &noise(n as u64, 16)).unwrap();
            let committed = transaction.commit().unwrap();
            cuts.push((committed.event, committed.time));
            let before = n * (others / VERSIONS);
            (before..before + others / VERSIONS).for_each(|n| crate::writing::put(&ledger, n));
        }
        ledger.sync().unwrap();
        ledger.compact().unwrap();
        let now = best(3, || {
            timed(|| {
                for _ in 0..READS {
                    assert!(ledger.get("much").unwrap().is_some());
                }
            })
        });
        let pick = |n: usize| cuts[n.wrapping_mul(7919) % VERSIONS];
        let read = |cut: &Cut| assert!(ledger.at(cut).unwrap().get("much").unwrap().is_some());
        let heads =
            best(3, || timed(|| (0..READS).for_each(|n| read(&Cut::Heads(vec![pick(n).0])))));
        let times = best(3, || timed(|| (0..READS).for_each(|n| read(&Cut::Time(pick(n).1)))));
        (micros(now, READS), micros(heads, READS), micros(times, READS))
    };
    let small = measure(0);
    let large = measure(990_000);
    let detail = |at: f64, now: f64| format!("{at:.2} µs; now {now:.2} µs");
    vec![
        Figure::at_most(
            "get at heads, 10,000 versions, against now",
            5.0,
            large.1 / large.0,
            detail(large.1, large.0),
        ),
        Figure::at_most(
            "get at a time, 10,000 versions, against now",
            5.0,
            large.2 / large.0,
            detail(large.2, large.0),
        ),
        Figure::at_most(
            "get at heads, ledger of 1 M against 10 k events",
            1.5,
            large.1 / small.1,
            detail(large.1, small.1),
        ),
        Figure::at_most(
            "get at a time, ledger of 1 M against 10 k events",
            1.5,
            large.2 / small.2,
            detail(large.2, small.2),
        ),
    ]
}
