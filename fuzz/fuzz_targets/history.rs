//! Random histories, delivered in another order: the fast code comes to what the model comes to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quipu_fuzz::{Dice, History, ModelCut, Shape};
use quipu_merge::{Cut, History as Fast, Shown};

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Dice::from_bytes(bytes);
    let history = History::generate(&mut dice, Shape { authors: 4, events: 24 });
    let certified = history.certified(&mut dice);
    let order = history.shuffled(&mut dice);
    let Some((first, rest)) = order.split_first() else { return };
    let mut fast = Fast::new(&first.signed, &first.body).expect("the model admitted it");
    for event in rest {
        fast.admit(&event.signed, &event.body).expect("the model admitted it");
    }
    let cuts: Vec<_> = certified.iter().cloned().map(Cut::Heads).collect();
    let view = fast.view(&Cut::Everything, &cuts).expect("certified cuts are held");
    let erased = fast.erased(&cuts).expect("certified cuts are held");
    let openings: std::collections::BTreeMap<_, _> =
        history.events().iter().flat_map(|event| event.openings.iter().cloned()).collect();
    let dump = view.dump(&mut |value| {
        if erased.contains(&(value.author, value.opening)) {
            return Shown::Nothing;
        }
        openings.get(&value.opening).map_or(Shown::Nothing, |bytes| Shown::of(value, bytes))
    });
    let dump = serde_json::to_value(dump.expect("a tree of a small state")).expect("plain data");
    assert_eq!(dump, history.model().dump(&ModelCut::All, &certified));
});
