//! Dumps of one history by the fast code and by the model.

use std::collections::BTreeMap;

use quipu_fuzz::{History, Model, ModelCut};
use quipu_merge::{EventId, History as Fast, OpeningId, Shown, ValueRef};

use crate::fast::{certified, cut};

/// The openings that come with a history.
pub fn openings(history: &History) -> BTreeMap<OpeningId, Vec<u8>> {
    history.events().iter().flat_map(|event| event.openings.iter().cloned()).collect()
}

/// The dump of a cut by the fast code.
fn dump(
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
