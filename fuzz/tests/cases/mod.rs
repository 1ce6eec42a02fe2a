//! Random histories by the hundred, held by the fast code and by the model.

use std::collections::BTreeMap;

use quipu_fuzz::{Dice, GeneratedEvent, History, Model, ModelCut, Shape};
use quipu_merge::{Cut, EventId, History as Fast, Micros, OpeningId, Shown, ValueRef};

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

/// The openings that come with a history.
pub fn openings(history: &History) -> BTreeMap<OpeningId, Vec<u8>> {
    history.events().iter().flat_map(|event| event.openings.iter().cloned()).collect()
}

/// The dump of a cut by the fast code.
pub fn dump(
    fast: &Fast,
    openings: &BTreeMap<OpeningId, Vec<u8>>,
    at: &ModelCut,
    cuts: &[Vec<EventId>],
) -> serde_json::Value {
    let erased = fast.erased(&certified(cuts)).unwrap();
    let view = fast.view(&cut(at), &certified(cuts)).unwrap();
    let mut show = |value: ValueRef| match openings.get(&value.opening) {
        Some(block) if !erased.contains(&(value.author, value.opening)) => Shown::of(value, block),
        _ => Shown::Nothing,
    };
    serde_json::to_value(view.dump(&mut show).unwrap()).unwrap()
}

/// Checks that the fast code and the model tell the same of a cut, field by field.
pub fn same_dump(
    fast: &Fast,
    history: (&Model, &BTreeMap<OpeningId, Vec<u8>>),
    at: &ModelCut,
    cuts: &[Vec<EventId>],
) {
    let (model, openings) = history;
    let (got, want) = (dump(fast, openings, at, cuts), model.dump(at, cuts));
    for (field, want) in want.as_object().unwrap() {
        assert_eq!(&got[field], want, "{field} at {at:?} with {cuts:?}");
    }
    assert_eq!(got.as_object().unwrap().len(), want.as_object().unwrap().len());
}
