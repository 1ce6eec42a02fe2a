//! What is kept up to date event by event must be what is computed from scratch.

#![expect(clippy::unwrap_used, reason = "a test that panics has done its work")]

mod cases;
mod fast;

use std::collections::{BTreeMap, BTreeSet};

use cases::on_each;
use fast::{certified, cut, deliver};
use quipu_fuzz::{Model, ModelCut};
use quipu_merge::{
    AuthorKey, CertifiedCuts, Cut, Dump, Effect, Entry, EventId, ForkPolicy, History as Fast,
    Overview, Place, Shown, State, UNCERTIFIED, ValueRef, Verdicts, View,
};

/// The verdicts over everything held, as a store keeps them that holds no certificate.
struct Kept {
    fast: Fast,
    verdicts: Verdicts,
    void: BTreeSet<EventId>,
}

impl Kept {
    fn judged(fast: &Fast) -> Verdicts {
        let tips = fast.frontier(&Cut::Everything).unwrap();
        Verdicts::new(fast.authority(), fast.lanes(), &|lane| tips.seq(lane), &CertifiedCuts::new())
    }

    /// Takes in one event; tells the authors whose earlier events may be judged otherwise now.
    fn take(&mut self, event: &quipu_fuzz::GeneratedEvent) -> BTreeSet<AuthorKey> {
        let author = event.signed.event().author;
        let (controls, lanes) =
            (self.fast.authority().events().len(), self.fast.lanes().of(author).len());
        self.fast.admit(&event.signed, &event.body).unwrap();
        let control = self.fast.authority().events().get(controls);
        let extended =
            control.is_none_or(|control| self.verdicts.extend(self.fast.lanes(), control));
        let forked = lanes > 0 && self.fast.lanes().of(author).len() > lanes;
        let excluded = forked && self.fast.authority().forks() == ForkPolicy::Exclude;
        if extended && !excluded {
            return BTreeSet::new();
        }
        let before = std::mem::replace(&mut self.verdicts, Self::judged(&self.fast));
        self.verdicts.changed_since(&before)
    }

    fn now_void(&self) -> BTreeSet<EventId> {
        let is_void = |entry: &Entry| {
            let subject = entry.subject(self.fast.authority());
            self.verdicts.is_void(self.fast.lanes(), &subject)
        };
        self.fast.iter().filter(|(_, entry)| is_void(entry)).map(|(id, _)| id).collect()
    }
}

#[test]
fn verdicts_grow_as_events_arrive() {
    on_each(20_000, 200, |case| {
        let order = case.history.shuffled(&mut case.dice);
        let fast = deliver(&order[..1]);
        let verdicts = Kept::judged(&fast);
        let mut kept = Kept { fast, verdicts, void: BTreeSet::new() };
        let mut model = Model::new();
        model.admit(&order[0].signed, &order[0].body).unwrap();
        for event in &order[1..] {
            let changed = kept.take(event);
            model.admit(&event.signed, &event.body).unwrap();
            let void = kept.now_void();
            assert_eq!(void, model.void(&ModelCut::All, &[]));
            let author = |id: EventId| kept.fast.get(id).unwrap().event.author;
            for &id in void.symmetric_difference(&kept.void).filter(|&&i| i != event.signed.id()) {
                assert!(changed.contains(&author(id)), "{id} changes unannounced");
            }
            assert!(!kept.verdicts.all_clear() || void.is_empty());
            for &id in &void {
                assert!(!kept.verdicts.is_clear(author(id)), "{id} is void");
            }
            for control in kept.fast.authority().events() {
                let is_void = void.contains(&control.id);
                assert_eq!(kept.verdicts.is_void_control(control.dot), is_void);
            }
            assert_eq!(kept.verdicts.roles(), Kept::judged(&kept.fast).roles());
            kept.void = void;
        }
    });
}

