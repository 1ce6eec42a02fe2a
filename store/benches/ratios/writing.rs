//! Writing, against signing and plain batches.

use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use quipu_store::{Durability, Ledger, NewLedger, Options};

use crate::baseline::{noise, raw, write};
use crate::{Figure, best, micros, timed};

/// What the blocks of an event with one put of 16 bytes come to: the event, its body, its opening.
const BLOCKS: [usize; 3] = [283, 70, 72];

pub fn ledger(dir: &std::path::Path, durability: Durability) -> Ledger {
    Options::new().durability(durability).create(dir, &NewLedger::default()).unwrap()
}

pub fn put(ledger: &Ledger, number: usize) {
    let mut transaction = ledger.transaction();
    transaction.put(&key(number), &noise(number as u64, 16)).unwrap();
    transaction.commit().unwrap();
}

pub fn key(number: usize) -> String {
    // Spread, as keys are in practice.
    format!("key/{:08x}", (number as u32).wrapping_mul(0x9e37_79b1))
}

fn entries(number: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let sizes = BLOCKS.iter().enumerate();
    sizes
        .map(|(n, &size)| {
            let seed = (number * 3 + n) as u64;
            (noise(seed, 32), noise(seed + 7, size))
        })
        .collect()
}

fn raw_writes(count: usize, sync: bool) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let db = raw(dir.path(), 3);
    let all: Vec<_> = (0..count).map(entries).collect();
    timed(|| all.iter().for_each(|entries| write(&db, entries, sync)))
}

fn puts(count: usize, durability: Durability) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let ledger = ledger(&dir.path().join("l"), durability);
    timed(|| (0..count).for_each(|number| put(&ledger, number)))
}

pub fn relaxed() -> Vec<Figure> {
    const COUNT: usize = 20_000;
    let signing = SigningKey::from_bytes(&[7; 32]);
    let message = noise(1, 232);
    let sign = best(3, || {
        timed(|| {
            (0..COUNT).for_each(|_| {
                std::hint::black_box(signing.sign(&message));
            })
        })
    });
    let plain = best(3, || raw_writes(COUNT, false));
    let ours = best(3, || puts(COUNT, Durability::Relaxed));
    let detail = format!(
        "put {:.1} µs; sign {:.1} + batch of three {:.1} µs",
        micros(ours, COUNT),
        micros(sign, COUNT),
        micros(plain, COUNT)
    );
    let ratio = (sign + plain).as_secs_f64() / ours.as_secs_f64();
    vec![Figure::at_least("relaxed puts, one thread", 0.7, ratio, detail)]
}

pub fn durable() -> Vec<Figure> {
    const COUNT: usize = 2_000;
    let plain = best(3, || raw_writes(COUNT, true));
    let one = best(3, || puts(COUNT, Durability::Immediate));
    let eight = best(3, || {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(&dir.path().join("l"), Durability::Immediate);
        timed(|| {
            std::thread::scope(|scope| {
                for thread in 0..8 {
                    let ledger = &ledger;
                    scope.spawn(move || (0..COUNT).for_each(|n| put(ledger, thread * COUNT + n)));
                }
            })
        })
    });
    let detail = format!(
        "put {:.0} µs; plain synced batch of three {:.0} µs",
        micros(one, COUNT),
        micros(plain, COUNT)
    );
    let many = format!(
        "{:.1} µs a put with 8 threads, {:.0} µs with one",
        micros(eight, 8 * COUNT),
        micros(one, COUNT)
    );
    vec![
        Figure::at_least(
            "durable puts, one thread",
            0.8,
            plain.as_secs_f64() / one.as_secs_f64(),
            detail,
        ),
        Figure::at_least(
            "durable puts, 8 threads against one",
            3.0,
            8.0 * one.as_secs_f64() / eight.as_secs_f64(),
            many,
        ),
    ]
}

pub fn transactions() -> Vec<Figure> {
    const BATCH: usize = 1_000;
    const BATCHES: usize = 100;
    // Short, and so easily disturbed.
    const RUNS: usize = 11;
    let data: Vec<_> = (0..BATCH * BATCHES).map(|n| (key(n), noise(n as u64, 16))).collect();
    let plain = best(RUNS, || {
        let dir = tempfile::tempdir().unwrap();
        let db = raw(dir.path(), 1);
        let family = db.cf_handle("f0").unwrap();
        timed(|| {
            for chunk in data.chunks(BATCH) {
                let mut batch = rocksdb::WriteBatch::default();
                chunk.iter().for_each(|(key, value)| batch.put_cf(family, key, value));
                let mut options = rocksdb::WriteOptions::default();
                options.set_sync(true);
                db.write_opt(batch, &options).unwrap();
            }
        })
    });
    let ours = best(RUNS, || {
        let dir = tempfile::tempdir().unwrap();
        let ledger = ledger(&dir.path().join("l"), Durability::Immediate);
        timed(|| {
            for chunk in data.chunks(BATCH) {
                let mut transaction = ledger.transaction();
                chunk.iter().for_each(|(key, value)| {
                    transaction.put(key, value).unwrap();
                });
                transaction.commit().unwrap();
            }
        })
    });
    let count = data.len();
    let detail = format!(
        "{:.2} µs an operation; plain {:.2} µs (both synced)",
        micros(ours, count),
        micros(plain, count)
    );
    vec![Figure::at_least(
        "puts in transactions of 1,000",
        0.4,
        plain.as_secs_f64() / ours.as_secs_f64(),
        detail,
    )]
}
