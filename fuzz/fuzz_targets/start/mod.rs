//! Honest start files of small ledgers, and what is held against a file that somebody has made of them.

mod judge;
mod reading;
mod world;

pub use judge::judge;
pub use world::World;

/// The ledgers, by the seeds of their histories: together they have every kind of frame and item, an author
/// that forks, validators that change, conflicts, and void redacts.
const SEEDS: [u64; 3] = [315, 306, 265];

/// The ledgers that files are forged of.
pub fn worlds() -> Vec<World> {
    SEEDS.into_iter().filter_map(World::new).collect()
}
