//! Many nodes: how far an event travels, and by how many messages.
//!
//! `QUIPU_NODES` says how many there are.

use std::collections::BTreeSet;

use super::number;
use super::random::Random;
use super::world::World;

/// Connections that each node makes beside those to its neighbours in a ring.
const CHORDS: usize = 2;
const WARM_UP: u64 = 20;
const MEASURED: u64 = 20;
/// Between two events, in microseconds.
const PAUSE: u64 = 1_000_000;

#[test]
fn an_event_reaches_everybody_along_a_tree() {
    let count = usize::try_from(number("QUIPU_NODES").unwrap_or(60)).unwrap();
    let mut random = Random::new(1);
    let mut topology = BTreeSet::new();
    for at in 0..count {
        topology.insert((at.min((at + 1) % count), at.max((at + 1) % count)));
        for _ in 0..CHORDS {
            let other = usize::try_from(random.below(count as u64)).unwrap();
            if other != at {
                topology.insert((at.min(other), at.max(other)));
            }
        }
    }
    let links = topology.len();
    let mut world = World::new(1, count, topology);
    world.run_until(5_000_000);
    let mut last = vec![None; count];
    let mut write = |world: &mut World, random: &mut Random| {
        let at = usize::try_from(random.below(count as u64)).unwrap();
        last[at] = world.write(at, last[at], 0).or(last[at]);
        world.run_until(world.now + PAUSE);
    };
    (0..WARM_UP).for_each(|_| write(&mut world, &mut random));
    let before = world.pushed;
    let mut slowest = 0;
    for _ in 0..MEASURED {
        let start = world.now;
        write(&mut world, &mut random);
        slowest = slowest.max(world.last_pushed - start);
    }
    let pushed = (world.pushed - before) as f64 / MEASURED as f64;
    let needed = (count - 1) as f64;
    println!(
        "{count} nodes, {links} links: {pushed:.1} pushes an event, {needed} needed; all {} messages \
         {:.1} an event; the last push {:.1} ms after the event",
        world.messages,
        world.messages as f64 / (WARM_UP + MEASURED) as f64,
        slowest as f64 / 1_000.0
    );
    for at in 0..count {
        let held = world.members[at].store.history.len() as u64;
        assert_eq!(held, 1 + WARM_UP + MEASURED, "node {at}");
    }
    assert!(pushed < 1.5 * needed, "{pushed} pushes an event among {count} nodes");
}
