//! Random histories with forks, held in memory: what the stores are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, Body, BodyId, Content, Event, EventId, Key, Micros, Opening, OpeningId, Operation,
    Policy, SALT_LEN, Seq, SignedEvent,
};
use quipu_store::{Branches, Durability, Incoming, Ledger, NewLedger, Options};

/// Numbers that look random and can be had again.
pub struct Dice(pub u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        (1..all.len()).for_each(|at| all.swap(at, self.below(at + 1)));
    }
}

/// An event as the model knows it.
#[derive(Clone)]
pub struct Known {
    pub id: EventId,
    pub author: AuthorKey,
    pub seq: Seq,
    pub time: u64,
    pub prev: Option<EventId>,
    pub follows: Vec<EventId>,
    pub incoming: Incoming,
}

pub fn create(path: &Path) -> Ledger {
    let new = NewLedger { policy: Policy::Open, ..NewLedger::default() };
    Options::new().durability(Durability::Relaxed).create(path, &new).unwrap()
}

/// A replica of `source` that has only the first event.
pub fn empty_clone(source: &Ledger, path: &Path) -> Ledger {
    let first = quipu_merge::Cut::Heads(vec![source.id()]);
    let options = Options::new().durability(Durability::Relaxed);
    options.clone_ledger(path, source, &first, &mut |_, _| {}).unwrap().0
}

pub fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number + 1; 32])
}

/// A put of a value, with its opening.
pub fn put(author: AuthorKey, name: &str, value: &[u8]) -> (Operation, Vec<u8>) {
    let content = Content::Inline(value.to_vec());
    let opening = Opening { author, salt: [7; SALT_LEN], content }.encode();
    let value = OpeningId::of(&opening);
    (Operation::Put { key: Key::new(name).unwrap(), value }, opening)
}

/// Signs an event that puts `values` under keys of their own.
pub fn sign(
    key: &SigningKey,
    prev: Option<&Known>,
    parents: &[EventId],
    time: u64,
    values: &[Vec<u8>],
) -> Known {
    let author = AuthorKey(key.verifying_key().to_bytes());
    let named = (0..).zip(values).map(|(slot, value): (u16, _)| {
        let (operation, opening) = put(author, &format!("key/{slot}"), value);
        (operation, (slot, opening))
    });
    let (operations, openings): (Vec<_>, Vec<_>) = named.unzip();
    let body = Body::Data(operations).encode().unwrap();
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    let event = Event {
        author,
        seq: prev.map_or(Seq::FIRST, |prev| prev.seq.next()),
        prev: prev.map(|prev| prev.id),
        parents,
        time: Micros(time),
        body: BodyId::of(&body),
        size: u32::try_from(body.len()).unwrap(),
    };
    let signed = event.sign(key).unwrap();
    known(&signed, Incoming { event: signed.bytes().to_vec(), body: Some(body), openings })
}

fn known(signed: &SignedEvent, incoming: Incoming) -> Known {
    let event = signed.event();
    Known {
        id: signed.id(),
        author: event.author,
        seq: event.seq,
        time: event.time.0,
        prev: event.prev,
        follows: event.follows().collect(),
        incoming,
    }
}

/// The first event of a ledger.
pub fn genesis(ledger: &Ledger) -> Known {
    let incoming = ledger.events(&[ledger.id()], usize::MAX).unwrap().remove(0);
    let parsed = quipu_merge::ParsedEvent::decode(&incoming.event).unwrap();
    known(&parsed.verify().unwrap(), incoming)
}

/// Events, each after those that it follows.
#[derive(Clone, Default)]
pub struct History {
    pub order: Vec<EventId>,
    pub events: BTreeMap<EventId, Known>,
}

impl History {
    pub fn insert(&mut self, event: Known) {
        self.order.push(event.id);
        self.events.insert(event.id, event);
    }

