//! The fast code against the model, over random histories that arrive in random orders.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has done its work"
)]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a test are small")]

mod cases;
mod dumps;
mod fast;

use std::collections::{BTreeMap, BTreeSet};

use cases::{Case, on_each};
use dumps::{openings, same_dump};
use fast::{certified, cut, deliver};
use quipu_fuzz::{Dice, GeneratedEvent, ModelCut};
use quipu_merge::{EventId, History as Fast, Lane, Reason};

/// Cuts of every kind, the empty one and odd ones among them.
fn cuts(case: &mut Case) -> Vec<ModelCut> {
    let Case { history, dice, .. } = case;
    let mut cuts = vec![ModelCut::All, ModelCut::Time(0), ModelCut::Heads(Vec::new())];
    cuts.extend((0..5).map(|_| history.cut(dice)));
    // A clock that is no event's, and names authors that have written nothing.
    let limit = history.authors().iter().map(|&author| (author, dice.below(9) as u64));
    cuts.push(ModelCut::Clock(limit.collect()));
    cuts
}

#[test]
fn dumps_agree_in_every_order_of_arrival() {
    on_each(1_000, 300, |case| {
        let blocks = openings(&case.history);
        let known = case.history.certified(&mut case.dice);
        for _ in 0..2 {
            let fast = deliver(&case.history.shuffled(&mut case.dice));
            for at in cuts(case) {
                for known in [&known[..], &[]] {
                    same_dump(&fast, (case.history.model(), &blocks), &at, known);
                }
            }
        }
    });
}

#[test]
fn single_questions_agree() {
    on_each(2_000, 300, same_answers);
}

/// Verdicts that let void grants of earlier certified cuts count while bad events are sought differ
/// from the model in this history, and in none of the 1,840 seeds before it.
#[test]
fn void_grants_of_earlier_cuts_give_nothing() {
    same_answers(&mut Case::new(3_840));
}

fn same_answers(case: &mut Case) {
    let known = case.history.certified(&mut case.dice);
    let fast = deliver(&case.history.shuffled(&mut case.dice));
    let all_cuts = cuts(case);
    let model = case.history.model();
    assert_eq!(fast.len(), case.history.events().len());
    let heads: Vec<_> = fast.heads().iter().copied().collect();
    assert_eq!(heads, model.heads(&ModelCut::All));
    for at in all_cuts {
        for known in [&known[..], &[]] {
            let view = fast.view(&cut(&at), &certified(known)).unwrap();
            let frontier = fast.frontier(&cut(&at)).unwrap();
            assert_eq!(&frontier, view.frontier());
            let order: Vec<_> = view.order().keys().map(|place| place.id).collect();
            assert_eq!(order, model.order(&at, known), "order at {at:?}");
            let held = fast.iter().filter(|(_, entry)| frontier.covers(entry.dot));
            let held: BTreeSet<_> = held.map(|(id, _)| id).collect();
            assert_eq!(held, order.into_iter().collect(), "events at {at:?}");
            let within = |lane: Lane| frontier.seq(lane);
            assert_eq!(fast.lanes().count(&within), held.len() as u64);
            assert_eq!(fast.lanes().forks(&within), model.forks(&at), "forks at {at:?}");
            assert_eq!(view.heads(), model.heads(&at));
            assert_eq!(view.void(), model.void(&at, known), "void at {at:?}");
            let roles = view.verdicts().roles().into_iter();
            let roles: BTreeMap<_, BTreeSet<_>> =
                roles.map(|(who, held)| (who, held.into_iter().collect())).collect();
            assert_eq!(roles, model.roles(&at, known), "roles at {at:?}");
            assert_eq!(view.verdicts().validators(), model.validators(&at, known));
        }
    }
    for known in [&known[..], &[]] {
        assert_eq!(fast.erased(&certified(known)).unwrap(), model.erased(known));
    }
}

