//! A validator that proposes more than anybody can look at.

use super::byzantine::{Byzantine, Trick};
use super::random::Random;
use super::scenario::quick;
use super::world::World;

/// Whatever is proposed for a round to come may be proposed before, by somebody honest.
#[test]
fn what_one_proposes_for_later_may_be_certified_before() {
    for seed in 1..=40 {
        let mut world = World::new(seed, 4, 0, quick());
        let (tricks, own) = (vec![Trick::Borrow], Random::new(seed));
        world.members[1].byzantine = Some(Byzantine::new(1, 4, tricks, own));
        world.write(0);
        world.run_until(world.now + 3_000_000);
        for at in 0..6 {
            // Rounds fail, and validators start again with a log in which such proposals are.
            world.lost_of = if at % 2 == 0 { 3 } else { 0 };
            world.crash([0, 2, 3][at % 3], 200_000);
            world.write([2, 3, 0][at % 3]);
            world.run_until(world.now + 3_000_000);
        }
        world.lost_of = 0;
        world.write(0);
        world.run_until(world.now + 10_000_000);
        assert_eq!(world.wrong, None, "seed {seed}");
        let statuses = world.statuses();
        assert!(!statuses.contains("Stopped"), "seed {seed}: {statuses}");
        assert!(world.certified.len() >= 4, "seed {seed}: {statuses}");
    }
}

#[test]
fn a_crowd_of_proposals_keeps_nobody_from_certifying() {
    let mut world = World::new(1, 4, 0, quick());
    world.members[1].byzantine = Some(Byzantine::new(1, 4, vec![Trick::Crowd], Random::new(1)));
    for at in 0..12 {
        world.write([0, 2, 3][at % 3]);
        world.run_until(world.now + 3_000_000);
    }
    assert_eq!(world.wrong, None);
    assert!(world.certified.len() >= 12, "{} {}", world.certified.len(), world.statuses());
    // Its own turns are lost at most.
    let rounds: Vec<_> = world.certified.values().map(|one| one.certificate.round.0).collect();
    assert!(rounds.iter().all(|round| *round <= 1), "{rounds:?}");
}