/// Whatever changes, more events or more certificates or both: who is not named keeps its verdicts.
#[test]
fn changes_of_verdicts_are_named() {
    on_each(21_000, 400, |case| {
        let fast = deliver(&case.history.shuffled(&mut case.dice));
        let known = certified(&case.history.certified(&mut case.dice));
        let small = cut(&case.history.cut(&mut case.dice));
        for (fewer, more) in (0..=known.len()).flat_map(|a| (a..=known.len()).map(move |b| (a, b)))
        {
            for small in [&small, &Cut::Everything] {
                let before = fast.view(small, &known[..fewer]).unwrap();
                let after = fast.view(&Cut::Everything, &known[..more]).unwrap();
                let changed = after.verdicts().changed_since(before.verdicts());
                for (id, entry) in fast.iter().filter(|(_, e)| before.frontier().covers(e.dot)) {
                    let same = before.is_void(entry) == after.is_void(entry);
                    assert!(same || changed.contains(&entry.event.author), "{id} unannounced");
                }
            }
        }
    });
}

#[test]
fn who_is_clear_has_no_void_events() {
    on_each(22_000, 300, |case| {
        let fast = deliver(&case.history.shuffled(&mut case.dice));
        let known = certified(&case.history.certified(&mut case.dice));
        let at = cut(&case.history.cut(&mut case.dice));
        for known in [&known[..], &[]] {
            let view = fast.view(&at, known).unwrap();
            let void = view.void();
            assert!(!view.verdicts().all_clear() || void.is_empty());
            for id in void {
                assert!(!view.verdicts().is_clear(fast.get(id).unwrap().event.author), "{id}");
            }
        }
    });
}

/// A state as a dump shows it; what is not folded stays out.
fn shown(ledger: EventId, state: &State) -> Dump {
    let overview = Overview {
        ledger,
        heads: Vec::new(),
        events: 0,
        version: BTreeMap::new(),
        forks: BTreeMap::new(),
        void: BTreeSet::new(),
        roles: BTreeMap::new(),
    };
    let mut show =
        |value: ValueRef| Shown::Bytes(format!("{} {}", value.author, value.opening).into_bytes());
    Dump::new(&overview, state, &mut show).unwrap()
}

fn apply(state: &mut State, view: &View<'_>, fast: &Fast, id: EventId) {
    let entry = fast.get(id).unwrap();
    if !view.is_void(entry) {
        let number = UNCERTIFIED;
        state.apply(&Effect {
            place: Place { number, time: entry.event.time, id },
            author: entry.event.author,
            dot: entry.dot,
            clock: &entry.clock,
            operations: entry.body.data(),
        });
    }
}

/// Which events are void is known beforehand here; the next test finds out as they come.
#[test]
fn folding_in_any_causal_order_gives_one_state() {
    on_each(23_000, 300, |case| {
        let fast = deliver(&case.history.shuffled(&mut case.dice));
        let view = fast.view(&Cut::Everything, &[]).unwrap();
        let want = shown(fast.authority().ledger(), &view.state());
        for _ in 0..3 {
            let mut state = State::new();
            for event in case.history.shuffled(&mut case.dice) {
                apply(&mut state, &view, &fast, event.signed.id());
            }
            assert_eq!(shown(fast.authority().ledger(), &state), want);
        }
    });
}

#[test]
fn folding_as_events_arrive_gives_the_state_of_each_moment() {
    let whole = std::cell::Cell::new(0);
    on_each(24_000, 150, |case| {
        let order = case.history.shuffled(&mut case.dice);
        let mut fast = deliver(&order[..1]);
        let mut state = State::new();
        for (done, event) in order.iter().enumerate() {
            fast.admit(&event.signed, &event.body).unwrap();
            let view = fast.view(&Cut::Everything, &[]).unwrap();
            if !view.void().is_empty() {
                return;
            }
            apply(&mut state, &view, &fast, event.signed.id());
            if done % 5 == 0 || done + 1 == order.len() {
                let want = shown(fast.authority().ledger(), &view.state());
                assert_eq!(shown(fast.authority().ledger(), &state), want);
            }
        }
        whole.set(whole.get() + 1);
    });
    assert!(whole.get() > 10, "only {} histories are without void events", whole.get());
}
