//! Events that come before what they follow, without their bodies, or before their time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use quipu_fuzz::{Dice, History, Shape};
use quipu_merge::{
    AuthorKey, BlockId, Body, BodyId, Codec, Cut, Event, EventId, Key, MAX_AHEAD, Member, Micros,
    Operation, Policy, Seq, SignedEvent,
};
use quipu_store::{Ledger, MAX_WAITING, MAX_WAITING_BYTES, NewLedger, WaitingReason};
use serde_json::json;

use crate::compare::{check, cuts};
use crate::files::{Archive, Place, car, import, merge, relaxed, seeds};

/// Drops what a store lacks of the ancestors: the events that can be admitted.
fn admissible(history: &History, offered: &BTreeSet<EventId>) -> BTreeSet<EventId> {
    let whole = |id: &EventId| history.model().ancestors(*id).is_subset(offered);
    offered.iter().copied().filter(whole).collect()
}

/// Offers the events of a history one by one in any order, some twice, some at first without
/// their bodies.
fn run(seed: u64) {
    let mut dice = Dice::seeded(seed);
    let history = History::generate(&mut dice, Shape { authors: 4, events: 30 });
    let archive = Archive::new(&history, &mut dice);
    let place = Place::new();
    let dir = place.path("store");
    let genesis = history.events()[0].signed.id();
    let mut offered = BTreeSet::from([genesis]);
    let file = archive.car(&[genesis], &offered, &mut dice);
    let mut ledger = relaxed().clone_file(&dir, file, &mut |_, _| {}).unwrap().0;
    let mut left = history.events()[1..].iter().map(|e| e.signed.id()).collect::<Vec<EventId>>();
    let follows = history.events().iter().map(|event| {
        (event.signed.id(), event.signed.event().follows().collect::<BTreeSet<EventId>>())
    });
    let follows = follows.collect::<BTreeMap<_, _>>();
    for step in 0.. {
        let what = format!("seed {seed}, step {step}");
        let held = admissible(&history, &offered);
        let waiting = ledger.waiting();
        let ids = waiting.iter().map(|waiting| waiting.event).collect::<BTreeSet<EventId>>();
        assert!(ids.iter().eq(offered.difference(&held)), "{what}: {ids:?}");
        for info in &waiting {
            let missing = follows[&info.event].difference(&held).copied();
            let WaitingReason::Missing(mut found) = info.reason.clone() else { panic!("{info:?}") };
            found.sort();
            assert_eq!(found, missing.collect::<Vec<_>>(), "{what}");
        }
        if step % 7 == 0 || left.is_empty() {
            let model = archive.model(&held);
            check(&ledger, &model, &cuts(&ledger, &model, &mut dice), &what);
        }
        if dice.chance(20) {
            drop(ledger);
            ledger = relaxed().open(&dir).unwrap();
            assert_eq!(ledger.waiting(), waiting, "{what}, reopened");
        }
        if left.is_empty() {
            return;
        }
        let id = left.swap_remove(dice.below(left.len()));
        offer(&ledger, &archive, id, &mut dice);
        offered.insert(id);
    }
}

fn offer(ledger: &Ledger, archive: &Archive<'_>, id: EventId, dice: &mut Dice) {
    let blocks = archive.blocks(&BTreeSet::from([id]), dice);
    let whole = || car(&[id], &blocks);
    let bare = || {
        let mut blocks = blocks.clone();
        blocks.retain(|(block, _)| *block == id.block());
        car(&[id], &blocks)
    };
    let files: Vec<File> = match dice.below(6) {
        0 => vec![bare(), whole()],
        1 => vec![whole(), bare()],
        2 => vec![whole(), whole()],
        _ => vec![whole()],
    };
    for file in files {
        import(ledger, file).unwrap();
    }
}

#[test]
fn events_come_in_any_order() {
    for seed in seeds(0..20) {
        run(seed);
    }
}

/// An author outside, with an open ledger to write to.
struct Outsider {
    key: SigningKey,
    place: Place,
    ledger: Ledger,
}

impl Outsider {
    fn new() -> Self {
        let place = Place::new();
        let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
        let ledger = relaxed().create(place.path("store"), &new).unwrap();
        Self { key: SigningKey::from_bytes(&[9; 32]), place, ledger }
    }

