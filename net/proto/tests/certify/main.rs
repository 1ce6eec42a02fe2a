//! Validators in a simulated world: every run is drawn from a seed and can be repeated.
//!
//! `QUIPU_SEEDS` says how many are tried, `QUIPU_SEED` which is the first.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has done its work"
)]

mod alone;
mod byzantine;
mod checks;
mod crowd;
mod evidence;
mod faults;
mod forged;
mod keys;
mod ledger;
mod liars;
mod lost;
mod many;
mod member;
mod planted;
#[path = "../sim/random.rs"]
mod random;
mod replay;
mod scenario;
mod store;
mod twins;
mod visitor;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use scenario::Scenario;

const SEEDS: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn validators_agree_whatever_happens() {
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
    match (Scenario::new(seed).run(), Scenario::new(seed).run()) {
        (Ok(one), Ok(other)) => assert_eq!(one, other, "QUIPU_SEED={seed} does not repeat"),
        (Err(error), _) | (_, Err(error)) => panic!("QUIPU_SEED={seed}: {error}"),
    }
}

#[test]
fn four_validators_certify() {
    let mut world = world::World::new(1, 4, 0, scenario::quick());
    for round in 0..5 {
        world.write(round % 4);
        world.run_until(world.now + 3_000_000);
    }
    assert_eq!(world.wrong, None);
    let tips: Vec<_> = world.members.iter().map(member::Member::height).collect();
    // The first is of genesis alone.
    assert_eq!(tips, [6; 4], "{}", world.statuses());
    assert!(world.certified.values().all(|one| one.certificate.round.0 == 0));
}

#[test]
fn an_idle_ledger_makes_no_checkpoints() {
    let mut world = world::World::new(1, 4, 0, scenario::quick());
    world.write(0);
    world.run_until(20_000_000);
    let (heights, messages) = (world.certified.len(), world.messages);
    world.run_until(120_000_000);
    assert_eq!((heights, world.certified.len()), (2, 2));
    assert_eq!(world.statuses().matches("Idle").count(), 4, "{}", world.statuses());
    // Each tells the three others of its tip and its heads, every ten seconds.
    assert!(world.messages - messages <= 11 * 4 * 3 * 2, "{}", world.messages - messages);
}
