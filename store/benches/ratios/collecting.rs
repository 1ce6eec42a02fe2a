//! Collecting garbage: what it costs beside live blocks, and what it costs those who write meanwhile.
//!
//! Garbage is what transactions leave whose conditions fail. Values are one byte longer than what
//! events hold themselves: as many blocks as there can be in so many bytes.

use std::path::Path;
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
            transaction.put(&format!("blocks/{number}"), &value(number)).unwrap();
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

/// Content of its own, which compresses: what blocks cost is to be measured, not what bytes do.
fn value(number: usize) -> Vec<u8> {
    let mut value = baseline::noise(number as u64, 16).repeat(MAX_INLINE_LEN / 16 + 1);
    value.truncate(MAX_INLINE_LEN + 1);
    value
}

/// One round: filling two stores takes minutes.
pub fn collect() -> Vec<Figure> {
    const GARBAGE: usize = 500_000;
    let dir = tempfile::tempdir().unwrap();
    let mut once = Filled::new(&dir.path().join("once"), Durability::Relaxed);
    let mut twice = Filled::new(&dir.path().join("twice"), Durability::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| once.fill(1, GARBAGE));
        scope.spawn(|| twice.fill(2, GARBAGE));
    });
    // What is left to do of filling is not part of collecting.
    [&once, &twice].iter().for_each(|filled| filled.ledger.compact().unwrap());
    let [once, twice] = [once.collect(), twice.collect()];
    assert_eq!([once.blocks, twice.blocks], [GARBAGE as u64; 2]);
    let detail = format!(
        "{:.1?} for 500,000 blocks among 1 M, {:.1?} among 1.5 M; compaction {:.1?} and {:.1?}",
        once.collecting, twice.collecting, once.reclaiming, twice.reclaiming
    );
    vec![Figure::at_most(
        "gc with twice the live blocks",
        1.2,
        twice.collecting.as_secs_f64() / once.collecting.as_secs_f64(),
        detail,
    )]
}

pub fn writes() -> Vec<Figure> {
    const GARBAGE: usize = 50_000;
    const ROUNDS: usize = 5;
    let dir = tempfile::tempdir().unwrap();
    let mut filled = Filled::new(&dir.path().join("l"), Durability::Immediate);
    let mut put = 0;
    let rounds = [(); ROUNDS].map(|()| {
        filled.fill(1, GARBAGE);
        // What is left to do of filling is not part of collecting.
        filled.ledger.compact().unwrap();
        let second = || std::thread::sleep(Duration::from_secs(1));
        let collect = || assert_eq!(filled.collect().blocks, GARBAGE as u64);
        let before = puts_during(&filled.ledger, &mut put, second);
        let beside = puts_during(&filled.ledger, &mut put, collect);
        let after = puts_during(&filled.ledger, &mut put, second);
        [beside, f64::midpoint(before, after)]
    });
    let detail = format!(
        "{:.0} a second beside gc of 50,000 blocks, compaction included; {:.0} before and after",
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

/// Puts one register after the other while something else is done. Tells how many a second.
fn puts_during(ledger: &Ledger, number: &mut usize, work: impl FnOnce() + Send) -> f64 {
    let (start, before) = (Instant::now(), *number);
    std::thread::scope(|scope| {
        let work = scope.spawn(work);
        while !work.is_finished() {
            writing::put(ledger, *number);
            *number += 1;
        }
    });
    (*number - before) as f64 / start.elapsed().as_secs_f64()
}
