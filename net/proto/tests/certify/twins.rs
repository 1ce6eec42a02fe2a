//! More dishonest validators than are tolerated: the honest ones end up with proof.

use std::collections::BTreeSet;

use super::keys;
use super::scenario::quick;
use super::world::World;

/// Validators 2 and 3 of four lead a double life, once with each of the honest ones.
#[test]
fn two_histories_end_in_evidence() {
    let mut world = World::new(1, 4, 0, quick());
    // The second lives of validators 2 and 3 run under their keys.
    world.add_twin(2);
    world.add_twin(3);
    let (left, right) = ([0, 2, 3], [1, 4, 5]);
    for one in left {
        for other in right {
            world.cut.extend([(one, other), (other, one)]);
        }
    }
    world.write(0);
    world.write(1);
    world.run_until(10_000_000);
    assert!(world.members[0].height() >= 1 && world.members[1].height() >= 1);
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
