//! Random histories, in files that overlap and come in any order.

use std::collections::BTreeSet;

use quipu_fuzz::{Dice, History, Shape};
use quipu_merge::EventId;
use quipu_store::Ledger;

use crate::compare::{check, cuts};
use crate::files::{Archive, Place, import, relaxed};

/// Takes the files of a random history into a store and compares it with the model on the way.
fn run(seed: u64, shape: Shape) {
    let mut dice = Dice::seeded(seed);
    let history = History::generate(&mut dice, shape);
    let archive = Archive::new(&history, &mut dice);
    let place = Place::new();
    let dir = place.path("store");
    let (heads, mut held) = archive.some_events(&mut dice);
    let file = archive.car(&heads, &held, &mut dice);
    let (mut ledger, report) = relaxed().clone_file(&dir, file, &mut |_, _| {}).unwrap();
    assert_eq!(report.new_events, held.len() as u64, "seed {seed}");
    let all = history.events().iter().map(|event| event.signed.id()).collect::<BTreeSet<_>>();
    for step in 0.. {
        let model = archive.model(&held);
        let what = format!("seed {seed}, step {step}");
        check(&ledger, &model, &cuts(&ledger, &model, &mut dice), &what);
        if dice.chance(40) {
            drop(ledger);
            ledger = relaxed().open(&dir).unwrap();
            check(&ledger, &model, &cuts(&ledger, &model, &mut dice), &format!("{what}, reopened"));
        }
        if held == all {
            break;
        }
        let (heads, events) = match step {
            6 => (history.model().heads(&quipu_fuzz::ModelCut::All), all.clone()),
            _ => archive.some_events(&mut dice),
        };
        let new = take_in(&ledger, &archive, (&heads, &events), &held, &mut dice);
        held.extend(events);
        assert_eq!(
            new,
            held.len() as u64 - model.order(&quipu_fuzz::ModelCut::All, &[]).len() as u64,
            "{what}"
        );
    }
}

/// Imports a file of these events, perhaps without those that are held already.
fn take_in(
    ledger: &Ledger,
    archive: &Archive<'_>,
    (heads, events): (&[EventId], &BTreeSet<EventId>),
    held: &BTreeSet<EventId>,
    dice: &mut Dice,
) -> u64 {
    let mut inside = events.clone();
    if dice.chance(50) {
        inside.retain(|id| !held.contains(id));
    }
    let report = import(ledger, archive.car(heads, &inside, dice)).unwrap();
    assert!(report.waiting.is_empty());
    report.new_events
}

#[test]
fn small_histories() {
    for seed in 0..60 {
        run(seed, Shape { authors: 4, events: 25 });
    }
}

#[test]
fn large_histories() {
    for seed in 1000..1020 {
        run(seed, Shape { authors: 6, events: 80 });
    }
}
