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

/// Neither one side of two nor the other can certify, and both vote: the first two, and the others. The
/// first was copied before.
fn voting_apart() -> World {
    let mut world = World::new(1, 4, 0, quick());
    go_on(&mut world, 2);
    world.copy_disk(0);
    world.write(1);
    while !world.members[0].certifier.as_ref().unwrap().is_voting() {
        world.run_until(world.now + 1_000);
    }
    for one in [0, 1] {
        for other in [2, 3] {
            world.cut.extend([(one, other), (other, one)]);
        }
    }
    world.run_until(world.now + 2_000_000);
    assert_eq!(world.certified.len(), 3, "{}", world.statuses());
    world
}

/// Whoever has seen its votes says so, even after a restart of its own.
#[test]
fn a_validator_that_was_set_back_as_a_whole_is_told_what_it_has_signed() {
    let mut world = voting_apart();
    (1..4).for_each(|at| world.crash(at, 100_000));
    world.set_back(0, 500_000);
    world.cut.clear();
    world.run_until(world.now + 1_500_000);
    assert!(
        world.statuses().split(';').next().unwrap().contains("Abstains"),
        "{}",
        world.statuses()
    );
    go_on(&mut world, 6);
    assert!(!world.statuses().contains("Abstains"), "{}", world.statuses());
}

/// The only one that knows comes when the validator signs already.
#[test]
fn a_validator_that_is_told_late_signs_no_more() {
    let mut world = voting_apart();
    world.set_back(0, 100_000);
    world.cut.clear();
    let alone = |at: usize| (0..4).flat_map(move |other| [(at, other), (other, at)]);
    world.cut.extend(alone(1));
    // It gives up waiting for that one, and votes.
    world.run_until(world.now + 3_500_000);
    let status = world.statuses();
    assert!(status.starts_with("0: Some((4, Some(") || world.certified.len() > 3, "{status}");
    world.cut.clear();
    // Once connected anew, that one says what it has seen.
    world.crash(1, 100_000);
    world.run_until(world.now + 1_000_000);
    let abstains = world.statuses().contains("Abstains");
    assert!(abstains || world.certified.len() > 3, "{}", world.statuses());
}

#[test]
fn the_only_validator_signs_again_when_somebody_answers_for_it() {
    let mut world = World::new(1, 1, 1, quick());
    go_on(&mut world, 2);
    let before = world.certified.len();
    world.lose_disk(0, 100_000);
    world.run_until(world.now + 4_000_000);
    world.write(1);
    world.run_until(world.now + 4_000_000);
    // A height has begun, of which it signs nothing.
    assert_eq!(world.certified.len(), before, "{}", world.statuses());
    world.vouch(0);
    world.run_until(world.now + 3_000_000);
    assert!(world.certified.len() > before, "{}", world.statuses());
    world.crash(0, 100_000);
    world.run_until(world.now + 1_000_000);
    go_on(&mut world, 2);
    assert!(world.certified.len() > before + 2, "{}", world.statuses());
}

#[test]
fn a_validator_whose_log_leads_elsewhere_stops_for_good() {
    let mut world = voting_apart();
    // All but the votes, so that they come from nowhere.
    let log = world.members[1].disk.log.clone();
    // The others cannot do without it.
    world.crash(3, 60_000_000);
    world.cut.clear();
    world.crash(1, 100_000);
    world.members[1].disk.log.remove(2);
    world.run_until(world.now + 4_000_000);
    assert!(world.statuses().contains("Stopped(Fault("), "{}", world.statuses());
    world.crash(1, 100_000);
    let last = world.members[1].disk.log.pop().unwrap();
    world.members[1].disk.log = log;
    world.members[1].disk.log.push(last);
    world.run_until(world.now + 1_000_000);
    assert!(world.statuses().contains("Stopped(Fault(Before))"), "{}", world.statuses());
}
