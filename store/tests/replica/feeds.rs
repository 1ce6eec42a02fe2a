//! Frontiers, plans and feeds against the model.

use std::collections::BTreeSet;

use quipu_merge::EventId;
use quipu_store::{Branches, Durability, Feed, Ledger, Options, Value, Want};

use crate::history::{Dice, History, Known, create, empty_clone, id_of, key, sign};
use crate::support::values;

/// What a feed is to send, by the model: in its order, as far as that is given.
fn expected(history: &History, wants: &[Want]) -> BTreeSet<EventId> {
    let mut chosen = BTreeSet::new();
    for want in wants {
        let chains = |ids: &mut dyn Iterator<Item = EventId>| {
            ids.flat_map(|id| history.chain(id)).collect::<BTreeSet<_>>()
        };
        let held = chains(&mut want.held.iter().map(|(_, id)| *id));
        chosen.extend(chains(&mut want.up_to.iter().copied()).difference(&held));
    }
    chosen
}

fn random_wants(whole: &History, dice: &mut Dice) -> Vec<Want> {
    let mut wants = Vec::new();
    for _ in 0..dice.below(6) + 1 {
        let author = whole.events[&whole.order[dice.below(whole.order.len())]].author;
        let own: Vec<&Known> = whole.events.values().filter(|e| e.author == author).collect();
        let some = |dice: &mut Dice, count: usize| {
            (0..count).map(|_| own[dice.below(own.len())].clone()).collect::<Vec<_>>()
        };
        let up_to = dice.below(4) + 1;
        let up_to = some(dice, up_to).iter().map(|event| event.id).collect();
        let held = dice.below(4);
        let held = some(dice, held).iter().map(|event| (event.seq, event.id)).collect();
        wants.push(Want { up_to, held });
    }
    wants
}

/// Reads a feed to its end; `between` comes between portions.
fn drain(
    ledger: &Ledger,
    feed: &mut Feed,
    max_len: usize,
    mut between: impl FnMut(),
) -> Vec<EventId> {
    let mut sent = Vec::new();
    loop {
        let portion = feed.read(ledger, max_len).unwrap();
        let len: usize = portion.events.iter().map(quipu_store::Incoming::len).sum();
        assert!(len <= max_len || portion.events.len() == 1, "{len} bytes");
        assert!(portion.last || !portion.events.is_empty());
        sent.extend(portion.events.iter().map(id_of));
        assert_eq!(portion.last, feed.left() == 0);
        if portion.last {
            return sent;
        }
        between();
    }
}

fn assert_causal(history: &History, sent: &[EventId]) {
    let all: BTreeSet<_> = sent.iter().collect();
    assert_eq!(all.len(), sent.len(), "one was sent twice");
    let mut seen = BTreeSet::new();
    for id in sent {
        let follows = history.events[id].follows.iter();
        assert!(follows.filter(|id| all.contains(id)).all(|id| seen.contains(id)));
        seen.insert(*id);
    }
}

#[test]
fn frontiers_and_feeds_are_as_the_model_says() {
    let place = tempfile::tempdir().unwrap();
    for seed in 0..60 {
        let mut dice = Dice::new(seed + 1);
        let ledger = create(&place.path().join(seed.to_string()));
        let (authors, events) = (u8::try_from(dice.below(6)).unwrap() + 1, dice.below(250) + 20);
        let whole = History::random(&ledger, &mut dice, authors, events);
        let held = whole.part(&mut dice);
        held.admit_to(&ledger);
        assert_eq!(ledger.frontier().unwrap(), held.frontier(), "seed {seed}");
        let mut rest: Vec<_> =
            whole.order.iter().copied().filter(|id| !held.events.contains_key(id)).collect();
        for _ in 0..8 {
            let held = whole.closure(
                whole
                    .order
                    .iter()
                    .copied()
                    .filter(|id| !ledger.missing_events(&[*id]).unwrap().contains(id)),
            );
            let wants = random_wants(&whole, &mut dice);
            let mut feed = ledger.feed(&wants).unwrap();
            let expected = expected(&held, &wants);
            assert_eq!(feed.left(), expected.len() as u64);
            let max_len = [0, 1_000, 4_000, 1 << 20][dice.below(4)];
            let sent = drain(&ledger, &mut feed, max_len, || {
                // Others come meanwhile.
                let next: Vec<_> = rest.drain(..rest.len().min(3)).collect();
                ledger.admit(whole.incoming(&next)).unwrap();
            });
            assert_causal(&whole, &sent);
            assert_eq!(sent.into_iter().collect::<BTreeSet<_>>(), expected, "seed {seed}");
        }
    }
}

/// The held events that a plan names, by the model.
fn landmarks(history: &History, tips: &[(quipu_merge::Seq, EventId)]) -> BTreeSet<EventId> {
    let mut named = BTreeSet::new();
    for (_, tip) in tips {
        let chain = history.chain(*tip);
        let steps = (0..64).step_by(4).map(|step| (1_usize << step) - 1);
        named.extend(steps.map_while(|back| chain.get(back)));
        named.extend(chain.last());
    }
    named
}

