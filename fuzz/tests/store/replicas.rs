//! Replicas that write, fork, merge and exchange files, and what they agree on in the end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use quipu_fuzz::{Dice, History, Model, ModelCut, Shape};
use quipu_merge::{
    AuthorKey, BlockId, CarReader, Cut, EventId, ForkPolicy, ParsedEvent, Policy, Role,
};
use quipu_store::{Ledger, NewLedger, WriteError};
use serde_json::{Value, json};

use crate::compare::{check, check_indexes, cuts, store_cut};
use crate::files::{Archive, Place, copy_dir, file_of, import, merge, relaxed};

const KEYS: [&str; 4] = ["a", "b", "k/0", "k/1"];
const MEMBERS: [&[u8]; 3] = [b"", b"x", b"\xff"];

fn dump(ledger: &Ledger, cut: &Cut) -> Value {
    json!(ledger.at(cut).unwrap().dump(&[]).unwrap())
}

/// Every event that a store holds, given to the model.
fn model_of(ledger: &Ledger) -> Model {
    let mut bytes = Vec::new();
    ledger.export(&mut bytes, &Cut::Everything, None, &mut |_, _| {}).unwrap();
    let mut blocks = BTreeMap::<BlockId, Vec<u8>>::new();
    let mut events = BTreeMap::new();
    let car = CarReader::new(bytes.as_slice()).unwrap();
    for block in car.map(Result::unwrap) {
        if let Ok(event) = ParsedEvent::decode(&block.bytes) {
            events.insert((event.event().time, event.id()), event.verify().unwrap());
        }
        blocks.insert(block.id, block.bytes);
    }
    let mut model = Model::new();
    for event in events.into_values() {
        let admitted = model.admit(&event, &blocks[&event.event().body.block()]);
        assert_eq!(admitted, Ok(()), "{}", event.id());
    }
    blocks.values().for_each(|block| model.opening(block));
    model
}

#[test]
fn any_order_of_merging_means_the_same() {
    for seed in 0..20 {
        let mut dice = Dice::seeded(seed);
        let history = History::generate(&mut dice, Shape { authors: 5, events: 50 });
        let archive = Archive::new(&history, &mut dice);
        let place = Place::new();
        let all = history.events().iter().map(|event| event.signed.id()).collect();
        let stores = (0..3).map(|number| {
            let (heads, events) = archive.some_events(&mut dice);
            let file = archive.car(&heads, &events, &mut dice);
            let dir = place.path(&number.to_string());
            relaxed().clone_file(dir, file, &mut |_, _| {}).unwrap().0
        });
        let stores = stores.collect::<Vec<Ledger>>();
        let heads = history.model().heads(&ModelCut::All);
        import(&stores[dice.below(3)], archive.car(&heads, &all, &mut dice)).unwrap();
        for _ in 0..4 {
            let (to, from) = (dice.below(3), dice.below(3));
            merge_twice(&stores[to], &stores[from]);
        }
        for (to, from) in [(0, 1), (0, 2), (1, 0), (2, 1), (1, 2)] {
            merge_twice(&stores[to], &stores[from]);
        }
        let model = archive.model(&all);
        for (number, store) in stores.iter().enumerate() {
            let cuts = cuts(store, &model, &mut dice);
            check(store, &model, &cuts, &format!("seed {seed}, store {number}"));
        }
    }
}

/// Merges and looks whether merging again is of no effect.
fn merge_twice(to: &Ledger, from: &Ledger) {
    let preview = to.merge_preview(from).unwrap().new_events;
    assert_eq!(merge(to, from).new_events, preview);
    let before = dump(to, &Cut::Everything);
    let again = merge(to, from);
    assert_eq!((again.new_events, again.new_void, again.adopted), (0, 0, 0));
    assert!(again.new_conflicts.is_empty() && again.new_forks.is_empty());
    assert_eq!(dump(to, &Cut::Everything), before);
}

