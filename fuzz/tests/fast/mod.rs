//! What the model and the generator say, in the words of the fast code.

use quipu_fuzz::{GeneratedEvent, ModelCut};
use quipu_merge::{Cut, EventId, History as Fast, Micros};

/// The history in memory that has admitted these events one after the other.
pub fn deliver(events: &[&GeneratedEvent]) -> Fast {
    let (genesis, rest) = events.split_first().unwrap();
    let mut fast = Fast::new(&genesis.signed, &genesis.body).unwrap();
    for event in rest {
        fast.admit(&event.signed, &event.body).unwrap();
    }
    fast
}

/// The same cut.
pub fn cut(cut: &ModelCut) -> Cut {
    match cut {
        ModelCut::All => Cut::Everything,
        ModelCut::Heads(heads) => Cut::Heads(heads.clone()),
        ModelCut::Clock(limit) => Cut::Clock(limit.clone()),
        ModelCut::Time(limit) => Cut::Time(Micros(*limit)),
    }
}

/// The same certified cuts.
pub fn certified(cuts: &[Vec<EventId>]) -> Vec<Cut> {
    cuts.iter().cloned().map(Cut::Heads).collect()
}
