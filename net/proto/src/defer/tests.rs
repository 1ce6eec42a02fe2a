//! A quota of ten events a second, and what becomes of more.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use quipu_merge::{BodyId, Micros, Seq};

use super::*;
use crate::frontier::Tip;
use crate::quota::Allowance;

const PEERS: [AuthorKey; 2] = [AuthorKey([1; 32]), AuthorKey([2; 32])];
const NOW: Moment = Moment(1_000_000_000);

/// Ten events at once, and ten a second.
fn deferring() -> Deferring {
    let allowance = |events| Allowance { events, bytes: 1 << 20 };
    let (author, all, burst) = (allowance(10), allowance(100), Duration::from_secs(1));
    let mut deferring = Deferring::new(AuthorKey([9; 32]), Some(Quota { author, all, burst }));
    deferring.meter.set_roles(Some(BTreeSet::new()));
    deferring.meter.catch_up();
    deferring
}

/// Events of an author, each after the one before it, the first on top of others.
fn chain(author: u8, count: u64, on: &[EventId]) -> (AuthorKey, Vec<Packet>) {
    let key = SigningKey::from_bytes(&[author; 32]);
    let author = AuthorKey(key.verifying_key().to_bytes());
    let mut prev = None;
    let events = (1..=count).map(|seq| {
        let parents = if prev.is_none() { on.to_vec() } else { Vec::new() };
        let (time, body) = (Micros(seq), BodyId::of(b"body"));
        let event = Event { author, seq: Seq(seq), prev, parents, time, body, size: 4 };
        let event = event.sign(&key).unwrap();
        prev = Some(event.id());
        Packet { event: event.bytes().to_vec(), body: b"body".to_vec(), openings: Vec::new() }
    });
    (author, events.collect())
}

fn after(millis: u64) -> Moment {
    NOW.after(Duration::from_millis(millis))
}

#[test]
fn what_is_too_much_waits_and_comes_in_order() {
    let mut deferring = deferring();
    let (author, packets) = chain(5, 15, &[EventId([3; 32])]);
    let last = packets.last().unwrap().id();
    let sorted = deferring.sort(PEERS[0], packets.clone(), NOW);
    assert_eq!(sorted.admit, packets[..10]);
    assert_eq!((deferring.count(), deferring.waiting()), (5, 5));
    // Once more it is neither taken nor put up.
    let again = deferring.sort(PEERS[1], packets[10..].to_vec(), NOW);
    assert!(again.admit.is_empty() && deferring.waiting() == 5);
    assert!(deferring.leaves_out(PEERS[1], author, after(200)));
    // Who writes on top of it is another matter.
    let (other, on_top) = chain(6, 1, &[last]);
    assert_eq!(deferring.sort(PEERS[0], on_top.clone(), NOW).admit, on_top);
    assert!(!deferring.leaves_out(PEERS[0], other, NOW));
    let mut released = Vec::new();
    for millis in (0..=700).step_by(50) {
        released.extend(deferring.release(after(millis)).packets);
    }
    assert_eq!(released, packets[10..]);
    assert!(deferring.next().is_none());
}

#[test]
fn what_is_refused_costs_its_author_nothing() {
    let mut deferring = deferring();
    let (author, packets) = chain(5, 10, &[EventId([3; 32])]);
    let Sorted { notes, .. } = deferring.sort(PEERS[0], packets, NOW);
    deferring.admitting(Ticket(1), notes);
    assert!(deferring.leaves_out(PEERS[0], author, NOW));
    let refused = vec![Outcome::Refused("signature".to_owned()); 10];
    deferring.admitted(Ticket(1), &refused, &[], Some(PEERS[0]), NOW);
    assert!(!deferring.leaves_out(PEERS[0], author, NOW));
    assert!(deferring.charged.is_empty() && deferring.admitting.is_empty());
}

