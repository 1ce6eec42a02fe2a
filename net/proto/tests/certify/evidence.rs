//! Whoever signs twice is told of, and nobody else.

use std::collections::BTreeSet;

use super::byzantine::{Byzantine, Trick};
use super::keys;
use super::random::Random;
use super::scenario::quick;
use super::world::World;

/// A world in which some validators do one thing each, after a while.
fn world(seed: u64, validators: usize, liars: &[(usize, Trick)]) -> World {
    let mut world = World::new(seed, validators, 0, quick());
    for (at, trick) in liars {
        let mut liar = Byzantine::new(*at, validators, vec![*trick], Random::new(seed));
        liar.openly = 1;
        world.members[*at].byzantine = Some(liar);
    }
    let honest: Vec<_> = (0..validators).filter(|at| world.is_honest(*at)).collect();
    for turn in 0..12 {
        world.write(honest[turn % honest.len()]);
        world.run_until(world.now + 3_000_000);
    }
    assert_eq!(world.wrong, None, "seed {seed}");
    assert!(world.certified.len() > 8, "seed {seed}: {}", world.statuses());
    world
}

/// What honest nodes can prove of whom.
fn proven(world: &World) -> BTreeSet<(usize, &'static str)> {
    world.evidence.iter().map(|one| (keys::number(one.validator()), one.kind())).collect()
}

#[test]
fn one_that_votes_twice_is_told_of() {
    for seed in 1..=10 {
        let world = world(seed, 4, &[(1, Trick::DoubleVote)]);
        let expected = BTreeSet::from([(1, "prevote"), (1, "precommit")]);
        assert_eq!(proven(&world), expected, "seed {seed}");
    }
}

#[test]
fn one_that_proposes_twice_is_told_of() {
    for seed in 1..=10 {
        let world = world(seed, 4, &[(1, Trick::DoubleProposal)]);
        assert_eq!(proven(&world), BTreeSet::from([(1, "proposal")]), "seed {seed}");
    }
}

#[test]
fn both_are_told_of() {
    for seed in 1..=10 {
        let world = world(seed, 7, &[(2, Trick::DoubleVote), (5, Trick::DoubleProposal)]);
        let expected = [(2, "prevote"), (2, "precommit"), (5, "proposal")];
        assert_eq!(proven(&world), BTreeSet::from(expected), "seed {seed}");
    }
}

/// The simulation does notice evidence against somebody honest.
#[test]
fn evidence_against_somebody_honest_is_noticed() {
    let mut world = world(1, 4, &[(1, Trick::DoubleVote)]);
    let evidence = world.evidence.first().unwrap().clone();
    world.members[1].byzantine = None;
    world.check_evidence(0, evidence);
    assert!(world.wrong.is_some_and(|wrong| wrong.contains("proves that 1 has signed twice")));
}
