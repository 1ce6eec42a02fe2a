//! A pool that is full, events that are refused, and events that are released.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ed25519_dalek::SigningKey;
use quipu_merge::{
    Body, BodyId, Control, Event, Key, Member, Operation, Policy, Reason, Refusal, Seq, SignedEvent,
};

use super::*;
use crate::error::MergeError;
use crate::options::{Durability, NewLedger, Options};
use crate::pool::{MAX_WAITING, MAX_WAITING_BYTES};

const NOWHERE: EventId = EventId([7; 32]);

fn create(dir: &Path) -> Ledger {
    let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    Options::new().durability(Durability::Relaxed).create(dir, &new).unwrap()
}

/// An event by the author with this number.
fn sign(
    author: u16,
    prev: Option<&SignedEvent>,
    parents: &[EventId],
    time: u64,
    body: &[u8],
) -> SignedEvent {
    let mut seed = [1; 32];
    seed[..2].copy_from_slice(&author.to_be_bytes());
    let key = SigningKey::from_bytes(&seed);
    let event = Event {
        author: AuthorKey(key.verifying_key().to_bytes()),
        seq: prev.map_or(Seq::FIRST, |prev| prev.event().seq.next()),
        prev: prev.map(SignedEvent::id),
        parents: parents.to_vec(),
        time: Micros(time),
        body: BodyId::of(body),
        size: u32::try_from(body.len()).unwrap(),
    };
    event.sign(&key).unwrap()
}

fn whole(event: &SignedEvent, body: &[u8]) -> Checked {
    Checked::new(event.clone(), Some(body.to_vec()), Vec::new())
}

fn bare(event: &SignedEvent) -> Checked {
    Checked::new(event.clone(), None, Vec::new())
}

/// A body of this many times 4 KiB.
fn adds(members: u16) -> Vec<u8> {
    let add = |n: u16| {
        let mut member = vec![0; 4096];
        member[..2].copy_from_slice(&n.to_be_bytes());
        Operation::Add { key: Key::new("s").unwrap(), member: Member::new(&member).unwrap() }
    };
    Body::Data((0..members).map(add).collect()).encode().unwrap()
}

fn small() -> Vec<u8> {
    let member = Member::new(b"m").unwrap();
    Body::Data(vec![Operation::Add { key: Key::new("s").unwrap(), member }]).encode().unwrap()
}

fn take_in(ledger: &Ledger, batch: Vec<Checked>) -> MergeReport {
    let mut report = MergeReport::default();
    let batch = batch.into_iter().map(Ok).collect();
    ledger.take_in_all(batch, true, &mut report).unwrap();
    report
}

fn waits(ledger: &Ledger, event: &SignedEvent) -> bool {
    ledger.lock_writer().pool.contains(event.id())
}

/// A chain of an event that is admitted, one that is not, and three that wait for that one.
fn doomed(ledger: &Ledger, body: &[u8]) -> ([SignedEvent; 2], [SignedEvent; 3]) {
    let first = sign(1, None, &[ledger.id()], now().0, body);
    // It is not later than what it follows.
    let bad = sign(1, Some(&first), &[], first.event().time.0, body);
    let second = sign(1, Some(&bad), &[], now().0 + 1, body);
    let mut parents = [bad.id(), second.id()];
    parents.sort_unstable();
    let other = sign(2, None, &parents, now().0 + 2, body);
    let mut parents = [other.id(), NOWHERE];
    parents.sort_unstable();
    let third = sign(1, Some(&second), &parents, now().0 + 3, body);
    ([first, bad], [second, other, third])
}

/// Nothing is different when the store has been opened again.
fn reopen(ledger: Ledger, dir: &Path) -> Ledger {
    let before = (ledger.waiting(), ledger.status().unwrap().waiting_bytes);
    assert!(before.0.len() <= MAX_WAITING && before.1 <= MAX_WAITING_BYTES);
    drop(ledger);
    let ledger = Options::new().durability(Durability::Relaxed).open(dir).unwrap();
    assert_eq!((ledger.waiting(), ledger.status().unwrap().waiting_bytes), before);
    ledger
}

