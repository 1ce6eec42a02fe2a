//! What happens in one run, drawn from a seed, and what has to hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quipu_merge::{Cut, EventId, Shown};
use quipu_proto::{Allowance, Item, Quota};

use super::author;
use super::byzantine::Byzantine;
use super::random::Random;
use super::world::World;

/// All faults are over by then, in microseconds.
const FAULTS_END: u64 = 20_000_000;
/// All honest nodes agree by then, in microseconds.
const AGREED: u64 = FAULTS_END + 60_000_000;

/// What one honest node has, all of them have after so long, in microseconds. A shorter time would be too short:
/// who is dishonest may give what it alone has to one of them at any moment, while another waits for its answer, for
/// 20 seconds; and then, it may be, for that of a second one.
const SPREAD: u64 = 40_000_000;
/// Dishonest nodes are gone by then, and what they have given in the end has reached all, in microseconds.
const SETTLED: u64 = AGREED + 60_000_000;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    count: usize,
    topology: BTreeSet<(usize, usize)>,
    byzantine: BTreeMap<usize, Byzantine>,
    skews: Vec<i64>,
    lost_of: u64,
    pub actions: Vec<(u64, Action)>,
}

#[derive(Clone, Copy, Debug)]
pub enum Action {
    Write(usize),
    /// An event beside the last one of the same author.
    Fork(usize),
    /// An event that is dated hours ahead.
    FarFuture(usize),
    Crash(usize, u64),
    /// Messages from the first to the second wait.
    Cut(usize, usize),
    Heal(usize, usize),
    Break(usize, usize),
    Full(usize),
    Room(usize),
    Slow(usize, u64),
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let count = usize::try_from(random.between(3, 9)).unwrap();
        let mut scenario = Self {
            seed,
            count,
            topology: BTreeSet::new(),
            byzantine: BTreeMap::new(),
            skews: (0..count)
                .map(|_| i64::try_from(random.below(20_000_000)).unwrap() - 10_000_000)
                .collect(),
            lost_of: random.pick(&[0, 0, 20, 5]),
            actions: Vec::new(),
        };
        // The last ones may be dishonest; the others stay connected without them.
        let dishonest = usize::try_from(random.below(count as u64 / 3 + 1)).unwrap();
        for at in count - dishonest..count {
            scenario.byzantine.insert(at, random.pick(&Byzantine::ALL));
        }
        let honest = count - dishonest;
        for at in 1..count {
            let other = usize::try_from(random.below(at.min(honest) as u64)).unwrap();
            scenario.topology.insert((other, at));
        }
        for _ in 0..random.below(count as u64 * 2) {
            let (one, other) = scenario.two(&mut random);
            scenario.topology.insert((one.min(other), one.max(other)));
        }
        for _ in 0..random.between(5, 60) {
            scenario.draw(&mut random);
        }
        scenario.actions.sort_by_key(|(time, _)| *time);
        scenario
    }

    fn two(&self, random: &mut Random) -> (usize, usize) {
        let one = usize::try_from(random.below(self.count as u64)).unwrap();
        let step = 1 + usize::try_from(random.below(self.count as u64 - 1)).unwrap();
        (one, (one + step) % self.count)
    }

    fn draw(&mut self, random: &mut Random) {
        let time = random.below(FAULTS_END);
        let end = random.between(time, FAULTS_END);
        let (one, other) = self.two(random);
        let mut then = |action| self.actions.push((end, action));
        let action = match random.below(20) {
            0 => Action::Fork(one),
            1 => Action::Crash(one, random.below(5_000_000)),
            2 => {
                then(Action::Heal(one, other));
                Action::Cut(one, other)
            }
            3 => {
                then(Action::Heal(one, other));
                then(Action::Heal(other, one));
                self.actions.push((time, Action::Cut(other, one)));
                Action::Cut(one, other)
            }
            4 => Action::Break(one, other),
            5 => {
                then(Action::Room(one));
                Action::Full(one)
            }
            6 => {
                then(Action::Slow(one, 1));
                Action::Slow(one, 50)
            }
            7 if self.byzantine.contains_key(&one) => Action::FarFuture(one),
            _ => Action::Write(one),
        };
        self.actions.push((time, action));
    }

    /// Runs it. Gives the hash of all that was said.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn run(&self) -> Result<blake3::Hash, String> {
        let mut world = World::new(self.seed, self.count, self.topology.clone());
        world.conditions.lost_of = self.lost_of;
        // Seldom enough that those who write much are put off, and often enough that all comes in time.
        if self.seed.is_multiple_of(3) {
            let allowance = |events| Allowance { events, bytes: events * 1_000 };
            let burst = Duration::from_secs(3);
            world.limit(Quota { author: allowance(1), all: allowance(4), burst });
        }
        for (at, kind) in &self.byzantine {
            world.members[*at].byzantine = Some(*kind);
        }
        for (at, skew) in self.skews.iter().enumerate() {
            world.members[at].skew = *skew;
        }
        for (time, action) in &self.actions {
            world.run_until(*time);
            act(&mut world, *action);
        }
        world.run_until(FAULTS_END);
        world.mend();
        world.run_until(AGREED - SPREAD);
        let had = self.had(&world);
        world.run_until(AGREED);
        self.check_spread(&world, &had)?;
        for at in self.byzantine.keys() {
            world.crash(*at, SETTLED);
        }
        world.run_until(SETTLED);
        self.check(&world)?;
        Ok(world.transcript.finalize())
    }

    fn honest<'a>(&self, world: &'a World) -> impl Iterator<Item = usize> + Clone + 'a {
        (0..self.count).filter(|at| world.is_honest(*at))
    }

    /// What honest nodes have of events and values.
    fn had(&self, world: &World) -> (BTreeSet<EventId>, BTreeSet<Item>) {
        let stores = self.honest(world).map(|at| &world.members[at].store);
        let events = stores.clone().flat_map(|store| store.history.iter().map(|(id, _)| id));
        (events.collect(), stores.flat_map(|store| store.values.here()).collect())
    }

    /// All honest nodes have what one of them had, in spite of the others, and know it.
    fn check_spread(
        &self,
        world: &World,
        (events, values): &(BTreeSet<EventId>, BTreeSet<Item>),
    ) -> Result<(), String> {
        check_levels(world)?;
        for (one, other) in world.honest_links() {
            let ends = [(one, other), (other, one)];
            if let Some((at, peer)) =
                ends.iter().find(|ends| !world.levels.has_noticed(ends.0, ends.1))
            {
                return Err(format!("node {at} never noticed that it has all of {peer}"));
            }
        }
        for at in self.honest(world) {
            let store = &world.members[at].store;
            if let Some(id) = events.iter().find(|id| store.history.get(**id).is_none()) {
                return Err(format!("node {at} lacks {id}, and another has had it for long"));
            }
            let mut lacking = store.values.lacking().iter();
            if let Some(item) = lacking.find(|item| values.contains(item)) {
                return Err(format!("node {at} lacks {item:?}, and another has had it for long"));
            }
        }
        Ok(())
    }

    fn check(&self, world: &World) -> Result<(), String> {
        check_levels(world)?;
        let honest: Vec<_> = self.honest(world).collect();
        let states: Vec<_> = honest.iter().map(|at| state(world, *at)).collect();
        for (at, state) in honest.iter().zip(&states).skip(1) {
            if state != &states[0] {
                return Err(format!(
                    "nodes {} and {at} differ: {} and {} events, {} and {} waiting",
                    honest[0],
                    states[0].0,
                    state.0,
                    world.members[honest[0]].store.waits(),
                    world.members[*at].store.waits(),
                ));
            }
        }
        // So is every value that an honest node has.
        let (_, had) = self.had(world);
        for at in &honest {
            let lacking = world.members[*at].store.values.lacking();
            if let Some(item) = lacking.iter().find(|item| had.contains(item)) {
                return Err(format!("node {at} lacks {item:?}, and others have it"));
            }
        }
        // All that an honest node wrote is there.
        for at in &honest {
            let frontier = world.members[honest[0]].store.frontier();
            let own = world.members[*at].store.frontier();
            let author = author::author(*at);
            let of = |lanes: &[quipu_proto::LaneTips]| {
                lanes.iter().find(|lane| lane.author == author).cloned()
            };
            if of(&frontier) != of(&own) {
                return Err(format!("events of node {at} are missing"));
            }
        }
        Ok(())
    }
}

