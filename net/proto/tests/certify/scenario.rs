//! A run with faults, drawn from a seed, and what must hold in it and after it.

use std::collections::BTreeSet;
use std::time::Duration;

use quipu_merge::{AuthorKey, EventId};
use quipu_proto::{CertifyConfig, Patience};

use super::byzantine::{Byzantine, TRICKS};
use super::ledger::{self, Set};
use super::liars::Common;
use super::random::Random;
use super::world::World;

/// How long there are faults, in microseconds.
const FAULTS: u64 = 20_000_000;
/// Until all honest nodes must have certified what was held before, after the faults have stopped.
const BOUND: u64 = 60_000_000;
/// By how much a clock may be wrong: more than events may be dated ahead, in microseconds.
const MOST_SKEW: u64 = 90_000_000;
/// Entries of one height's log.
const MAX_LOG: usize = 4_000;

/// A node with less patience than usual, so that more happens in a run.
pub fn quick() -> CertifyConfig {
    let patience = Patience {
        propose: Duration::from_millis(1_000),
        vote: Duration::from_millis(300),
        more: Duration::from_millis(200),
        most: Duration::from_millis(3_000),
        again: Duration::from_millis(500),
    };
    let config = CertifyConfig::new(AuthorKey([0; 32]), EventId([0; 32]), 0);
    CertifyConfig { interval: Duration::from_millis(1_000), patience, ..config }
}

pub struct Scenario {
    pub world: World,
    random: Random,
    /// Who has the role of a validator, by all that the admin has written.
    validators: BTreeSet<usize>,
    /// The dishonest.
    liars: Vec<usize>,
    /// Those that may lose their disks, together with the dishonest no more than are tolerated.
    frail: Vec<usize>,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, quick())
    }

    pub fn with(seed: u64, config: CertifyConfig) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        // Mostly few: they show as much, in less time.
        let validators = usize::try_from(if random.once_in(8) {
            random.between(7, 10)
        } else {
            random.between(4, 6)
        });
        let validators = validators.unwrap();
        let tolerated = (validators - 1) / 3;
        let byzantine = usize::try_from(random.below(tolerated as u64 + 1)).unwrap();
        let mut world = World::new(seed, validators, 1, config);
        world.delay = (500, random.between(2_000, 150_000));
        let mut places: Vec<_> = (0..validators).collect();
        for at in (1..places.len()).rev() {
            let other = usize::try_from(random.below(at as u64 + 1)).unwrap();
            places.swap(at, other);
        }
        let common = Common::default();
        common.lock().unwrap().liars.extend(&places[..byzantine]);
        for at in &places[..byzantine] {
            let count = random.between(1, 3);
            let tricks = (0..count).map(|_| random.pick(&TRICKS)).collect();
            let own = Random::new(random.next());
            let mut liar = Byzantine::new(*at, validators, tricks, own);
            liar.common = common.clone();
            world.members[*at].byzantine = Some(liar);
        }
        for at in 0..=validators {
            let most = random.pick(&[0, 0, 0, 0, 20_000_000, 20_000_000, 20_000_000, MOST_SKEW]);
            let skew = i64::try_from(random.below(2 * most + 1)).unwrap();
            world.members[at].skew = skew - i64::try_from(most).unwrap();
        }
        let (liars, frail) = (places[..byzantine].to_vec(), places[byzantine..tolerated].to_vec());
        let validators = (0..validators).collect();
        Self { world, random, validators, liars, frail }
    }

    /// The hash of all that was sent.
    pub fn run(mut self) -> Result<blake3::Hash, String> {
        while self.world.now < FAULTS && self.world.wrong.is_none() {
            let pause = self.random.between(100_000, 1_000_000);
            self.world.run_until(self.world.now + pause);
            self.disturb();
        }
        self.heal();
        let must = self.held_by_all();
        let until = self.world.now + BOUND;
        while self.world.now < until && self.world.wrong.is_none() && !self.is_level(&must) {
            self.world.run_until(self.world.now + 1_000_000);
        }
        if let Some(wrong) = self.world.wrong.take() {
            return Err(wrong);
        }
        if !self.is_level(&must) {
            return Err(format!("no progress: {}", self.world.statuses()));
        }
        if self.world.longest_log > MAX_LOG {
            return Err(format!("a log of {} entries", self.world.longest_log));
        }
        if !self.world.diverged.is_empty() {
            return Err(format!("{:?} have diverged", self.world.diverged));
        }
        Ok(self.world.transcript.finalize())
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.random.below(self.world.members.len() as u64)).unwrap()
    }

    fn disturb(&mut self) {
        let (one, other) = (self.node(), self.node());
        let pause = self.random.between(10_000, 6_000_000);
        match self.random.below(16) {
            0..=6 => (0..=self.random.below(3)).for_each(|_| self.world.write(one)),
            7 | 8 => self.world.crash(one, pause),
            9 => {
                self.world.cut.insert((one, other));
            }
            10 => {
                let sides: Vec<_> =
                    self.world.members.iter().map(|_| self.random.once_in(2)).collect();
                let all = 0..sides.len();
                let pairs = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
                self.world.cut.extend(pairs.filter(|(from, to)| sides[*from] != sides[*to]));
            }
            11 | 12 => self.world.cut.clear(),
            13 => self.world.lost_of = self.random.pick(&[0, 0, 3, 20]),
            14 => self.administer(one, other),
            _ => self.wear(),
        }
    }

    /// The admin grants or takes away the role of a validator, at a node that loses nothing: so that it
    /// never forks, and every cut holds all up to some of what it has written.
    fn administer(&mut self, at: usize, whom: usize) {
        let (mut validators, grants) = (self.validators.clone(), !self.validators.contains(&whom));
        if grants {
            validators.insert(whom);
        } else {
            validators.remove(&whom);
        }
        let faulty = self.liars.iter().chain(&self.frail);
        let faulty = faulty.filter(|at| validators.contains(at)).count();
        let enough = validators.len() >= 4 && faulty * 3 < validators.len();
        if enough && !self.frail.contains(&at) && self.world.administer(at, whom, grants) {
            self.validators = validators;
        }
    }

    /// Something happens to a disk.
    fn wear(&mut self) {
        let pause = self.random.between(10_000, 3_000_000);
        let Some(&frail) = self.frail.first() else { return };
        match self.random.below(6) {
            0 => self.world.lose_disk(frail, pause),
            1 => self.world.restore_copy(frail, pause),
            2 => self.world.set_back(frail, pause),
            _ => self.world.copy_disk(frail),
        }
    }

    fn heal(&mut self) {
        self.world.cut.clear();
        self.world.lost_of = 0;
        self.world.heal_clocks();
        self.world.delay.1 = self.world.delay.1.min(50_000);
        // Everybody is up again after the longest pause.
        self.world.run_until(self.world.now + 7_000_000);
        for at in 0..self.world.members.len() {
            self.world.write(at);
        }
    }

    fn held_by_all(&self) -> Set {
        let mut all = Set::new();
        for (at, member) in self.world.members.iter().enumerate() {
            if self.world.is_honest(at) {
                ledger::add(&mut all, &member.disk.held);
            }
        }
        all
    }

    /// Whether every honest node has a checkpoint that holds all of a set.
    fn is_level(&self, must: &Set) -> bool {
        let honest = (0..self.world.members.len()).filter(|at| self.world.is_honest(*at));
        honest.map(|at| &self.world.members[at]).all(|member| {
            let tip =
                member.disk.kept.last().and_then(|kept| self.world.ledger.set_of(kept.parts.id()));
            tip.is_some_and(|tip| ledger::covers(tip, must))
        })
    }
}
