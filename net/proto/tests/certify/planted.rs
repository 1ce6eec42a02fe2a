//! Faults that the simulation must notice.

use std::time::Duration;

use quipu_proto::Sabotage;

use super::byzantine::{Byzantine, Trick};
use super::random::Random;
use super::scenario::{Scenario, quick};
use super::world::World;

/// What is wrong with one of the first runs.
fn found(sabotage: Sabotage, seeds: u64) -> Option<String> {
    let mut config = quick();
    config.sabotage = sabotage;
    (1..=seeds).find_map(|seed| Scenario::with(seed, config.clone()).run().err())
}

#[test]
fn a_vote_that_is_sent_before_its_log_is_noticed() {
    let wrong = found(Sabotage { hasty: true, ..Sabotage::default() }, 5).unwrap();
    assert!(wrong.contains("before it is durable"), "{wrong}");
}

#[test]
fn a_store_that_does_not_wait_until_events_are_due_is_noticed() {
    let wrong = (1..=40).find_map(|seed| {
        let mut scenario = Scenario::new(seed);
        scenario.world.careless = true;
        scenario.run().err()
    });
    assert!(wrong.is_some_and(|wrong| wrong.contains("votes for what is not due")));
}

#[test]
fn a_skipped_check_of_roots_is_noticed() {
    let run = |blind: bool| {
        let mut config = quick();
        config.sabotage.blind = blind;
        let mut world = World::new(1, 4, 0, config);
        let tricks = vec![Trick::WrongRoots];
        world.members[1].byzantine = Some(Byzantine::new(1, 4, tricks, Random::new(1)));
        for _ in 0..8 {
            world.write(0);
            world.run_until(world.now + 3_000_000);
        }
        (world.wrong.clone(), world.diverged.len(), world.certified.len())
    };
    let (wrong, diverged, height) = run(false);
    assert_eq!((wrong, diverged), (None, 0));
    assert!(height > 4);
    assert!(run(true).1 > 0);
}

#[test]
fn a_quorum_of_two_thirds_is_noticed() {
    let run = |two_thirds: bool| {
        let mut config = quick();
        config.sabotage.two_thirds = two_thirds;
        let mut world = World::new(1, 6, 0, config);
        world.run_until(3_000_000);
        let before = world.certified.len();
        // Two of six are gone: four are two thirds, and no more.
        let alone = |at: usize| (0..6).flat_map(move |other| [(at, other), (other, at)]);
        world.cut.extend(alone(4).chain(alone(5)));
        world.write(0);
        world.run_until(20_000_000);
        (world.wrong.clone(), world.certified.len() - before)
    };
    assert_eq!(run(false), (None, 0));
    let (wrong, _) = run(true);
    assert!(wrong.unwrap().contains("4 of 6 validators have signed: not more than two thirds"));
}

#[test]
fn a_stale_timer_that_is_obeyed_is_noticed() {
    let rounds = |stale_timers: bool, patience: u64| {
        let mut config = quick();
        config.sabotage.stale_timers = stale_timers;
        config.patience.propose = Duration::from_millis(patience);
        let mut world = World::new(1, 4, 0, config);
        world.delay = (20_000, 40_000);
        for at in 0..20 {
            world.write(at % 4);
            world.run_until(world.now + 1_100_000);
        }
        assert_eq!(world.wrong, None);
        world.certified.values().map(|one| one.certificate.round.0).max()
    };
    // A height begins a second after the last: some of these run out soon after another has begun.
    let patience: Vec<_> = (1_000..1_400).step_by(20).collect();
    // Where nothing is lost or late, one round is enough.
    assert!(patience.iter().all(|patience| rounds(false, *patience) == Some(0)));
    assert!(patience.iter().any(|patience| rounds(true, *patience) > Some(0)));
}