    /// A random history over the first event of `ledger`, with forks, and events of one time.
    pub fn random(ledger: &Ledger, dice: &mut Dice, authors: u8, events: usize) -> Self {
        let mut history = Self::default();
        history.insert(genesis(ledger));
        while history.order.len() < events {
            let key = key(u8::try_from(dice.below(usize::from(authors))).unwrap());
            let author = AuthorKey(key.verifying_key().to_bytes());
            let own: Vec<_> =
                history.order.iter().filter(|id| history.events[id].author == author).collect();
            let prev = match own.len() {
                0 => None,
                _ if dice.one_in(40) => None,
                len if dice.one_in(8) => Some(*own[dice.below(len)]),
                _ => own.last().map(|id| **id),
            };
            let prev = prev.map(|id| history.events[&id].clone());
            let mut parents = BTreeSet::new();
            for _ in 0..dice.below(3) + usize::from(prev.is_none()) {
                // Mostly late ones.
                let back = dice.below(history.order.len().min(12)) + 1;
                parents.insert(history.order[history.order.len() - back]);
            }
            if let Some(prev) = &prev {
                parents.remove(&prev.id);
            }
            let parents: Vec<_> = parents.into_iter().collect();
            let times = prev.iter().chain(parents.iter().map(|id| &history.events[id]));
            let time = times.map(|event| event.time).max().unwrap() + 1 + dice.below(3) as u64;
            let values = vec![dice.below(1000).to_be_bytes().to_vec(); dice.below(3) + 1];
            let event = sign(&key, prev.as_ref(), &parents, time, &values);
            if !history.events.contains_key(&event.id) {
                history.insert(event);
            }
        }
        history
    }

    /// The part of it that these events and all that they follow are.
    pub fn closure(&self, ids: impl IntoIterator<Item = EventId>) -> Self {
        let (mut open, mut held) = (Vec::from_iter(ids), BTreeSet::new());
        open.push(self.order[0]);
        while let Some(id) = open.pop() {
            if held.insert(id) {
                open.extend(&self.events[&id].follows);
            }
        }
        let mut part = Self::default();
        let order = self.order.iter().filter(|id| held.contains(id));
        order.for_each(|id| part.insert(self.events[id].clone()));
        part
    }

    /// A random part of it that a replica may hold.
    pub fn part(&self, dice: &mut Dice) -> Self {
        let count = dice.below(4);
        self.closure((0..count).map(|_| self.order[dice.below(self.order.len())]))
    }

    /// An event and what precedes it on its author's chain, the last first.
    pub fn chain(&self, id: EventId) -> Vec<EventId> {
        let prev = |id: &EventId| self.events.get(id).and_then(|event| event.prev);
        std::iter::successors(self.events.contains_key(&id).then_some(id), prev).collect()
    }

    pub fn frontier(&self) -> Vec<Branches> {
        let followed: BTreeSet<_> = self.events.values().filter_map(|event| event.prev).collect();
        let mut tips = BTreeMap::<_, Vec<_>>::new();
        for event in self.events.values().filter(|event| !followed.contains(&event.id)) {
            tips.entry(event.author).or_default().push((event.seq, event.id));
        }
        let sorted = |(author, mut tips): (_, Vec<_>)| {
            tips.sort_unstable();
            Branches { author, tips }
        };
        tips.into_iter().map(sorted).collect()
    }

    pub fn incoming(&self, ids: &[EventId]) -> Vec<Incoming> {
        ids.iter().map(|id| self.events[id].incoming.clone()).collect()
    }

    /// Gives all of it to a store, in portions.
    pub fn admit_to(&self, ledger: &Ledger) {
        for ids in self.order[1..].chunks(50) {
            let report = ledger.admit(self.incoming(ids)).unwrap();
            assert!(report.outcomes.iter().all(Result::is_ok), "{:?}", report.outcomes);
        }
        assert!(ledger.waiting().is_empty());
    }
}

pub fn id_of(incoming: &Incoming) -> EventId {
    EventId::of(&incoming.event)
}
