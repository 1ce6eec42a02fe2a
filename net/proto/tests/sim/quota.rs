//! An author that floods a ledger where anybody may write, by way of honest nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use quipu_merge::{Body, EventId, Key, Micros, Operation, Seq};
use quipu_proto::{Allowance, MAX_SHELVED, Packet, Placed, Quota};

use super::author;
use super::world::World;

const QUOTA: Quota = Quota {
    author: Allowance { events: 50, bytes: 200_000 },
    all: Allowance { events: 500, bytes: 2_000_000 },
    burst: Duration::from_secs(4),
};
/// Where the flood comes in, and the author of it.
const SOURCE: usize = 0;
const FLOODER: usize = 900;
const SECOND: u64 = 1_000_000;
/// Between two events of an author that is no flooder.
const PAUSE: u64 = SECOND / 5;

/// Who writes a chain of events, dated after all that came before.
struct Chain {
    author: usize,
    last: Option<EventId>,
    seq: Seq,
    body: Body,
}

impl Chain {
    /// Each event is of about so many bytes.
    fn new(author: usize, len: usize) -> Self {
        let del = |at| {
            let key = Key::new(&format!("{at:0500}")).unwrap();
            Operation::Del { key }
        };
        let body = Body::Data((0..len / 500 + 1).map(del).collect());
        Self { author, last: None, seq: Seq::FIRST, body }
    }

    /// The next event, at a moment of the world, on top of another one as well.
    fn next(&mut self, world: &World, on: EventId) -> (Placed, Packet) {
        let time = Micros(world.wall(SOURCE).0 + self.seq.0);
        let on = if self.last == Some(on) { Vec::new() } else { vec![on] };
        let event = author::sign(self.author, (self.seq, self.last), on, time, &self.body);
        self.last = Some(event.0.tip.id);
        self.seq = self.seq.next();
        event
    }

    fn take(&mut self, world: &World, count: usize) -> Vec<(Placed, Packet)> {
        let genesis = genesis(world);
        (0..count).map(|_| self.next(world, genesis)).collect()
    }
}

fn genesis(world: &World) -> EventId {
    world.members[SOURCE].store.history.authority().ledger()
}

/// Four nodes in a ring, of which all know that they have what the others have.
fn ring() -> World {
    let mut world = World::new(1, 4, BTreeSet::from([(0, 1), (1, 2), (2, 3), (0, 3)]));
    world.limit(QUOTA);
    world.run_until(4 * SECOND);
    assert!(world.levels.has_noticed(1, SOURCE) && world.levels.has_noticed(2, 1));
    world
}

fn holds(world: &World, at: usize, id: EventId) -> bool {
    world.members[at].store.history.get(id).is_some()
}

fn deferred(world: &World, at: usize) -> u64 {
    world.members[at].node.as_ref().unwrap().deferred()
}

/// Lets another author write at a node for so long, while the memory of all stays bounded and each event
/// is everywhere before its next but one.
fn others_write(world: &mut World, chain: &mut Chain, at: usize, until: u64) {
    let genesis = genesis(world);
    let mut written = Vec::new();
    while world.now < until {
        let event = chain.next(world, genesis);
        written.push(event.0.tip.id);
        world.hold(at, &[event]);
        world.run_until(world.now + PAUSE);
        for (at, member) in world.members.iter().enumerate() {
            assert!(member.store.waits() < 100, "{} wait at {at}", member.store.waits());
            assert!(member.node.as_ref().unwrap().waiting() <= MAX_SHELVED / 2);
            let before = &written[..written.len() - 1];
            assert!(before.iter().all(|id| holds(world, at, *id)), "not at {at}, {}", world.now);
        }
    }
}

fn len(events: &[(Placed, Packet)]) -> u64 {
    events.iter().map(|(_, packet)| packet.len() as u64).sum()
}

fn assert_converged(world: &World) {
    assert!(world.wronged.is_empty(), "{:?}", world.wronged);
    assert!(world.levels.wrong.is_empty(), "{:?}", world.levels.wrong);
    let frontiers: BTreeSet<_> =
        world.members.iter().map(|member| member.node.as_ref().unwrap().frontier()).collect();
    assert_eq!(frontiers.len(), 1);
    for member in &world.members {
        let waiting = member.node.as_ref().unwrap().waiting();
        assert_eq!((member.store.waits(), waiting), (0, 0));
    }
    assert!(world.levels.has_noticed(2, 1) && world.levels.has_noticed(2, 3));
}

