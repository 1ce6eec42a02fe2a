//! Random histories by the hundred, held by the fast code and by the model.

use quipu_fuzz::{Dice, GeneratedEvent, History, ModelCut, Shape};
use quipu_merge::{Cut, EventId, History as Fast, Micros};

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
        let mut dice = Dice::seeded(seed);
        let shape = Shape { authors: 1 + dice.below(8), events: 1 + dice.below(70) };
        let history = History::generate(&mut dice, shape);
        check(&mut Case { seed, history, dice });
    }
}

/// The history in memory that has admitted these events one after the other.
pub fn deliver(events: &[&GeneratedEvent]) -> Fast {
    let (genesis, rest) = events.split_first().unwrap();
    let mut fast = Fast::new(&genesis.signed, &genesis.body).unwrap();
    for event in rest {
        fast.admit(&event.signed, &event.body).unwrap();
    }
    fast
}

/// The same cut in the words of the fast code.
pub fn cut(cut: &ModelCut) -> Cut {
    match cut {
        ModelCut::All => Cut::Everything,
        ModelCut::Heads(heads) => Cut::Heads(heads.clone()),
        ModelCut::Clock(limit) => Cut::Clock(limit.clone()),
        ModelCut::Time(limit) => Cut::Time(Micros(*limit)),
    }
}

/// The same certified cuts in the words of the fast code.
pub fn certified(cuts: &[Vec<EventId>]) -> Vec<Cut> {
    cuts.iter().cloned().map(Cut::Heads).collect()
}
