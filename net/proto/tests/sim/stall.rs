//! Peers that say that they have what is missing, and do not send it.

use super::byzantine::Byzantine;
use super::pair::firsts;
use super::world::World;

const SECOND: u64 = 1_000_000;
/// All has come by then: each of four keeps others from being asked for five seconds, and the next comparison may
/// be as long after that.
const PATIENCE: u64 = 30 * SECOND;

/// A node that lacks events, some peers that stall, and an honest one. Tells how long it takes, while the links to
/// the former break every so many seconds.
fn time_to_get(seed: u64, stalling: usize, breaks_every: u64) -> u64 {
    let honest = stalling + 1;
    let mut world = World::new(seed, honest + 1, (1..=honest).map(|at| (0, at)).collect());
    let events = firsts(&world, 10..20);
    (1..=honest).for_each(|at| world.load(at, &events));
    for at in 1..honest {
        world.members[at].byzantine = Some(Byzantine::Stalls);
    }
    while world.members[0].store.len() <= events.len() && world.now < 2 * PATIENCE {
        world.run_until(world.now + SECOND);
        for at in 1..honest {
            if (world.now / SECOND + at as u64).is_multiple_of(breaks_every) {
                world.break_link(0, at);
            }
        }
    }
    assert!(world.wronged.is_empty());
    world.now
}

#[test]
fn events_come_from_whoever_sends_them() {
    for breaks_every in [1_000, 3, 5, 7] {
        for (seed, stalling) in (1..=40).zip([1, 2, 3, 4].into_iter().cycle()) {
            let time = time_to_get(seed, stalling, breaks_every);
            assert!(time <= PATIENCE, "{time} microseconds with {stalling}, seed {seed}");
        }
    }
}