#[test]
fn many_small_events_leave_room_for_others() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let ledger = create(&dir);
    let (body, large) = (small(), adds(200));
    let flood = |n: u64| sign(1, None, &[NOWHERE], 1_000 + n, &body);
    let mut events: Vec<_> = (0..MAX_WAITING as u64).map(flood).collect();
    let report = take_in(&ledger, events.iter().map(|event| whole(event, &body)).collect());
    assert_eq!((report.dropped, ledger.waiting().len()), (0, MAX_WAITING));
    // All of these are longer than all of those, and still have no more than their share.
    let honest: Vec<_> = (0..5).map(|n| sign(2, None, &[NOWHERE], n, &large)).collect();
    let report = take_in(&ledger, honest.iter().map(|event| whole(event, &large)).collect());
    assert_eq!((report.dropped, ledger.waiting().len()), (5, MAX_WAITING));
    assert!(honest.iter().all(|event| waits(&ledger, event)));
    let ledger = reopen(ledger, &dir);
    let latest = events.split_off(MAX_WAITING - 5);
    assert!(latest.iter().all(|event| !waits(&ledger, event)));
    assert!(events.iter().all(|event| waits(&ledger, event)));
    // Whoever holds most has to wait for room.
    let report = take_in(&ledger, vec![whole(&flood(20_000), &body), whole(&latest[0], &body)]);
    assert_eq!(report.dropped, 2);
    assert!(honest.iter().chain(&events).all(|event| waits(&ledger, event)));
    reopen(ledger, &dir);
}

#[test]
fn large_events_leave_room_for_others() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let ledger = create(&dir);
    let large = adds(240);
    let honest: Vec<_> = (0..5).map(|n| sign(2, None, &[NOWHERE], n, &large)).collect();
    let flood: Vec<_> = (1..70).map(|n| sign(1, None, &[NOWHERE], n, &large)).collect();
    // Without its body, one of each is put there before the pool is full.
    let first = sign(1, None, &[NOWHERE], 0, &large);
    take_in(&ledger, vec![bare(&first), bare(&honest[0])]);
    let report = take_in(&ledger, flood.iter().map(|event| whole(event, &large)).collect());
    assert!((1..10).contains(&report.dropped), "{report:?}");
    let ledger = reopen(ledger, &dir);

    // What more comes of a waiting event needs room, too, and what is there stays until then.
    let before = (ledger.waiting(), ledger.status().unwrap().waiting_bytes);
    assert_eq!(take_in(&ledger, vec![whole(&first, &large)]).dropped, 1);
    assert_eq!((ledger.waiting(), ledger.status().unwrap().waiting_bytes), before);
    assert!(waits(&ledger, &first));
    let ledger = reopen(ledger, &dir);
    let dropped = take_in(&ledger, vec![whole(&honest[0], &large)]).dropped;
    assert!((1..3).contains(&dropped), "{dropped}");
    assert_eq!(ledger.waiting().len() as u64, before.0.len() as u64 - dropped);
    let ledger = reopen(ledger, &dir);
    let report = take_in(&ledger, honest.iter().map(|event| whole(event, &large)).collect());
    assert!((1..10).contains(&report.dropped), "{report:?}");
    assert!(honest.iter().all(|event| waits(&ledger, event)));
    reopen(ledger, &dir);
}

#[test]
fn what_waits_for_a_refused_event_is_refused_with_it() {
    let place = tempfile::tempdir().unwrap();
    let body = small();
    for when in ["in its turn", "on its way", "on its way after a rehearsal", "unread"] {
        let dir = place.path().join(when);
        let ledger = create(&dir);
        let (start, followers) = doomed(&ledger, &body);
        let [first, bad] = &start;
        let followers: Vec<_> = followers.iter().map(|event| whole(event, &body)).collect();
        take_in(&ledger, followers);
        let stranger = sign(3, None, &[NOWHERE], 1, &body);
        take_in(&ledger, vec![whole(&stranger, &body)]);
        let (first, bad) = (whole(first, &body), whole(bad, &body));
        let mut report = MergeReport::default();
        match when {
            "in its turn" => {
                take_in(&ledger, vec![bad]);
                assert_eq!(ledger.waiting().len(), 5);
                report = take_in(&ledger, vec![first]);
                assert_eq!((report.new_events, report.refused), (1, 4));
            }
            "on its way after a rehearsal" => {
                report = take_in(&ledger, vec![first, bad]);
                assert_eq!((report.new_events, report.refused), (1, 4));
            }
            "on its way" => {
                let batch = vec![Ok(first), Ok(bad)];
                let refused = ledger.take_in_all(batch, false, &mut report).unwrap_err();
                assert!(matches!(refused, MergeError::Refused(_)), "{refused}");
            }
            _ => {
                let refusal = Refusal::new(bad.event.id(), Reason::Encoding, "as if");
                let batch = vec![Ok(first), Err(refusal)];
                ledger.take_in_all(batch, false, &mut report).unwrap_err();
            }
        }
        let waiting: Vec<_> = ledger.waiting().iter().map(|info| info.event).collect();
        assert_eq!(waiting, [stranger.id()], "{when}");
        reopen(ledger, &dir);
    }
}