/// Nobody thinks of others what is not so.
fn check_levels(world: &World) -> Result<(), String> {
    if let Some((one, other, what)) = world.wronged.first() {
        return Err(format!("node {one} takes honest node {other} for dishonest: {what:?}"));
    }
    if let Some((one, other)) = world.levels.wrong.first() {
        return Err(format!("node {one} has not all that {other} had, and thinks so"));
    }
    Ok(())
}

/// Events, heads and the whole state of a node.
fn state(world: &World, at: usize) -> (usize, Vec<EventId>, String) {
    let history = &world.members[at].store.history;
    let view = history.view(&Cut::Everything, &[]).unwrap();
    let dump = view.dump(&mut |_| Shown::Nothing).unwrap();
    (
        history.len(),
        history.heads().iter().copied().collect(),
        serde_json::to_string(&dump).unwrap(),
    )
}

fn act(world: &mut World, action: Action) {
    match action {
        Action::Write(at) => write(world, at, |_, tip| tip, 0),
        Action::Fork(at) => {
            let before = |world: &World, tip: Option<EventId>| {
                world.members[at].store.history.get(tip?)?.event.prev
            };
            write(world, at, before, 0);
        }
        Action::FarFuture(at) => write(world, at, |_, tip| tip, 7_200_000_000),
        Action::Crash(at, pause) => world.crash(at, pause),
        Action::Cut(one, other) => world.cut(one, other),
        Action::Heal(one, other) => world.heal(one, other),
        Action::Break(one, other) => world.break_link(one, other),
        Action::Full(at) => world.members[at].store.full = true,
        Action::Room(at) => world.members[at].store.full = false,
        Action::Slow(at, slowness) => world.members[at].slowness = slowness,
    }
}

/// Writes an event that continues one of the node's own, by its last one.
fn write(
    world: &mut World,
    at: usize,
    prev: impl FnOnce(&World, Option<EventId>) -> Option<EventId>,
    ahead: u64,
) {
    let lanes = world.members[at].store.frontier();
    let own = lanes.into_iter().find(|lane| lane.author == author::author(at));
    let tip = own.and_then(|lane| lane.tips.last().map(|tip| tip.id));
    let prev = prev(world, tip);
    world.write(at, prev, ahead);
}
