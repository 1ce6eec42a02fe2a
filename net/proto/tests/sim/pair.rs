//! Two nodes, and what they say to each other.

use std::collections::BTreeSet;

use quipu_merge::{Body, EventId, Key, Micros, Operation, Seq};
use quipu_proto::{Packet, VERSION, Version, WINDOW};

use super::author;
use super::world::{Introduction, World};

/// The first events of authors, all on top of genesis and beside each other.
pub fn firsts(world: &World, authors: impl Iterator<Item = usize>) -> Vec<Packet> {
    let genesis = world.members[0].store.history.authority().ledger();
    let first = |number: usize| {
        let key = Key::new(&format!("key/{number}")).unwrap();
        let body = Body::Data(vec![Operation::Del { key }]);
        let time = Micros(2_000_000 + number as u64);
        author::sign(number, (Seq::FIRST, None), vec![genesis], time, &body).1
    };
    authors.map(first).collect()
}

fn pair() -> World {
    World::new(1, 2, BTreeSet::from([(0, 1)]))
}

fn assert_equal(world: &World) {
    let [one, other] = [0, 1].map(|at| world.members[at].node.as_ref().unwrap().frontier());
    assert_eq!(one, other);
}

#[test]
fn equal_replicas_part_after_one_round_trip() {
    let mut world = pair();
    let events = firsts(&world, 2..1_002);
    [0, 1].into_iter().for_each(|at| world.load(at, &events));
    world.run_until(4_000_000);
    // Both have greeted, told their frontiers, and asked who is known, with an answer.
    assert_eq!(world.messages, 8);
    assert!(world.bytes < 1_024, "{} bytes", world.bytes);
}

#[test]
fn few_differences_among_many_authors_take_few_bytes() {
    let mut world = pair();
    let common = firsts(&world, 2..902);
    let [mine, theirs] = [902..922, 922..942].map(|authors| firsts(&world, authors));
    world.load(0, &[common.clone(), mine.clone()].concat());
    world.load(1, &[common, theirs.clone()].concat());
    world.run_until(4_000_000);
    assert_equal(&world);
    let missing: usize = mine.iter().chain(&theirs).map(Packet::len).sum();
    // A whole frontier would be 70 kB.
    let beside = world.bytes - missing as u64;
    assert!(beside < 20_000, "{beside} bytes beside {missing} of events");
}

#[test]
fn a_difference_from_what_was_equal_before_is_told_alone() {
    let mut world = pair();
    let events = firsts(&world, 2..902);
    [0, 1].into_iter().for_each(|at| world.load(at, &events));
    world.run_until(4_000_000);
    // A cut keeps the new event from being pushed; what was agreed on is remembered meanwhile.
    world.cut(0, 1);
    world.write(0, None, 0);
    world.run_until(8_000_000);
    let before = world.bytes;
    world.heal(0, 1);
    world.run_until(16_000_000);
    assert_equal(&world);
    assert!(world.bytes - before < 3_000, "{} bytes", world.bytes - before);
}

/// What two nodes hear of others when they speak these versions, and each event reaches the other.
fn versions_together(versions: [Version; 2]) -> Vec<Introduction> {
    let mut world = pair();
    for (at, version) in versions.into_iter().enumerate() {
        world.speak(at, version);
        world.know(at, &[(at, "host:1"), (1 - at, "host:2"), (7, "[::1]:7")]);
        world.write(at, None, 0);
    }
    world.run_until(100_000_000);
    assert_equal(&world);
    assert_eq!(world.members[0].store.history.len(), 3);
    assert!(world.wronged.is_empty());
    world.heard_of.sort();
    world.heard_of
}

#[test]
fn an_older_minor_version_gets_along_with_a_newer_one() {
    let older = Version { minor: 0, ..VERSION };
    let newer = Version { minor: VERSION.minor + 1, ..VERSION };
    let told = |of: usize| {
        let places = [(of, "host:1"), (7, "[::1]:7")];
        places.map(|(at, place)| (author::author(at), vec![place.to_owned()])).to_vec()
    };
    // Each asks the other, and a minute later once more.
    let heard = [(0, 1, told(1)), (0, 1, told(1)), (1, 0, told(0)), (1, 0, told(0))];
    for versions in [[VERSION, VERSION], [VERSION, newer], [newer, VERSION]] {
        assert_eq!(versions_together(versions), heard);
    }
    // Who does not know of such messages is not sent any.
    for versions in [[VERSION, older], [older, VERSION], [older, older]] {
        assert!(versions_together(versions).is_empty());
    }
}

