//! Random histories by the hundred.

use quipu_fuzz::{Dice, History, Shape};

/// A random history with the dice that made it; a test that panics while it has one tells the
/// seed that repeats the failure.
pub struct Case {
    pub seed: u64,
    pub history: History,
    pub dice: Dice,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.seed);
        }
    }
}

/// Runs `check` on `count` histories, or as many as `QUIPU_LAW_CASES` says, from seed `first` on.
pub fn on_each(first: u64, count: u64, check: impl Fn(&mut Case)) {
    let wanted = std::env::var("QUIPU_LAW_CASES").ok();
    let count = wanted.map_or(count, |number| number.parse().unwrap());
    for seed in first..first + count {
        check(&mut Case::new(seed));
    }
}

impl Case {
    /// The history that this seed makes.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::seeded(seed);
        let shape = Shape { authors: 1 + dice.below(8), events: 1 + dice.below(70) };
        let history = History::generate(&mut dice, shape);
        Self { seed, history, dice }
    }
}