#[test]
fn a_file_of_a_cut_is_that_cut() {
    for seed in 50..65 {
        let mut dice = Dice::seeded(seed);
        let history = History::generate(&mut dice, Shape { authors: 4, events: 40 });
        let archive = Archive::new(&history, &mut dice);
        let all = history.events().iter().map(|event| event.signed.id()).collect();
        let (model, place) = (archive.model(&all), Place::new());
        let file = archive.car(&model.heads(&ModelCut::All), &all, &mut dice);
        let (source, _) = relaxed().clone_file(place.path("source"), file, &mut |_, _| {}).unwrap();
        for (number, cut) in cuts(&source, &model, &mut dice).into_iter().enumerate() {
            let order = model.order(&cut, &[]);
            let Some(&since) = dice.pick(&order) else { continue };
            let (cut, since) = (store_cut(&cut), Cut::Heads(vec![since]));
            let what = format!("seed {seed}, {cut:?} since {since:?}");
            let export = |cut: &Cut, since: Option<&Cut>| {
                let mut bytes = Vec::new();
                let report = source.export(&mut bytes, cut, since, &mut |_, _| {}).unwrap();
                (file_of(&bytes), report.events)
            };
            let want = dump(&source, &cut);
            let dir = |name: &str| place.path(&format!("{name}-{number}"));
            let (whole, events) = export(&cut, None);
            let (clone, report) =
                relaxed().clone_file(dir("whole"), whole, &mut |_, _| {}).unwrap();
            assert_eq!((report.new_events, events), (order.len() as u64, order.len() as u64));
            assert_eq!(dump(&clone, &Cut::Everything), want, "{what}");
            let (begin, _) = export(&since, None);
            let (parts, report) =
                relaxed().clone_file(dir("parts"), begin, &mut |_, _| {}).unwrap();
            assert_eq!(dump(&parts, &Cut::Everything), dump(&source, &since), "{what}");
            let (rest, left) = export(&cut, Some(&since));
            assert_eq!(left + report.new_events, events, "{what}");
            assert_eq!(import(&parts, rest).unwrap().new_events, left, "{what}");
            assert_eq!(dump(&parts, &Cut::Everything), want, "{what}");
            let copy = relaxed().clone_ledger(dir("copy"), &source, &cut, &mut |_, _| {});
            let copy = copy.unwrap().0;
            assert_eq!(dump(&copy, &Cut::Everything), want, "{what}");
            check_indexes(&copy.snapshot().unwrap(), &want, true, &what);
        }
    }
}

/// Replicas with keys of their own that write at random.
struct Crowd {
    place: Place,
    stores: Vec<(PathBuf, Ledger)>,
    dice: Dice,
    revokes: bool,
    redacts: bool,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::seeded(seed);
        let place = Place::new();
        let policy = if dice.chance(50) { Policy::Open } else { Policy::Members };
        let forks = if dice.chance(50) { ForkPolicy::Exclude } else { ForkPolicy::Keep };
        let validators = dice.chance(30).then(Vec::new);
        let new = NewLedger { policy, forks, validators, ..NewLedger::default() };
        let dir = place.path("0");
        let first = relaxed().create(&dir, &new).unwrap();
        let mut stores = vec![(dir, first)];
        for number in 1..3 {
            let dir = place.path(&number.to_string());
            let source = &stores[0].1;
            let clone = relaxed().clone_ledger(&dir, source, &Cut::Everything, &mut |_, _| {});
            stores.push((dir, clone.unwrap().0));
        }
        for at in 1..3 {
            let author = stores[at].1.author();
            let role = if dice.chance(50) { Role::Admin } else { Role::Writer };
            stores[0].1.grant(author, role).unwrap();
        }
        let (revokes, redacts) = [(true, false), (false, true), (true, true)][dice.below(3)];
        Self { place, stores, dice, revokes, redacts }
    }

    fn step(&mut self) {
        let at = self.dice.below(self.stores.len());
        let from = self.dice.below(self.stores.len());
        match self.dice.below(20) {
            0..9 => self.write(at),
            9..12 => self.control(at),
            12..17 => {
                merge_twice(&self.stores[at].1, &self.stores[from].1);
            }
            17 => {
                let (dir, ledger) = self.stores.swap_remove(at);
                drop(ledger);
                self.stores.push((dir.clone(), relaxed().open(dir).unwrap()));
            }
            18 => allow(self.stores[at].1.tie().map(|_| ())),
            _ if self.stores.len() < 5 => self.fork(at),
            _ => {}
        }
    }

    fn write(&mut self, at: usize) {
        let dice = &mut self.dice;
        let mut transaction = self.stores[at].1.transaction();
        for _ in 0..=dice.below(4) {
            let (key, member) = (*dice.pick(&KEYS).unwrap(), *dice.pick(&MEMBERS).unwrap());
            match dice.below(8) {
                0 | 1 => transaction.put(key, member),
                2 => transaction.put(key, &[b'v'; 300]),
                3 => transaction.del(key),
                4 => transaction.inc(key, dice.below(5) as i64 - 7),
                5 => transaction.add(key, member),
                6 => transaction.rem(key, member),
                _ => transaction.append(key, member),
            }
            .unwrap();
        }
        allow(transaction.commit().map(|_| ()));
    }

    fn control(&mut self, at: usize) {
        let dice = &mut self.dice;
        let (_, target) = &self.stores[dice.below(self.stores.len())];
        let target: AuthorKey = target.author();
        let ledger = &self.stores[at].1;
        let result = match dice.below(4) {
            0 if self.revokes => ledger.revoke(target),
            1 | 2 if self.redacts => {
                let log = ledger.snapshot().unwrap();
                let log = log.log(quipu_store::LogFilter::default()).unwrap();
                let events = log.map(|event| event.unwrap().id).collect::<Vec<EventId>>();
                ledger.redact(*dice.pick(&events).unwrap())
            }
            _ => ledger.grant(target, *dice.pick(&[Role::Writer, Role::Admin]).unwrap()),
        };
        allow(result.map(|_| ()));
    }

    /// Copies a store, as restoring a backup beside it would.
    fn fork(&mut self, at: usize) {
        let (dir, ledger) = self.stores.swap_remove(at);
        let was_copied = ledger.is_copied();
        drop(ledger);
        let copy = self.place.path(&format!("copy-{}", self.stores.len()));
        copy_dir(&dir, &copy);
        let copied = relaxed().open(&copy).unwrap();
        assert!(copied.is_copied());
        if self.dice.chance(70) {
            copied.keep_place().unwrap();
        }
        self.stores.push((copy, copied));
        let ledger = relaxed().open(&dir).unwrap();
        assert_eq!(ledger.is_copied(), was_copied);
        self.stores.push((dir, ledger));
    }

    /// Which values are at hand depends on the order of things once a redact has become void.
    fn comparable(&self, mut dump: Value) -> Value {
        if self.revokes && self.redacts {
            let registers = dump["registers"].as_object_mut().unwrap().values_mut();
            let writes = registers.flat_map(|writes| writes.as_array_mut().unwrap());
            writes.for_each(|write| write["value"] = Value::Null);
            let lists = dump["lists"].as_object_mut().unwrap().values_mut();
            lists.for_each(|list| list.as_array_mut().unwrap().fill(Value::Null));
        }
        dump
    }

    fn agree(&mut self, what: &str) {
        for _ in 0..2 {
            for (to, from) in (0..self.stores.len()).zip(1..self.stores.len()) {
                merge(&self.stores[to].1, &self.stores[from].1);
                merge(&self.stores[from].1, &self.stores[to].1);
            }
        }
        let last = self.stores.len() - 1;
        merge(&self.stores[0].1, &self.stores[last].1);
        for at in 0..last {
            merge(&self.stores[at + 1].1, &self.stores[at].1);
        }
        let model = model_of(&self.stores[0].1);
        for (number, (_, ledger)) in self.stores.iter().enumerate() {
            let what = format!("{what}, store {number}");
            for cut in cuts(ledger, &model, &mut self.dice) {
                let own = dump(ledger, &store_cut(&cut));
                let want = self.comparable(model.dump(&cut, &[]));
                assert_eq!(self.comparable(own.clone()), want, "{what}, {cut:?}");
                let snapshot = ledger.at(&store_cut(&cut)).unwrap();
                check_indexes(&snapshot, &own, cut == ModelCut::All, &format!("{what}, {cut:?}"));
            }
            if !(self.revokes && self.redacts) {
                check(ledger, &model, &cuts(ledger, &model, &mut self.dice), &what);
            }
        }
    }
}

