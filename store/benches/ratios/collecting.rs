//! Collecting garbage: what it costs beside live blocks, and what it costs those who write meanwhile.
//!
//! Garbage is what transactions leave whose conditions fail. Values are one byte longer than what
//! events hold themselves: as many blocks as there can be in so many bytes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quipu_merge::MAX_INLINE_LEN;
use quipu_store::{Durability, Expected, GcOptions, GcReport, Ledger, WriteError};

use crate::rounds::{column, median};
use crate::writing::ledger;
use crate::{Figure, baseline, writing};

/// Blocks of one transaction: they go through the log, and so live blocks and garbage lie mixed.
const GROUP: usize = 125;
/// A register that is taken, so that conditions can fail.
const TAKEN: &str = "taken";

/// A ledger with the number of the next block, which no other has had.
struct Filled {
    ledger: Ledger,
    next: usize,
}

impl Filled {
    fn new(dir: &Path, durability: Durability) -> Self {
        let ledger = ledger(dir, durability);
        let mut transaction = ledger.transaction();
        transaction.put(TAKEN, b"").unwrap();
        transaction.commit().unwrap();
        Self { ledger, next: 0 }
    }

    /// Adds blocks, in turn so many transactions' worth of live ones and one of garbage.
    fn fill(&mut self, live_each: usize, garbage: usize) {
        for _ in 0..garbage / GROUP {
            (0..live_each).for_each(|_| self.group(false));
            self.group(true);
        }
        self.ledger.sync().unwrap();
    }

    fn group(&mut self, garbage: bool) {
        let mut transaction = self.ledger.transaction();
        if garbage {
            transaction.require(TAKEN, Expected::Absent).unwrap();
        }
        for number in self.next..self.next + GROUP {
            let value = baseline::noise(number as u64, MAX_INLINE_LEN + 1);
            transaction.put(&format!("blocks/{number}"), &value).unwrap();
        }
        self.next += GROUP;
        match transaction.commit() {
            Ok(_) => assert!(!garbage),
            Err(WriteError::Condition { .. }) => assert!(garbage),
            Err(error) => panic!("{error}"),
        }
    }

    fn collect(&self) -> GcReport {
        let now = GcOptions { grace: Duration::ZERO, dry_run: false };
        self.ledger.gc(now, &mut |_, _| {}).unwrap()
    }
}

pub fn collect() -> Vec<Figure> {
    const GARBAGE: usize = 500_000;
    const ROUNDS: usize = 3;
    let dir = tempfile::tempdir().unwrap();
    let mut once = Filled::new(&dir.path().join("once"), Durability::Relaxed);
    let mut twice = Filled::new(&dir.path().join("twice"), Durability::Relaxed);
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|round| {
            // Live blocks stay; the garbage of each round is new.
            let live = |each| if round == 0 { each } else { 0 };
            once.fill(live(1), GARBAGE);
            twice.fill(live(2), GARBAGE);
            let reports = [once.collect(), twice.collect()];
            assert!(reports.iter().all(|report| report.blocks == GARBAGE as u64));
            let [once, twice] = &reports;
            [once.collecting, twice.collecting, once.reclaiming, twice.reclaiming]
                .map(|time| time.as_secs_f64())
        })
        .collect();
    let detail = format!(
        "{:.2} s for 500,000 blocks among 1 M, {:.2} s among 1.5 M; compaction {:.2} and {:.2} s",
        column(&rounds, 0),
        column(&rounds, 1),
        rounds[0][2],
        rounds[0][3]
    );
    vec![Figure::at_most(
        "gc of 500,000 blocks, 1 M live against 500,000",
        1.2,
        median(rounds.iter().map(|round| round[1] / round[0])),
        detail,
    )]
}

pub fn writes() -> Vec<Figure> {
    const GARBAGE: usize = 100_000;
    const ROUNDS: usize = 5;
    let dir = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(&dir.path().join("l"), Durability::Immediate);
    let mut put = 0;
    let rounds = [(); ROUNDS].map(|()| {
        filled.fill(1, GARBAGE);
        // What is left to do of filling is not part of collecting.
        filled.ledger.compact().unwrap();
        let (alone, beside) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_secs(3));
                alone.store(true, Ordering::Relaxed);
            });
            let without = puts_until(&filled.ledger, &alone, &mut put);
            scope.spawn(|| {
                assert_eq!(filled.collect().blocks, GARBAGE as u64);
                beside.store(true, Ordering::Relaxed);
            });
            [puts_until(&filled.ledger, &beside, &mut put), without]
        })
    });
    let detail = format!(
        "{:.0} durable puts a second beside gc of 100,000 blocks, compaction included; {:.0} without",
        column(&rounds, 0),
        column(&rounds, 1)
    );
    vec![Figure::at_least(
        "durable puts while gc runs",
        0.7,
        median(rounds.iter().map(|round| round[0] / round[1])),
        detail,
    )]
}

/// Puts one register after the other until told to stop. Tells how many a second.
fn puts_until(ledger: &Ledger, stop: &AtomicBool, number: &mut usize) -> f64 {
    let (start, before) = (Instant::now(), *number);
    while !stop.load(Ordering::Relaxed) {
        writing::put(ledger, *number);
        *number += 1;
    }
    (*number - before) as f64 / start.elapsed().as_secs_f64()
}