#[test]
fn causality_is_that_of_ancestor_sets() {
    on_each(3_000, 300, |case| {
        let fast = deliver(&case.history.shuffled(&mut case.dice));
        let model = case.history.model();
        for (id, entry) in fast.iter() {
            let version = fast.lanes().version(&entry.clock);
            assert_eq!(version, model.clocks(id), "clock of {id}");
            let before = fast.iter().filter(|(a, e)| *a != id && entry.clock.covers(e.dot));
            let before: BTreeSet<EventId> = before.map(|(a, _)| a).collect();
            assert_eq!(before, model.ancestors(id), "ancestors of {id}");
            assert_eq!(fast.at(entry.dot), Some(id));
        }
    });
}

/// Where the lanes of one author leave each other, the chain of `prev` goes on.
#[test]
fn chains_are_those_of_prev() {
    on_each(4_000, 300, |case| {
        let fast = deliver(&case.history.shuffled(&mut case.dice));
        let within = |lane: Lane| {
            let last = fast.iter().filter(|(_, e)| e.dot.lane == lane).map(|(_, e)| e.seq().0);
            last.max().unwrap_or(0)
        };
        for (id, entry) in fast.iter() {
            let mut chain = vec![id];
            while let Some(prev) = fast.get(chain[chain.len() - 1]).unwrap().event.prev {
                chain.push(prev);
            }
            for (&on, seq) in chain.iter().rev().zip(1..) {
                let dot = fast.lanes().on_chain(entry.dot, quipu_merge::Seq(seq)).unwrap();
                assert_eq!(fast.at(dot), Some(on));
            }
            assert_eq!(fast.lanes().on_chain(entry.dot, quipu_merge::Seq(0)), None);
            assert_eq!(fast.lanes().on_chain(entry.dot, entry.seq().next()), None);
            // The first rival of each branch: every other rival follows one of them by `prev`.
            let author = entry.event.author;
            let named = fast.lanes().off_chain(author, entry.dot, &within);
            let named: BTreeSet<_> = named.filter_map(|dot| fast.at(dot)).collect();
            let rivals = fast.iter().filter(|(other, e)| {
                e.event.author == author && e.seq() <= entry.seq() && !chain.contains(other)
            });
            let first = rivals.filter(|(_, e)| {
                e.event.prev.is_none_or(|prev| {
                    chain.contains(&prev) || fast.get(prev).unwrap().dot.lane != e.dot.lane
                })
            });
            assert_eq!(named, first.map(|(other, _)| other).collect(), "rivals of {id}");
        }
    });
}

#[test]
fn what_comes_too_early_or_twice_changes_nothing() {
    on_each(5_000, 60, |case| {
        let order = case.history.shuffled(&mut case.dice);
        let (genesis, rest) = order.split_first().unwrap();
        let mut fast = Fast::new(&genesis.signed, &genesis.body).unwrap();
        for (done, event) in rest.iter().enumerate() {
            let other: &GeneratedEvent = case.dice.pick(&order).unwrap();
            let early = order.iter().position(|e| e.signed.id() == other.signed.id()) > Some(done);
            let before = fast.len();
            let needs = |id| fast.get(id).is_none();
            let missing = other.signed.event().follows().any(needs);
            if missing {
                let refusal = fast.admit(&other.signed, &other.body).unwrap_err();
                assert_eq!(refusal.reason, Reason::Missing);
                assert_eq!(fast.len(), before);
            } else if !early {
                let dot = fast.get(other.signed.id()).unwrap().dot;
                assert_eq!(fast.admit(&other.signed, &other.body), Ok(dot));
                assert_eq!(fast.len(), before);
            }
            fast.admit(&event.signed, &event.body).unwrap();
        }
        let all = (case.history.model(), &openings(&case.history));
        same_dump(&fast, all, &ModelCut::All, &[]);
    });
}

/// Histories that the bytes of a fuzzer make are small and odd.
#[test]
fn histories_from_bytes_agree() {
    for seed in 0..200_u64 {
        let mut source = Dice::seeded(seed);
        let bytes: Vec<_> = (0..source.below(400)).map(|_| source.below(256) as u8).collect();
        let mut dice = Dice::from_bytes(&bytes);
        let shape = quipu_fuzz::Shape { authors: 4, events: 40 };
        let history = quipu_fuzz::History::generate(&mut dice, shape);
        let fast = deliver(&history.shuffled(&mut dice));
        let known = history.certified(&mut dice);
        same_dump(&fast, (history.model(), &openings(&history)), &history.cut(&mut dice), &known);
    }
}
