//! Validators that have lost something, alone.

use super::scenario::quick;
use super::world::World;

fn go_on(world: &mut World, times: usize) {
    for _ in 0..times {
        world.write(1);
        world.run_until(world.now + 3_000_000);
    }
    assert_eq!(world.wrong, None);
}

#[test]
fn who_has_lost_its_disk_abstains_and_then_votes_again() {
    let mut world = World::new(1, 4, 0, quick());
    go_on(&mut world, 3);
    world.lose_disk(0, 100_000);
    go_on(&mut world, 1);
    assert!(world.statuses().contains("0: Some((6, None, 0, Abstains))"), "{}", world.statuses());
    go_on(&mut world, 4);
    // Without it, and another, there is no quorum: so it votes.
    assert!(!world.statuses().contains("Abstains"), "{}", world.statuses());
    world.crash(2, u64::from(u32::MAX));
    let before = world.certified.len();
    go_on(&mut world, 3);
    assert!(world.certified.len() > before);
}

#[test]
fn an_old_copy_is_noticed_by_the_mark() {
    let mut world = World::new(1, 4, 0, quick());
    go_on(&mut world, 2);
    world.copy_disk(0);
    go_on(&mut world, 2);
    world.restore_copy(0, 100_000);
    world.run_until(world.now + 1_000_000);
    assert!(world.statuses().contains("Abstains"), "{}", world.statuses());
    go_on(&mut world, 6);
    assert!(!world.statuses().contains("Abstains"), "{}", world.statuses());
}

/// The mark went with the disk, and then an old copy of the rest came back.
#[test]
fn an_old_copy_without_a_mark_counts_as_lost() {
    let mut world = World::new(1, 4, 0, quick());
    go_on(&mut world, 2);
    world.copy_disk(0);
    go_on(&mut world, 2);
    world.lose_disk(0, 100_000);
    world.restore_copy(0, 200_000);
    world.run_until(world.now + 1_000_000);
    assert!(world.statuses().contains("Abstains"), "{}", world.statuses());
    go_on(&mut world, 6);
    assert!(!world.statuses().contains("Abstains"), "{}", world.statuses());
}

#[test]
fn all_may_stop_and_start() {
    let mut world = World::new(1, 4, 0, quick());
    go_on(&mut world, 2);
    (0..4).for_each(|at| world.crash(at, 500_000 + at as u64 * 1_000_000));
    world.run_until(world.now + 6_000_000);
    let before = world.certified.len();
    go_on(&mut world, 3);
    assert!(world.certified.len() > before, "{}", world.statuses());
}