#[test]
fn plans_are_as_the_model_says() {
    let place = tempfile::tempdir().unwrap();
    for seed in 0..60 {
        let mut dice = Dice::new(seed + 1000);
        let ledger = create(&place.path().join(seed.to_string()));
        let whole = History::random(&ledger, &mut dice, 4, 150);
        let (held, other) = (whole.part(&mut dice), whole.part(&mut dice));
        held.admit_to(&ledger);
        // Some wait for what is missing: they do not count.
        let mut waiting: Vec<_> = other.order.clone();
        waiting.retain(|_| dice.one_in(6));
        let report = ledger.admit(other.incoming(&waiting)).unwrap();
        let held = held.order.iter().copied().chain(report.new.iter().map(|new| new.id));
        let held = whole.closure(held.collect::<Vec<_>>());
        let mut wants = Vec::new();
        for Branches { author, tips } in other.frontier() {
            let up_to: Vec<_> =
                tips.iter().map(|(_, id)| *id).filter(|id| !held.events.contains_key(id)).collect();
            if !up_to.is_empty() {
                let own = held.frontier().into_iter().find(|own| own.author == author);
                let own = landmarks(&held, &own.map_or(Vec::new(), |own| own.tips));
                let mut own: Vec<_> =
                    own.into_iter().map(|id| (held.events[&id].seq, id)).collect();
                own.sort_unstable();
                wants.push(Want { up_to, held: own });
            }
        }
        assert_eq!(ledger.plan(&other.frontier()).unwrap(), wants, "seed {seed}");
    }
}

/// A small feed from an old, large history reads no more than it sends; a large one reads on.
#[test]
fn feeds_find_few_events_among_many() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("store"));
    let first = crate::history::genesis(&ledger);
    let mut history = History::default();
    history.insert(first.clone());
    let mut chain = |author: u8, start: u64, step: u64, count: u64| {
        let mut last = None;
        for n in 0..count {
            let parents = if n == 0 { vec![first.id] } else { Vec::new() };
            let time = first.time + start + n * step;
            let event = sign(&key(author), last.as_ref(), &parents, time, &[vec![author]]);
            last = Some(event.clone());
            history.insert(event);
        }
        last.unwrap()
    };
    let sparse = chain(1, 1, 300, 20);
    let dense = chain(2, 2, 1, 6_000);
    let mut order = history.order.clone();
    order.sort_unstable_by_key(|id| history.events[id].time);
    history.order = order;
    history.admit_to(&ledger);
    for tips in [vec![sparse.id], vec![dense.id], vec![sparse.id, dense.id]] {
        let wants: Vec<_> =
            tips.iter().map(|id| Want { up_to: vec![*id], held: Vec::new() }).collect();
        let sent = drain(&ledger, &mut ledger.feed(&wants).unwrap(), 256 << 10, || {});
        assert_causal(&history, &sent);
        let times: Vec<_> = sent.iter().map(|id| history.events[id].time).collect();
        assert!(times.is_sorted());
        assert_eq!(sent.into_iter().collect::<BTreeSet<_>>(), expected(&history, &wants));
    }
}

#[test]
fn erased_and_too_many_values_are_left_out() {
    let place = tempfile::tempdir().unwrap();
    let options = Options::new().durability(Durability::Relaxed);
    let ledger =
        options.create(place.path().join("a"), &quipu_store::NewLedger::default()).unwrap();
    let secret = values::put(&ledger, "secret", b"to be erased");
    let mut transaction = ledger.transaction();
    for n in 0..100 {
        transaction.put(&format!("large/{n}"), &values::noise(n, 4_000)).unwrap();
    }
    let large = transaction.commit().unwrap().event;
    let everything = Want { up_to: ledger.snapshot().unwrap().heads().unwrap(), ..Want::default() };
    let mut feed = ledger.feed(&[everything]).unwrap();
    assert_eq!(feed.read(&ledger, 0).unwrap().events.len(), 1);
    // Between two portions.
    ledger.redact(secret).unwrap();
    let events = feed.read(&ledger, usize::MAX).unwrap().events;
    assert_eq!(events.iter().map(id_of).collect::<Vec<_>>(), [secret, large]);
    assert!(events[0].openings.is_empty());
    let len: usize = events[1].openings.iter().map(|(_, opening)| opening.len()).sum();
    assert!((200 << 10..=quipu_store::MAX_OPENINGS_LEN).contains(&len), "{len} bytes");
    let replica = empty_clone(&ledger, &place.path().join("b"));
    assert_eq!(replica.admit(events).unwrap().new.len(), 2);
    let left_out = 100 - replica.events(&[large], usize::MAX).unwrap()[0].openings.len() as u64;
    assert_eq!(replica.count_missing().unwrap(), left_out + 1);
    assert_eq!(replica.get("large/99").unwrap(), Some(Value::Missing));
    assert!(replica.events(&[large], 1_000).unwrap().is_empty());
}