/// What is there to be had at once is more than one node may send before it gets credit.
#[test]
fn a_flood_that_is_pulled_waits_for_its_quota_alone() {
    let mut world = ring();
    let flood = Chain::new(FLOODER, 7_000).take(&world, 1_500);
    assert!(len(&flood) > 10_000_000);
    let before = world.bytes;
    world.hold(SOURCE, &flood);
    let start = world.now;
    let mut other = Chain::new(901, 500);
    others_write(&mut world, &mut other, 2, start + 20 * SECOND);
    // The neighbours have what the quota allows of it.
    for at in [1, 3] {
        let held = world.members[at].store.len() as u64 - 1 - other.seq.0;
        let most = 24 * u64::from(QUOTA.author.bytes) / 7_000;
        assert!((most * 8 / 10..=most + 10).contains(&held), "{held} of {most} at {at}");
        assert!(deferred(&world, at) > 0);
    }
    world.run_until(start + 80 * SECOND);
    assert_converged(&world);
    assert!(world.members[2].store.len() > 1_500);
    // Three nodes lacked it, two of which have two neighbours that had it.
    let sent = world.bytes - before;
    println!("{sent} bytes for {} of events that three nodes lacked", len(&flood));
    assert!(sent < 4 * len(&flood), "{sent} bytes for {} of events", len(&flood));
}

#[test]
fn a_flood_that_is_pushed_waits_for_its_quota_alone() {
    let mut world = ring();
    let (before, start) = (world.bytes, world.now);
    let (mut flood, mut other) = (Chain::new(FLOODER, 500), Chain::new(901, 500));
    let mut all = 0;
    while world.now < start + 10 * SECOND {
        // Ten times what it may.
        for _ in 0..100 {
            let event = flood.take(&world, 1);
            all += len(&event);
            world.hold(SOURCE, &event);
        }
        let until = world.now + PAUSE;
        others_write(&mut world, &mut other, 2, until);
    }
    let held = world.members[1].store.len() as u64;
    assert!((650..850).contains(&held), "{held}");
    world.run_until(start + 120 * SECOND);
    assert_converged(&world);
    assert_eq!(world.members[2].store.len() as u64, flood.seq.0 + other.seq.0 - 1);
    let sent = world.bytes - before;
    println!("{sent} bytes for {all} of events that three nodes lacked");
    assert!(sent < 7 * all, "{sent} bytes for {all} of events");
}

#[test]
fn what_follows_a_flood_comes_after_it() {
    let mut world = ring();
    let start = world.now;
    let mut flood = Chain::new(FLOODER, 7_000);
    let events = flood.take(&world, 1_500);
    world.hold(SOURCE, &events);
    world.run_until(start + 2 * SECOND);
    // On top of the end of it, which is nowhere else; then more of the same author.
    let mut follower = Chain::new(902, 500);
    let first = follower.next(&world, flood.last.unwrap());
    world.hold(SOURCE, std::slice::from_ref(&first));
    for _ in 0..50 {
        let event = follower.take(&world, 1);
        world.hold(SOURCE, &event);
        let until = world.now + PAUSE;
        others_write(
            &mut world,
            &mut Chain::new(903 + usize::try_from(until / PAUSE).unwrap() % 90, 500),
            2,
            until,
        );
        assert!(!holds(&world, 1, first.0.tip.id));
    }
    world.run_until(start + 150 * SECOND);
    assert_converged(&world);
    assert!(holds(&world, 2, follower.last.unwrap()));
}

/// Nothing is held of the other author until the flood has come: nodes know it by the first bytes of its key.
#[test]
fn what_waits_for_a_flood_is_not_sent_again_and_again() {
    let mut world = ring();
    let (before, start) = (world.bytes, world.now);
    let mut flood = Chain::new(FLOODER, 7_000);
    let mut events = flood.take(&world, 1_500);
    world.hold(SOURCE, &events);
    world.run_until(start + 2 * SECOND);
    let mut follower = Chain::new(902, 7_000);
    events.push(follower.next(&world, flood.last.unwrap()));
    events.extend(follower.take(&world, 500));
    world.hold(SOURCE, &events[1_500..]);
    world.run_until(start + 150 * SECOND);
    assert_converged(&world);
    let (sent, all) = (world.bytes - before, len(&events));
    println!("{sent} bytes for {all} of events that three nodes lacked");
    assert!(sent < 4 * all, "{sent} bytes for {all} of events");
}

#[test]
fn many_authors_have_a_quota_together() {
    let mut world = ring();
    let start = world.now;
    let mut events = Vec::new();
    for author in 100..200 {
        events.extend(Chain::new(author, 500).take(&world, 60));
    }
    world.hold(SOURCE, &events);
    world.run_until(start + 4 * SECOND);
    let held = world.members[1].store.len();
    assert!((2_000..4_500).contains(&held), "{held}");
    world.run_until(start + 60 * SECOND);
    assert_converged(&world);
    assert_eq!(world.members[2].store.len(), 6_001);
}

#[test]
fn a_cold_copy_is_not_slowed() {
    let mut world = World::new(1, 2, BTreeSet::from([(0, 1)]));
    world.limit(QUOTA);
    let events = Chain::new(FLOODER, 500).take(&world, 5_000);
    world.hold(SOURCE, &events);
    world.run_until(6 * SECOND);
    assert_eq!(world.members[1].store.len(), 5_001);
    assert_eq!(deferred(&world, 1), 0);
}