/// Bytes that are not the body that an event names are no reason to give it up.
#[test]
fn what_waits_for_an_event_with_a_damaged_body_goes_on_waiting() {
    let place = tempfile::tempdir().unwrap();
    let ledger = create(&place.path().join("store"));
    let body = small();
    let first = sign(1, None, &[ledger.id()], now().0, &body);
    let second = sign(1, Some(&first), &[], now().0 + 1, &body);
    let mut damaged = body.clone();
    damaged[0] ^= 1;
    // In the pool they are as good as none.
    take_in(&ledger, vec![whole(&second, &damaged)]);
    take_in(&ledger, vec![whole(&second, &body)]);
    assert_eq!(take_in(&ledger, vec![whole(&first, &damaged)]).refused, 1);
    assert!(waits(&ledger, &second));
    assert_eq!(take_in(&ledger, vec![whole(&first, &body)]).new_events, 2);
}

#[test]
fn many_due_events_are_written_together() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    let ledger = Ledger::create(&dir, &new).unwrap();
    let body = small();
    let time = now().0;
    let due: Vec<_> =
        (0..700).map(|n| sign(n, None, &[ledger.id()], time + u64::from(n), &body)).collect();
    // Half of them are waited for by an event that waits for another one, too.
    let follow = |(n, pair): (u16, &[SignedEvent])| {
        sign(2 * n, Some(&pair[0]), &[pair[1].id()], time + 1_000, &body)
    };
    let followers: Vec<_> = (0..).zip(due.chunks_exact(2)).map(follow).collect();
    take_in(&ledger, followers.iter().map(|event| whole(event, &body)).collect());
    let wait = |hold: &mut Exclusive<'_>| -> Result<(), StorageError> {
        for event in &due {
            let reason = WaitingReason::Due(event.event().time);
            hold.writer().wait(&ledger.db, &whole(event, &body), reason)?;
        }
        Ok(())
    };
    ledger.in_bulk(wait).unwrap();
    let before = ledger.published().commit;
    assert_eq!(ledger.admit_due().unwrap(), 1_050);
    assert_eq!(ledger.published().commit, before + 3);
    let ledger = reopen(ledger, &dir);
    assert!(ledger.waiting().is_empty());
    assert_eq!(ledger.snapshot().unwrap().len().unwrap(), 1_051);
    assert!(ledger.verify(&mut |_, _| {}).unwrap().is_sound());
}

/// A revoke is admitted when all before it is written: it must not leave the pool by then.
#[test]
fn an_event_leaves_the_pool_in_the_batch_that_admits_it() {
    let place = tempfile::tempdir().unwrap();
    let ledger = Arc::new(create(&place.path().join("store")));
    let (data, time) = (small(), now().0);
    let revoke =
        Body::Control(vec![Control::Revoke { author: AuthorKey([9; 32]) }]).encode().unwrap();
    let event = Event {
        author: ledger.author(),
        seq: Seq(2),
        prev: Some(ledger.id()),
        parents: Vec::new(),
        time: Micros(time),
        body: BodyId::of(&revoke),
        size: u32::try_from(revoke.len()).unwrap(),
    };
    let revoke = whole(&event.sign(ledger.identity().unwrap().key()).unwrap(), &revoke);
    // What is due later is admitted first.
    let other = whole(&sign(1, None, &[ledger.id()], time + 1, &data), &data);
    let ids = [revoke.event.id(), other.event.id()];
    let wait = |hold: &mut Exclusive<'_>| -> Result<(), StorageError> {
        for checked in [&revoke, &other] {
            let reason = WaitingReason::Due(checked.event.event().time);
            hold.writer().wait(&ledger.db, checked, reason)?;
        }
        Ok(())
    };
    ledger.in_bulk(wait).unwrap();
    let (lost, watched) = (Arc::new(AtomicUsize::new(0)), ledger.clone());
    let counted = lost.clone();
    // Other tests come here, too: what is looked at holds at any time.
    let look = move || {
        for id in ids {
            let has = |family, key: &[u8]| watched.latest().has(family, key).unwrap();
            let is_there = has(Family::Meta, &meta::waiting(id.0)) || has(Family::Ids, &id.0);
            counted.fetch_add(usize::from(!is_there), Ordering::SeqCst);
        }
    };
    fail::cfg_callback("after-write", look).unwrap();
    let before = ledger.published().commit;
    assert_eq!(ledger.admit_due().unwrap(), 2);
    fail::remove("after-write");
    assert_eq!((ledger.published().commit, lost.load(Ordering::SeqCst)), (before + 2, 0));
    assert!(ledger.waiting().is_empty());
}