    fn reopen(self) -> Self {
        let Self { key, place, ledger } = self;
        drop(ledger);
        let ledger = relaxed().open(place.path("store")).unwrap();
        Self { key, place, ledger }
    }

    /// An event after `prev`, or the first one.
    fn sign(&self, prev: Option<&SignedEvent>, time: Micros, body: &[u8]) -> SignedEvent {
        let parents = if prev.is_none() { vec![self.ledger.id()] } else { Vec::new() };
        self.sign_after(prev, parents, time, body)
    }

    fn sign_after(
        &self,
        prev: Option<&SignedEvent>,
        parents: Vec<EventId>,
        time: Micros,
        body: &[u8],
    ) -> SignedEvent {
        let event = Event {
            author: AuthorKey(self.key.verifying_key().to_bytes()),
            seq: prev.map_or(Seq::FIRST, |prev| prev.event().seq.next()),
            prev: prev.map(SignedEvent::id),
            parents,
            time,
            body: BodyId::of(body),
            size: body.len() as u32,
        };
        event.sign(&self.key).unwrap()
    }
}

fn file(events: &[&SignedEvent], bodies: &[&[u8]]) -> File {
    let roots = events.iter().map(|event| event.id()).collect::<Vec<EventId>>();
    let blocks = events.iter().map(|event| (event.id().block(), event.bytes().to_vec()));
    let bodies = bodies.iter().map(|body| (BodyId::of(body).block(), body.to_vec()));
    car(&roots, &blocks.chain(bodies).collect::<Vec<_>>())
}

