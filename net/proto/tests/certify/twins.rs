//! More dishonest validators than are tolerated: the honest ones end up with proof.

use std::collections::BTreeSet;

use super::keys;
use super::scenario::quick;
use super::world::World;

/// Validators 2 and 3 of four lead a double life, once with each of the honest ones.
#[test]
fn two_histories_end_in_evidence() {
    let mut world = World::new(1, 4, 0, quick());
    world.run_until(3_000_000);
    world.write(0);
    world.run_until(6_000_000);
    assert!(world.members.iter().all(|member| member.height() == 2), "{}", world.statuses());
    // The second lives of validators 2 and 3 run under their keys.
    world.add_twin(2);
    world.add_twin(3);
    // The next height is the turn of one of them, and so both sides decide in one round.
    for one in [0, 2, 3] {
        for other in [1, 4, 5] {
            world.cut.extend([(one, other), (other, one)]);
        }
    }
    world.run_until(10_000_000);
    world.write(0);
    world.write(1);
    world.run_until(20_000_000);
    assert!(world.members[0].height() >= 3 && world.members[1].height() >= 3);
    world.cut.clear();
    for twin in 2..6 {
        let all = 0..6;
        world.cut.extend(all.flat_map(|other| [(twin, other), (other, twin)]));
    }
    world.run_until(60_000_000);
    assert_eq!(world.diverged, BTreeSet::from([0, 1]), "{}", world.statuses());
    let guilty: BTreeSet<_> =
        world.evidence.iter().map(|one| keys::number(one.validator())).collect();
    assert_eq!(guilty, BTreeSet::from([2, 3]));
}
