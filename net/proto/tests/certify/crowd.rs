//! A validator that proposes more than anybody can look at.

use super::byzantine::{Byzantine, Trick};
use super::random::Random;
use super::scenario::quick;
use super::world::World;

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
