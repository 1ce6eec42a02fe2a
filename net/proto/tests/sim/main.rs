//! Nodes in a simulated world: every run is drawn from a seed and can be repeated.
//!
//! `QUIPU_SEEDS` says how many are tried, `QUIPU_SEED` which is the first.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod author;
mod below;
mod branches;
mod byzantine;
mod flood;
mod level;
mod many;
mod member;
mod network;
mod pair;
mod quota;
mod random;
mod scenario;
mod seeds;
mod stall;
mod store;
mod traffic;
mod values;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use scenario::Scenario;

const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn honest_nodes_agree_whatever_happens() {
    let (first, count) =
        (number("QUIPU_SEED").unwrap_or(1), number("QUIPU_SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    try_seed(seed);
                }
            });
        }
    });
}

fn try_seed(seed: u64) {
    let scenario = Scenario::new(seed);
    match (scenario.run(), scenario.run()) {
        (Ok(one), Ok(other)) => assert_eq!(one, other, "QUIPU_SEED={seed} does not repeat"),
        (Err(why), _) | (_, Err(why)) => {
            let least = shrink(scenario);
            panic!("QUIPU_SEED={seed} QUIPU_SEEDS=1: {why}\nstill with {least:?}");
        }
    }
}

/// Leaves out what the failure does not need.
fn shrink(mut scenario: Scenario) -> Scenario {
    let mut at = 0;
    while at < scenario.actions.len() {
        let mut less = scenario.clone();
        less.actions.remove(at);
        if less.run().is_err() {
            scenario = less;
        } else {
            at += 1;
        }
    }
    scenario
}
