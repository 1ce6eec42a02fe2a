//! Writing events, and checking signatures once for all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, Body, BodyId, Event, EventId, ForkPolicy, Genesis, History, Key, MAX_PARENTS,
    Micros, OpeningId, Operation, ParsedEvent, Policy, Refusal, Seq, SignedEvent,
};
use quipu_proto::{Packet, PacketOpening, Placed, Tip};

/// So many authors there may be.
const AUTHORS: usize = 1100;

/// The keys of the authors, and their numbers by key.
static KEYS: LazyLock<(Vec<AuthorKey>, BTreeMap<AuthorKey, usize>)> = LazyLock::new(|| {
    let author = |number| AuthorKey(secret(number).verifying_key().to_bytes());
    let keys: Vec<_> = (0..AUTHORS).map(author).collect();
    let numbers = keys.iter().copied().zip(0..).collect();
    (keys, numbers)
});

fn secret(number: usize) -> SigningKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    SigningKey::from_bytes(&seed)
}

pub fn author(number: usize) -> AuthorKey {
    KEYS.0[number]
}

pub fn number_of(author: AuthorKey) -> usize {
    KEYS.1[&author]
}

/// The first event of a ledger.
pub fn genesis(number: usize, name: &str) -> Packet {
    let body = Body::Genesis(Genesis {
        name: name.to_owned(),
        policy: Policy::Open,
        forks: ForkPolicy::Keep,
        admins: Vec::new(),
        validators: Vec::new(),
    });
    let packet = sign(number, (Seq::FIRST, None), Vec::new(), Micros(1_000_000), &body);
    packet.1
}

/// An event on top of what a history holds, by one of its tips, dated at `time` or later.
pub fn write(
    number: usize,
    history: &History,
    prev: Option<EventId>,
    time: Micros,
) -> (Placed, Packet) {
    let seq = prev.map_or(Seq::FIRST, |prev| history.get(prev).unwrap().event.seq.next());
    let heads = history.heads().iter().copied().filter(|head| Some(*head) != prev);
    let parents: Vec<_> = heads.take(MAX_PARENTS).collect();
    let follows = parents.iter().chain(&prev).map(|id| history.get(*id).unwrap().event.time.0);
    let time = Micros(time.0.max(follows.max().unwrap_or(0) + 1));
    let opening = opening(number, seq);
    let value = OpeningId::of(&opening);
    let key = Key::new(&format!("key/{}", seq.0 % 5)).unwrap();
    let body = Body::Data(vec![Operation::Put { key, value }]);
    let (placed, mut packet) = sign(number, (seq, prev), parents, time, &body);
    if seq.0.is_multiple_of(2) {
        packet.openings.push(PacketOpening { slot: 0, opening });
    }
    (placed, packet)
}

/// The opening of the value that an author writes at a position.
pub fn opening(number: usize, seq: Seq) -> Vec<u8> {
    (number as u64 * 1_000_000 + seq.0).to_be_bytes().to_vec()
}

/// The only block of the value with this opening.
pub fn block(opening: &[u8]) -> Vec<u8> {
    [opening, b"content"].concat()
}

pub fn sign(
    number: usize,
    (seq, prev): (Seq, Option<EventId>),
    parents: Vec<EventId>,
    time: Micros,
    body: &Body,
) -> (Placed, Packet) {
    let author = author(number);
    let body = body.encode().unwrap();
    let (id, size) = (BodyId::of(&body), u32::try_from(body.len()).unwrap());
    let event = Event { author, seq, prev, parents, time, body: id, size };
    let signed = event.sign(&secret(number)).unwrap();
    let placed = Placed { author, tip: Tip { seq, id: signed.id() }, prev };
    (placed, Packet { event: signed.bytes().to_vec(), body, openings: Vec::new() })
}

/// Checks signatures, each once: all nodes of a simulation see the same events.
#[derive(Debug, Default)]
pub struct Verifier {
    sound: BTreeSet<EventId>,
    unsound: BTreeMap<EventId, Refusal>,
}

impl Verifier {
    pub fn check(&mut self, bytes: &[u8]) -> Result<SignedEvent, Refusal> {
        let parsed = ParsedEvent::decode(bytes)?;
        let id = parsed.id();
        if self.sound.contains(&id) {
            return Ok(parsed.verified_before());
        }
        if let Some(refusal) = self.unsound.get(&id) {
            return Err(refusal.clone());
        }
        let checked = parsed.verify();
        match &checked {
            Ok(_) => drop(self.sound.insert(id)),
            Err(refusal) => drop(self.unsound.insert(id, refusal.clone())),
        }
        checked
    }
}