/// A body that adds this many members of full length to a set.
fn adds(members: usize, seed: u8) -> Vec<u8> {
    let key = Key::new("s").unwrap();
    let member = |n: usize| {
        let mut bytes = vec![seed; if members > 1 { 4096 } else { 2 }];
        bytes[0] = n as u8;
        Member::new(&bytes).unwrap()
    };
    let add = |n| Operation::Add { key: key.clone(), member: member(n) };
    Body::Data((0..members).map(add).collect()).encode().unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

#[test]
fn events_wait_until_they_are_due() {
    let outsider = Outsider::new();
    let body = adds(1, 1);
    let due = Micros(now() + MAX_AHEAD + 3_000_000);
    let first = outsider.sign(None, due, &body);
    let second = outsider.sign(Some(&first), Micros(due.0 + 1), &body);
    let far = Micros(due.0 + 3_600_000_000);
    let third = outsider.sign(Some(&second), far, &body);
    let report = import(&outsider.ledger, file(&[&first, &second, &third], &[&body])).unwrap();
    assert_eq!(report.new_events, 0);
    let expected = BTreeMap::from([
        (first.id(), WaitingReason::Due(due)),
        (second.id(), WaitingReason::Missing(vec![first.id()])),
        (third.id(), WaitingReason::Missing(vec![second.id()])),
    ]);
    let reasons = |ledger: &Ledger| {
        let waiting = ledger.status().unwrap().waiting.into_iter();
        waiting.map(|info| (info.event, info.reason)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(reasons(&outsider.ledger), expected);
    // Coming again, even without its body, it waits as before.
    import(&outsider.ledger, file(&[&first], &[])).unwrap();
    assert_eq!(reasons(&outsider.ledger), expected);
    assert_eq!(outsider.ledger.admit_due().unwrap(), 0);
    let outsider = outsider.reopen();
    assert_eq!(reasons(&outsider.ledger), expected);
    assert_eq!(outsider.ledger.snapshot().unwrap().len().unwrap(), 1);
    thread::sleep(Duration::from_micros((due.0 - MAX_AHEAD).saturating_sub(now()) + 50_000));
    assert_eq!(outsider.ledger.admit_due().unwrap(), 2);
    let expected = BTreeMap::from([(third.id(), WaitingReason::Due(far))]);
    assert_eq!(reasons(&outsider.ledger), expected);
    let outsider = outsider.reopen();
    assert_eq!(reasons(&outsider.ledger), expected);
    let snapshot = outsider.ledger.snapshot().unwrap();
    assert_eq!(snapshot.heads().unwrap(), [second.id()]);
    // What this replica writes next comes after events that were dated ahead.
    let mut transaction = outsider.ledger.transaction();
    transaction.put("k", b"v").unwrap();
    assert!(transaction.commit().unwrap().time > second.event().time);
}

#[test]
fn opening_admits_what_has_become_due() {
    let outsider = Outsider::new();
    let body = adds(1, 1);
    let due = Micros(now() + MAX_AHEAD + 1_000_000);
    let first = outsider.sign(None, due, &body);
    import(&outsider.ledger, file(&[&first], &[&body])).unwrap();
    assert_eq!(outsider.ledger.waiting().len(), 1);
    // A merge takes only what is admitted.
    let clone = outsider.place.path("clone");
    let clone = relaxed().clone_ledger(clone, &outsider.ledger, &Cut::Everything, &mut |_, _| {});
    let clone = clone.unwrap().0;
    assert!(clone.waiting().is_empty());
    thread::sleep(Duration::from_micros((due.0 - MAX_AHEAD).saturating_sub(now()) + 50_000));
    let outsider = outsider.reopen();
    assert!(outsider.ledger.waiting().is_empty());
    assert_eq!(outsider.ledger.snapshot().unwrap().heads().unwrap(), [first.id()]);
    assert_eq!(merge(&clone, &outsider.ledger).new_events, 1);
}

#[test]
fn a_body_may_come_later() {
    let outsider = Outsider::new();
    let (body, other) = (adds(1, 1), adds(1, 2));
    let first = outsider.sign(None, Micros(now()), &body);
    let second = outsider.sign(Some(&first), Micros(now()), &other);
    let report = import(&outsider.ledger, file(&[&first, &second], &[&other])).unwrap();
    let reasons = report.waiting.iter().map(|w| (w.event, w.reason.clone()));
    let expected = BTreeMap::from([
        (first.id(), WaitingReason::BodyMissing),
        (second.id(), WaitingReason::Missing(vec![first.id()])),
    ]);
    assert_eq!(reasons.collect::<BTreeMap<_, _>>(), expected);
    let outsider = outsider.reopen();
    assert_eq!(outsider.ledger.waiting(), report.waiting);
    let report = import(&outsider.ledger, file(&[&first], &[&body])).unwrap();
    assert_eq!((report.new_events, report.waiting.len()), (2, 0));
}

#[test]
fn what_was_let_in_too_early_is_dropped_when_its_turn_comes() {
    let outsider = Outsider::new();
    let body = adds(1, 1);
    let first = outsider.sign(None, Micros(now()), &body);
    // It is not later than what it follows.
    let second = outsider.sign(Some(&first), first.event().time, &body);
    let third = outsider.sign(Some(&second), Micros(now()), &body);
    let report = import(&outsider.ledger, file(&[&third], &[&body])).unwrap();
    assert_eq!(report.waiting.len(), 1);
    let report = import(&outsider.ledger, file(&[&second], &[&body]));
    // The file holds `second` alone, which has to wait for `first`.
    assert_eq!(report.unwrap().waiting.len(), 2);
    let report = import(&outsider.ledger, file(&[&first], &[&body])).unwrap();
    // `third` waited for `second`, and can never be admitted.
    assert_eq!((report.new_events, report.refused, report.waiting.len()), (1, 2, 0));
}

/// A bad event that follows one in the pool is found out only when that one is admitted, and the
/// file is being taken in then.
#[test]
fn what_follows_a_waiting_event_is_dropped_like_it() {
    let outsider = Outsider::new();
    let (body, start) = (adds(1, 1), now());
    let at = |n: u64| Micros(start + n);
    let first = outsider.sign(None, at(0), &body);
    let second = outsider.sign(Some(&first), at(1), &body);
    let bad = outsider.sign(Some(&second), at(1), &body);
    let report = import(&outsider.ledger, file(&[&second], &[&body])).unwrap();
    assert_eq!(report.waiting.len(), 1);
    let report = import(&outsider.ledger, file(&[&bad, &first], &[&body])).unwrap();
    assert_eq!((report.new_events, report.refused, report.waiting.len()), (2, 1, 0));
}

#[test]
fn the_pool_has_limits() {
    let outsider = Outsider::new();
    let nowhere = EventId([7; 32]);
    let body = adds(1, 1);
    let sign = |n: u64, body: &[u8]| {
        outsider.sign_after(None, vec![nowhere], Micros(now() - 1_000_000_000 + n), body)
    };
    let events = (0..=MAX_WAITING as u64).map(|n| sign(n, &body)).collect::<Vec<SignedEvent>>();
    let report =
        import(&outsider.ledger, file(&events.iter().collect::<Vec<_>>(), &[&body])).unwrap();
    assert_eq!((report.waiting.len(), report.dropped), (MAX_WAITING, 1));
    let outsider = outsider.reopen();
    assert_eq!(outsider.ledger.waiting(), report.waiting);
    // What is not in anybody's way goes on.
    let mut transaction = outsider.ledger.transaction();
    transaction.put("k", b"v").unwrap();
    transaction.commit().unwrap();

    let outsider = Outsider::new();
    let mut dropped = 0;
    for seed in 0..70 {
        let body = adds(240, seed);
        let event = outsider.sign_after(None, vec![nowhere], Micros(now()), &body);
        let report = import(&outsider.ledger, file(&[&event], &[&body])).unwrap();
        let bytes = outsider.ledger.status().unwrap().waiting_bytes;
        assert!(bytes <= MAX_WAITING_BYTES);
        let held = report.waiting.iter().any(|waiting| waiting.event == event.id());
        assert_eq!(report.dropped, u64::from(!held));
        dropped += report.dropped;
    }
    assert!((1..10).contains(&dropped), "{dropped}");
}

/// A file that is cut short, or has a flipped bit, is refused as a whole.
#[test]
fn broken_files_change_nothing() {
    let mut dice = Dice::seeded(5);
    let history = History::generate(&mut dice, Shape { authors: 3, events: 20 });
    let archive = Archive::new(&history, &mut dice);
    let place = Place::new();
    let genesis = BTreeSet::from([history.events()[0].signed.id()]);
    let first = archive.car(&[history.events()[0].signed.id()], &genesis, &mut dice);
    let ledger = relaxed().clone_file(place.path("store"), first, &mut |_, _| {}).unwrap().0;
    let all = history.events().iter().map(|event| event.signed.id()).collect();
    let heads = history.model().heads(&quipu_fuzz::ModelCut::All);
    let mut whole = Vec::new();
    std::io::Read::read_to_end(&mut archive.car(&heads, &all, &mut dice), &mut whole).unwrap();
    let dump = || json!(ledger.snapshot().unwrap().dump(&[]).unwrap());
    let before = dump();
    for _ in 0..150 {
        let mut bytes = whole.clone();
        let at = dice.below(bytes.len());
        if dice.chance(30) {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << dice.below(8);
        }
        let import = import(&ledger, crate::files::file_of(&bytes));
        // A cut between two blocks, or a changed root, leaves a file that may be taken in part.
        if import.is_err() {
            assert_eq!(dump(), before);
        } else {
            assert!(ledger.snapshot().unwrap().dump(&[]).is_ok());
            return;
        }
    }
}

#[test]
fn blocks_that_are_no_events_are_refused() {
    let outsider = Outsider::new();
    let before = json!(outsider.ledger.snapshot().unwrap().dump(&[]).unwrap());
    let block = b"\xa1\x61a\x01".to_vec();
    let id = EventId::of(&block);
    let refused = import(&outsider.ledger, car(&[id], &[(id.block(), block)])).unwrap_err();
    assert!(matches!(refused, quipu_store::MergeError::Refused(_)), "{refused}");
    let raw = (BlockId::of(Codec::Raw, b"raw"), b"raw".to_vec());
    // A file without its root was cut off.
    let cut_off = import(&outsider.ledger, car(&[id], &[raw])).unwrap_err();
    assert!(matches!(cut_off, quipu_store::MergeError::Corrupt(_)), "{cut_off}");
    assert_eq!(json!(outsider.ledger.snapshot().unwrap().dump(&[]).unwrap()), before);
}