/// Where two nodes have other branches of an author, each is named what the other cannot know, and no more
/// is sent twice than lies between what is named.
#[test]
fn a_branch_that_the_other_does_not_know_is_found() {
    let (older, common, ends) = (Version { minor: 1, ..VERSION }, 200, [12_u64, 10]);
    for versions in [[VERSION, VERSION], [VERSION, older], [older, VERSION]] {
        for turned in [false, true] {
            let mut world = pair();
            let genesis = world.members[0].store.history.authority().ledger();
            let grow = |prev: Option<(Seq, EventId)>, count: u64, time: u64| {
                let (mut prev, mut events) = (prev, Vec::new());
                for _ in 0..count {
                    let key = Key::new(&format!("key/{time}")).unwrap();
                    let body = Body::Data(vec![Operation::Del { key }]);
                    let seq = prev.map_or(Seq::FIRST, |(seq, _)| seq.next());
                    let parents = if prev.is_none() { vec![genesis] } else { Vec::new() };
                    let at = Micros(time + seq.0);
                    let before = prev.map(|(_, id)| id);
                    let (placed, packet) = author::sign(7, (seq, before), parents, at, &body);
                    prev = Some((placed.tip.seq, placed.tip.id));
                    events.push(packet);
                }
                (prev, events)
            };
            let (parting, before) = grow(None, common, 2_000_000);
            let branches = ends.map(|end| grow(parting, end, 3_000_000 + end).1);
            for (at, branch) in branches.iter().enumerate() {
                let at = if turned { 1 - at } else { at };
                world.speak(at, versions[at]);
                world.load(at, &[before.as_slice(), branch].concat());
            }
            world.run_until(8_000_000);
            assert_equal(&world);
            let all = world.members[0].store.history.len() as u64;
            assert_eq!(all, 1 + common + ends.iter().sum::<u64>());
            assert!(world.wronged.is_empty(), "{:?}", world.wronged);
            // An event is of some 300 bytes, and 15 of those before a tip are not named.
            assert!(world.bytes < 60 * 350 + 4_000, "{} bytes", world.bytes);
        }
    }
}

#[test]
fn differences_among_many_authors_are_found_by_older_and_newer_ones() {
    let older = Version { minor: 1, ..VERSION };
    for versions in [[VERSION, VERSION], [VERSION, older], [older, VERSION], [older, older]] {
        let mut world = pair();
        let common = firsts(&world, 2..402);
        let [mine, theirs] = [402..422, 422..442].map(|authors| firsts(&world, authors));
        for (at, own) in [mine, theirs].into_iter().enumerate() {
            world.speak(at, versions[at]);
            world.load(at, &[common.clone(), own].concat());
        }
        world.run_until(4_000_000);
        assert_equal(&world);
        assert_eq!(world.members[0].store.history.len(), 441);
        assert!(world.wronged.is_empty(), "{:?}", world.wronged);
    }
}

#[test]
fn it_is_told_when_all_of_a_peer_has_come() {
    let mut world = pair();
    world.load(0, &firsts(&world, 2..802));
    let info = |world: &World, at: usize| {
        let peer = author::author(1 - at);
        world.members[at].node.as_ref().unwrap().peer(&peer)
    };
    assert_eq!(info(&world, 1), None);
    while !world.levels.has_noticed(1, 0) {
        assert!(world.now < 8_000_000);
        world.run_until(world.now + 100);
    }
    assert_eq!(world.members[1].store.len(), 801);
    assert!(world.levels.wrong.is_empty());
    let node = world.members[1].node.as_ref().unwrap();
    assert_eq!((node.lacking(), node.values_settled()), (0, false));
    let behind = info(&world, 0).unwrap();
    assert!(behind.unequal_since.is_some() && !behind.level);
    world.run_until(world.now + 11_000_000);
    assert!(world.members[1].node.as_ref().unwrap().values_settled());
    let [one, other] = [0, 1].map(|at| info(&world, at).unwrap());
    assert_eq!((one.events_out, other.events_in), (800, 800));
    assert!(other.received_bytes > 800 * 300);
    for info in [one, other] {
        assert_eq!((info.level, info.unequal_since, info.pulling), (true, None, false));
        let round_trip = info.round_trip.unwrap().as_micros();
        assert!((1_000..100_000).contains(&round_trip), "{round_trip}");
        assert_eq!(info.version, Some(VERSION));
    }
}

#[test]
fn another_major_version_is_sent_away() {
    let mut world = pair();
    world.speak(1, Version { major: VERSION.major + 1, minor: 0 });
    for at in [0, 1] {
        world.write(at, None, 0);
    }
    world.run_until(4_000_000);
    assert_eq!(world.members[0].store.history.len(), 2);
    assert!(world.members[0].node.as_ref().unwrap().peers().next().is_none());
}

#[test]
fn more_than_a_window_comes_and_goes_on_where_it_broke_off() {
    let mut world = pair();
    let genesis = world.members[0].store.history.authority().ledger();
    // Keys are what makes these events long.
    let del = |operation: usize| {
        let key = Key::new(&format!("{operation:01000}")).unwrap();
        Operation::Del { key }
    };
    let body = Body::Data((0..220).map(del).collect());
    let mut prev = None;
    let long: Vec<_> = (0..40)
        .map(|at| {
            let parents = if prev.is_none() { vec![genesis] } else { Vec::new() };
            let time = Micros(2_000_000 + at);
            let (placed, packet) = author::sign(7, (Seq(at + 1), prev), parents, time, &body);
            prev = Some(placed.tip.id);
            packet
        })
        .collect();
    let all: usize = long.iter().map(Packet::len).sum();
    assert!(all as u64 > 2 * WINDOW - 1, "{all} bytes");
    world.load(0, &long);
    world.members[1].slowness = 100;
    while world.members[1].store.history.len() < 10 {
        world.run_until(world.now + 1_000);
    }
    world.break_link(0, 1);
    world.run_until(8_000_000);
    assert_equal(&world);
    // What was under way when the link broke came twice, and nothing else did.
    assert!(world.bytes < all as u64 + WINDOW + 500_000, "{} bytes for {all}", world.bytes);
}