#[test]
fn a_push_that_lacks_the_one_before_does_not_wait_for_it() {
    let mut deferring = deferring();
    let (author, packets) = chain(5, 12, &[EventId([3; 32])]);
    let mut frontier = Frontier::default();
    let push = |deferring: &mut Deferring, at: usize| {
        let packet = packets[at].clone();
        deferring.sort_pushed(PEERS[0], packet, &frontier, NOW).admit.len()
    };
    // As long as the author has not used up much, others look after that.
    assert_eq!(push(&mut deferring, 7), 1);
    assert_eq!((0..5).map(|at| push(&mut deferring, at)).sum::<usize>(), 5);
    assert_eq!((push(&mut deferring, 6), deferring.waiting()), (0, 0));
    // What is being admitted, or held, is here.
    assert_eq!(push(&mut deferring, 5), 1);
    let tip = Tip { seq: Seq(10), id: packets[9].id() };
    frontier.advance(&Placed { author, tip, prev: None });
    let sorted = deferring.sort_pushed(PEERS[0], packets[10].clone(), &frontier, NOW);
    assert_eq!(sorted.admit.len(), 1);
}

#[test]
fn who_sends_what_waits_for_others_is_not_asked_for_it_again_at_once() {
    let mut deferring = deferring();
    let (_, flood) = chain(5, 12, &[EventId([3; 32])]);
    deferring.sort(PEERS[0], flood, NOW);
    let (author, packets) = chain(6, 1, &[EventId([4; 32])]);
    let Sorted { notes, .. } = deferring.sort(PEERS[0], packets.clone(), NOW);
    deferring.admitting(Ticket(1), notes);
    deferring.admitted(Ticket(1), &[Outcome::Waits], &[], Some(PEERS[0]), NOW);
    assert!(deferring.leaves_out(PEERS[0], author, after(59_000)));
    // Others may have what it waits for, and it may come.
    assert!(!deferring.leaves_out(PEERS[1], author, NOW));
    assert!(!deferring.leaves_out(PEERS[0], author, after(60_000)));
    let tip = Tip { seq: Seq(1), id: packets[0].id() };
    deferring.admitted(Ticket(2), &[], &[Placed { author, tip, prev: None }], None, NOW);
    assert!(!deferring.leaves_out(PEERS[0], author, NOW));
    // So many authors are remembered of one peer.
    for number in 0..10_000_u64 {
        let author = AuthorKey(*blake3::hash(&number.to_be_bytes()).as_bytes());
        deferring.hold_up(PEERS[0], author, NOW);
    }
    assert_eq!(deferring.held_up.len(), MAX_HELD_UP);
    deferring.leave(PEERS[0]);
    assert!(deferring.held_up.is_empty() && deferring.waiting() == 0);
}

/// Of an author of whom nothing is held, peers may tell the first bytes alone.
#[test]
fn an_author_is_known_by_the_first_bytes_of_its_key() {
    let mut deferring = deferring();
    let (author, packets) = chain(5, 15, &[EventId([3; 32])]);
    deferring.sort(PEERS[0], packets, NOW);
    // In debt, and then with events on the shelf alone.
    assert!(deferring.leaves_out(PEERS[1], shortened(author), NOW));
    deferring.meter.give_back(author, 10 << 20);
    assert!(deferring.leaves_out(PEERS[1], shortened(author), NOW));
    deferring.leave(PEERS[0]);
    assert!(!deferring.leaves_out(PEERS[1], shortened(author), NOW));
    // Nothing is known of it, but that what it has written waits for others.
    let (other, _) = chain(6, 0, &[]);
    deferring.hold_up(PEERS[0], other, NOW);
    assert!(deferring.leaves_out(PEERS[0], shortened(other), NOW));
    assert!(!deferring.leaves_out(PEERS[1], shortened(other), NOW));
    // All together are in debt, which does not concern who holds a role.
    for author in 10..25 {
        deferring.sort(PEERS[0], chain(author, 10, &[]).1, NOW);
    }
    let (admin, _) = chain(7, 0, &[]);
    assert!(deferring.leaves_out(PEERS[0], shortened(admin), NOW));
    deferring.meter.set_roles(Some(BTreeSet::from([admin])));
    assert!(!deferring.leaves_out(PEERS[0], shortened(admin), NOW));
}
