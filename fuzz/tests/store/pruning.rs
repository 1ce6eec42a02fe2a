//! A pruned store beside one that is not: every answer is the same, or says that the value is
//! pruned, and all of it can come back.

use std::collections::BTreeSet;

use quipu_fuzz::{Dice, History, ModelCut, Shape};
use quipu_merge::{Cut, EventId};
use quipu_store::{KeyKind, Ledger, LogFilter, MergeOptions, PruneOptions, Snapshot, Value};

use crate::compare::{cuts, store_cut, verify};
use crate::files::{Archive, Place, import, merge, relaxed, seeds};

const REFILL: MergeOptions = MergeOptions { refill: true };

/// What is shown of a key: each value with its event.
type Values = Vec<(EventId, Value)>;

/// The values of a register, or of a list.
fn values(snapshot: &Snapshot<'_>, key: &str, kind: KeyKind) -> Values {
    let mut values = Vec::new();
    match kind {
        KeyKind::Register => {
            let writes = snapshot.register(key).unwrap().into_iter();
            values.extend(writes.map(|write| (write.event, write.value.unwrap())));
            let first = values.first().map(|(_, value)| value.clone());
            assert_eq!(snapshot.get(key).unwrap(), first);
        }
        _ => {
            let note = |element: quipu_store::Element| {
                values.push((element.event, element.value));
                true
            };
            snapshot.list(key, note).unwrap();
        }
    }
    values
}

fn keys(snapshot: &Snapshot<'_>) -> Vec<(String, Vec<KeyKind>)> {
    let mut keys = Vec::new();
    let note = |key: &str, kinds: &[KeyKind]| {
        keys.push((key.to_owned(), kinds.to_vec()));
        true
    };
    snapshot.keys("", note).unwrap();
    keys
}

