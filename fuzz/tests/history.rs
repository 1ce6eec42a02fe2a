//! What the generator promises, and laws that the model itself has to keep.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

use std::collections::{BTreeMap, BTreeSet};

use quipu_fuzz::{Dice, History, Model, ModelCut, Shape};
use quipu_merge::{Body, ParsedEvent};

const SHAPE: Shape = Shape { authors: 5, events: 60 };

fn generate(seed: u64) -> (History, Dice) {
    let mut dice = Dice::seeded(seed);
    (History::generate(&mut dice, SHAPE), dice)
}

#[test]
fn the_same_dice_make_the_same_history() {
    let bytes = (0..4000_u32).map(|i| (i * i / 7) as u8).collect::<Vec<u8>>();
    for make in [|_: &[u8]| Dice::seeded(3), |bytes: &[u8]| Dice::from_bytes(bytes)] {
        let ids = || {
            let history = History::generate(&mut make(&bytes), SHAPE);
            history.events().iter().map(|e| e.signed.id()).collect::<Vec<_>>()
        };
        assert_eq!(ids(), ids());
        assert!(ids().len() > 20);
    }
}

#[test]
fn any_bytes_make_a_history() {
    for len in [0, 1, 2, 10, 300] {
        for byte in [0, 1, 19, 127, 255] {
            let mut dice = Dice::from_bytes(&vec![byte; len]);
            let history = History::generate(&mut dice, SHAPE);
            assert!(!history.events().is_empty());
            history.model().dump(&history.cut(&mut dice), &history.certified(&mut dice));
            assert_eq!(history.shuffled(&mut dice).len(), history.events().len());
        }
    }
}

#[test]
fn most_attempts_survive_and_everything_happens() {
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut note = |what, happened: bool| *seen.entry(what).or_default() += usize::from(happened);
    let (mut kept, mut voided, seeds) = (0, 0, 40);
    for seed in 0..seeds {
        let (history, mut dice) = generate(seed);
        let model = history.model();
        let certified = history.certified(&mut dice);
        kept += history.events().len() - 1;
        let dump = model.dump(&ModelCut::All, &certified);
        let filled = |field: &str| dump[field].as_object().is_some_and(|map| !map.is_empty());
        for field in ["forks", "registers", "counters", "sets", "lists"] {
            note(field, filled(field));
        }
        let void = model.void(&ModelCut::All, &certified);
        voided += void.len();
        let revoked = |text: &serde_json::Value| text.to_string().contains("revoked");
        note("revoked", revoked(&dump["roles"]));
        note("void", !void.is_empty());
        note("void only because of certificates", void != model.void(&ModelCut::All, &[]));
        note("erased", !model.erased(&certified).is_empty());
        note("certified", certified.len() > 1);
        note("null", dump["registers"].to_string().contains("null"));
        note("bytes", dump["registers"].to_string().contains("bytes"));
        let times = history.events().iter().map(|e| e.signed.event().time);
        note("equal times", times.collect::<BTreeSet<_>>().len() < history.events().len());
        let merges = |body: &[u8]| Body::decode(body) == Ok(Body::Merge);
        note("merge", history.events().iter().any(|e| merges(&e.body)));
        let chains = history.events().iter().filter(|e| e.signed.event().seq.0 == 1);
        note("two first events", chains.count() > SHAPE.authors);
    }
    assert!(voided * 2 < kept, "{voided} of {kept} events are void");
    assert!(kept * 10 > seeds as usize * SHAPE.events * 7, "kept {kept}");
    for (what, count) in seen {
        assert!(count > 1, "{what} happens in {count} histories");
    }
}

#[test]
fn any_causal_order_means_the_same() {
    for seed in 100..115 {
        let (history, mut dice) = generate(seed);
        let certified = history.certified(&mut dice);
        let mut other = Model::new();
        for event in history.shuffled(&mut dice) {
            let parsed = ParsedEvent::decode(event.signed.bytes()).unwrap();
            assert_eq!(other.admit(&parsed.verify().unwrap(), &event.body), Ok(()));
            event.openings.iter().for_each(|(_, opening)| other.opening(opening));
        }
        for cut in [ModelCut::All, history.cut(&mut dice), history.cut(&mut dice)] {
            let (a, b) = (history.model(), &other);
            assert_eq!(a.dump(&cut, &certified), b.dump(&cut, &certified), "seed {seed}, {cut:?}");
        }
    }
}

/// Section 4: what is certified never changes; and without new certificates, events only ever
/// become void.
#[test]
fn verdicts_are_final_where_the_page_says_so() {
    for seed in 200..400 {
        let (history, mut dice) = generate(seed);
        let (model, certified) = (history.model(), history.certified(&mut dice));
        let all = model.void(&ModelCut::All, &certified);
        for heads in certified.iter().map(|heads| ModelCut::Heads(heads.clone())) {
            let within = model.order(&heads, &certified).into_iter().collect::<BTreeSet<_>>();
            let then = model.void(&heads, &certified);
            let now = all.intersection(&within).copied().collect::<BTreeSet<_>>();
            assert_eq!(then, now, "seed {seed}");
        }
        // A cut that holds every certified event, or any cut where none is.
        let grown = [certified.concat(), model.heads(&history.cut(&mut dice))].concat();
        for (cut, known) in
            [(ModelCut::Heads(grown), &certified[..]), (history.cut(&mut dice), &[])]
        {
            let before = model.void(&cut, known);
            let after = model.void(&ModelCut::All, known);
            assert!(before.is_subset(&after), "seed {seed}, {cut:?}");
        }
    }
}
