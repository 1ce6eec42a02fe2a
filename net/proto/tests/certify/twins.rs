//! More dishonest validators than are tolerated: the honest ones end up with proof.

use std::collections::BTreeSet;

use quipu_merge::{Certificate, quorum};

use super::keys;
use super::random::Random;
use super::scenario::quick;
use super::world::World;

/// A world in which as few validators as it takes lead a double life, once with each half of the honest.
struct Twins {
    world: World,
    twins: BTreeSet<usize>,
    sides: [Vec<usize>; 2],
}

impl Twins {
    fn new(seed: u64, validators: usize) -> Self {
        let mut random = Random::new(seed ^ 0x0711);
        let mut world = World::new(seed, validators, 0, quick());
        world.delay.1 = random.between(2_000, 60_000);
        world.run_until(3_000_000);
        world.write(0);
        world.run_until(6_000_000);
        assert!(world.members.iter().all(|member| member.height() == 2), "{}", world.statuses());
        let mut places: Vec<_> = (0..validators).collect();
        for at in (1..validators).rev() {
            places.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
        }
        // Both sides have a quorum with them.
        let twins = places.split_off(validators - (2 * quorum(validators) - validators));
        let other = places.split_off(places.len() / 2);
        twins.iter().for_each(|twin| world.add_twin(*twin));
        Self { world, twins: twins.into_iter().collect(), sides: [places, other] }
    }

    /// Each side writes and certifies on its own, with one life of each twin.
    fn part(&mut self) {
        let (validators, all) =
            (self.world.ledger.genesis.validators.len(), self.world.members.len());
        let first: Vec<_> = self.sides[0].iter().chain(&self.twins).copied().collect();
        let second: Vec<_> = self.sides[1].iter().copied().chain(validators..all).collect();
        for one in &first {
            for other in &second {
                self.world.cut.extend([(*one, *other), (*other, *one)]);
            }
        }
        self.world.run_until(10_000_000);
        for side in &self.sides {
            self.world.write(side[0]);
        }
        self.world.run_until(25_000_000);
    }

    /// Those with two lives are gone, and the others meet.
    fn meet(&mut self) {
        self.world.cut.clear();
        let all = 0..self.world.members.len();
        let gone = |at: &usize| self.twins.contains(&self.world.members[*at].key);
        for twin in all.clone().filter(gone) {
            self.world.cut.extend(all.clone().flat_map(|other| [(twin, other), (other, twin)]));
        }
        self.world.run_until(65_000_000);
    }

    /// The certificate of a height that a side has.
    fn certificate(&self, side: usize, height: usize) -> &Certificate {
        &self.world.members[self.sides[side][0]].disk.kept[height - 1].certificate
    }
}

#[test]
fn two_histories_end_in_evidence() {
    let mut proven = 0;
    for (seed, validators) in (1..=100).flat_map(|seed| (4..=7).map(move |all| (seed, all))) {
        let mut twins = Twins::new(seed, validators);
        twins.part();
        let honest: BTreeSet<_> = twins.sides.concat().into_iter().collect();
        let world = &twins.world;
        let context = format!("seed {seed}, {validators} validators: {}", world.statuses());
        assert!(honest.iter().all(|at| world.members[*at].height() >= 3), "{context}");
        let [one, other] = [0, 1].map(|side| twins.certificate(side, 3).clone());
        assert_ne!(one.checkpoint, other.checkpoint, "{context}");
        twins.meet();
        let world = &twins.world;
        assert_eq!(world.wrong, None, "{context}");
        assert_eq!(world.diverged, honest, "{context}");
        let guilty: BTreeSet<_> =
            world.evidence.iter().map(|one| keys::number(one.validator())).collect();
        if one.round == other.round {
            // Each side's quorum of that round has them in it.
            assert_eq!(guilty, twins.twins, "{context}");
            proven += 1;
        } else {
            assert!(guilty.is_subset(&twins.twins), "{context}");
        }
    }
    assert!(proven > 100, "{proven}");
}