/// Compares two stores at a cut. Tells how many values are pruned in the first.
fn compare(pruned: &Ledger, whole: &Ledger, cut: &Cut, what: &str) -> u64 {
    let (pruned, whole) = (pruned.at(cut).unwrap(), whole.at(cut).unwrap());
    let what = &format!("{what}, {cut:?}");
    assert_eq!(pruned.heads().unwrap(), whole.heads().unwrap(), "{what}");
    assert_eq!(keys(&pruned), keys(&whole), "{what}");
    let mut count = 0;
    for (key, kinds) in keys(&whole) {
        for kind in kinds.into_iter().filter(|k| matches!(k, KeyKind::Register | KeyKind::List)) {
            let (held, all) = (values(&pruned, &key, kind), values(&whole, &key, kind));
            assert_eq!(held.len(), all.len(), "{key:?} of {what}");
            for (held, all) in held.into_iter().zip(all) {
                assert_eq!(held.0, all.0, "{key:?} of {what}");
                // What has not come anywhere may be pruned as well.
                if held.1 == Value::Pruned && all.1 != Value::Erased {
                    count += 1;
                } else {
                    assert_eq!(held.1, all.1, "{key:?} of {what}");
                }
            }
        }
    }
    let mut told = 0;
    let note = &mut |value: &Value| told += u64::from(*value == Value::Pruned);
    let (held, mut all) = (pruned.dump_noting(&[], note).unwrap(), whole.dump(&[]).unwrap());
    assert_eq!(told, count, "{what}");
    assert_eq!(held.state_root, all.state_root, "{what}");
    if count > 0 {
        (all.registers, all.lists) = (held.registers.clone(), held.lists.clone());
    }
    assert_eq!(held, all, "{what}");
    let order = |snapshot: &Snapshot<'_>| {
        let log = snapshot.log(LogFilter::default()).unwrap();
        log.map(|event| event.map(|event| (event.id, event.void)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(order(&pruned), order(&whole), "{what}");
    count
}

fn prune(ledger: &Ledger, cut: &Cut, what: &str) -> u64 {
    let mut reports = [true, false]
        .into_iter()
        .map(|dry_run| ledger.prune(cut, PruneOptions { dry_run }, &mut |_, _| {}).unwrap());
    let report = reports.next().unwrap();
    assert_eq!(Some(&report), reports.next().as_ref(), "{what}");
    verify(ledger, what);
    report.values
}

/// Whatever no state from the cut on shows is gone.
fn check_gone(ledger: &Ledger, what: &str) {
    let now = ledger.snapshot().unwrap();
    let mut shown = BTreeSet::new();
    for (key, kinds) in keys(&now) {
        for kind in kinds.into_iter().filter(|k| matches!(k, KeyKind::Register | KeyKind::List)) {
            shown.extend(
                values(&now, &key, kind).into_iter().map(|(event, _)| (key.clone(), event)),
            );
        }
    }
    for event in now.log(LogFilter::default()).unwrap().map(Result::unwrap) {
        for (index, operation) in event.operations().iter().enumerate() {
            let Some(value) = event.value(&now, index).unwrap() else { continue };
            let is_shown = shown.contains(&(operation.key().to_string(), event.id));
            let gone = matches!(value, Value::Pruned | Value::Erased);
            assert!(is_shown || gone, "{what}: {} {index} is {value:?}", event.id);
        }
    }
}

#[test]
fn a_pruned_store_answers_as_another_or_says_so() {
    let (mut dropped, mut noticed) = (0, 0);
    for seed in seeds(0..40) {
        let what = &format!("seed {seed}");
        let mut dice = Dice::seeded(seed);
        let history = History::generate(&mut dice, Shape { authors: 5, events: 60 });
        let archive = Archive::new(&history, &mut dice);
        let place = Place::new();
        let (heads, early) = archive.some_events(&mut dice);
        let store = |name: &str, dice: &mut Dice| {
            let file = archive.car(&heads, &early, dice);
            relaxed().clone_file(place.path(name), file, &mut |_, _| {}).unwrap().0
        };
        let (pruned, whole) = (store("pruned", &mut dice), store("whole", &mut dice));
        let model = archive.model(&early);
        let some = cuts(&pruned, &model, &mut dice);
        let cut = dice.pick(&some).unwrap().clone();
        let mut later = model.heads(&cut);
        dropped += prune(&pruned, &store_cut(&cut), what);
        // From the cut on, nothing has changed.
        later.extend(model.heads(&ModelCut::All).into_iter().filter(|_| dice.chance(50)));
        for cut in [store_cut(&cut), Cut::Heads(later), Cut::Everything] {
            assert_eq!(compare(&pruned, &whole, &cut, what), 0, "{what}, {cut:?}");
        }
        for cut in cuts(&pruned, &model, &mut dice) {
            noticed += compare(&pruned, &whole, &store_cut(&cut), what);
        }
        // Whatever comes later, redacts and revokes among it.
        let all = history.events().iter().map(|event| event.signed.id()).collect();
        let heads = history.model().heads(&ModelCut::All);
        for ledger in [&pruned, &whole] {
            import(ledger, archive.car(&heads, &all, &mut dice)).unwrap();
            verify(ledger, what);
        }
        let model = archive.model(&all);
        let both = |dice: &mut Dice| {
            let cuts = cuts(&pruned, &model, dice).into_iter();
            cuts.map(|cut| compare(&pruned, &whole, &store_cut(&cut), what)).sum::<u64>()
        };
        noticed += both(&mut dice);
        if dice.chance(50) {
            dropped += prune(&pruned, &Cut::Everything, what);
            check_gone(&pruned, what);
            noticed += both(&mut dice);
        }
        let before = pruned.status().unwrap().pruned_values;
        merge(&whole, &pruned);
        merge(&pruned, &whole);
        assert_eq!(pruned.status().unwrap().pruned_values, before, "{what}");
        noticed += both(&mut dice);
        pruned.merge_with(&whole, REFILL, &mut |_, _| {}).unwrap();
        for ledger in [&pruned, &whole] {
            verify(ledger, what);
        }
        for cut in cuts(&pruned, &model, &mut dice) {
            compare_refilled(&pruned, &whole, &store_cut(&cut), what);
        }
    }
    assert!(dropped > 100 && noticed > 100, "{dropped} values pruned, {noticed} missed");
}

/// All that the other has as a whole is at hand.
fn compare_refilled(refilled: &Ledger, whole: &Ledger, cut: &Cut, what: &str) {
    compare(refilled, whole, cut, what);
    let (refilled, whole) = (refilled.at(cut).unwrap(), whole.at(cut).unwrap());
    for (key, kinds) in keys(&whole) {
        for kind in kinds.into_iter().filter(|k| matches!(k, KeyKind::Register | KeyKind::List)) {
            let all = values(&whole, &key, kind).into_iter();
            for (held, (_, value)) in values(&refilled, &key, kind).into_iter().zip(all) {
                let is_whole = match value {
                    Value::Long(link) => whole.missing_block(link).unwrap().is_none(),
                    Value::Missing => false,
                    _ => true,
                };
                assert!(!is_whole || held.1 == value, "{what}, {cut:?}: {held:?} of {key:?}");
            }
        }
    }
}