/// A replica may be out of its roles; nothing else may go wrong.
fn allow(result: Result<(), WriteError>) {
    match result {
        Ok(()) | Err(WriteError::Unauthorised(_) | WriteError::Refused(_) | WriteError::Copied) => {
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn replicas_that_write_agree() {
    for seed in 0..25 {
        let mut crowd = Crowd::new(seed);
        for step in 0..40 {
            crowd.step();
            if step % 8 == 0 {
                let (_, ledger) = &crowd.stores[0];
                let own = dump(ledger, &Cut::Everything);
                let snapshot = ledger.snapshot().unwrap();
                check_indexes(&snapshot, &own, true, &format!("seed {seed}, step {step}"));
            }
        }
        crowd.agree(&format!("seed {seed}"));
    }
}

/// What only void events wrote is still there at the cuts over which they are not void.
#[test]
fn keys_of_void_events_are_found_before_they_were_void() {
    let place = Place::new();
    let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    let admin = relaxed().create(place.path("admin"), &new).unwrap();
    let clone = |name| {
        let cloned =
            relaxed().clone_ledger(place.path(name), &admin, &Cut::Everything, &mut |_, _| {});
        cloned.unwrap().0
    };
    let (early, late) = (clone("early"), clone("late"));
    let mut transaction = early.transaction();
    transaction.inc("n", 3).unwrap().append("l", b"x").unwrap();
    transaction.put("r", b"x").unwrap().add("s", b"x").unwrap();
    let written = transaction.commit().unwrap();
    admin.revoke(early.author()).unwrap();
    // One store sees the event before the revoke, the other after it.
    merge(&late, &early);
    merge(&late, &admin);
    merge(&admin, &early);
    let model = model_of(&admin);
    for ledger in [&admin, &late] {
        let cuts = [ModelCut::All, ModelCut::Heads(vec![written.event])];
        check(ledger, &model, &cuts, "the keys of a revoked author");
    }
}
