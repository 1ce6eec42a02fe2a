//! How long proofs are in large ledgers, and what checking them costs beside signatures:
//! `cargo bench -p quipu-merge --bench proofs`.
//!
//! The log is of ten million times the same event, the state of a million counters and one register.
//! The proofs start from the checkpoint that they are about, so that no certificate is checked; an
//! event's own signature is, and what it takes alone is printed beside.

#![allow(clippy::unwrap_used, reason = "a benchmark that panics says what is wrong")]
#![expect(clippy::disallowed_methods, reason = "a benchmark needs a clock")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use quipu_merge::{
    AuthorKey, BodyId, Checkpoint, Claim, Content, CutBlock, Event, Height, Key, KeyEntry, Leaf,
    LeafKind, LogHash, LogTree, Micros, Opening, ParsedEvent, Proof, ProofStart, ProvedKey,
    ProvedWrite, Seq, SignedEvent, StateChange, StoredHashes, Trust, ValidatorsBlock,
    event_leaf_hash, prove_inclusion, prove_state, update_state,
};

const EVENTS: u64 = 10_000_000;
const KEYS: u64 = 1_000_000;
const TRIES: u64 = 10_000;

fn main() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let author = AuthorKey(key.verifying_key().to_bytes());
    let event = event(&key, author);
    let stored = Uniform::of(event_leaf_hash(event.id()));
    let root = LogTree::resume(EVENTS, &stored).unwrap().root();
    let content = Content::Inline(b"a value".to_vec());
    let (opening, opened) = Opening { author, salt: [2; 16], content }.seal();
    let name = Key::new("k").unwrap();
    let register = Leaf::register(&name, &[(event.id(), opening)]);
    let counters = (0..KEYS).map(|number| Leaf::counter(&numbered(number), &number));
    let leaves = counters.chain([register.clone()]).map(StateChange::from);
    let update = update_state(&BTreeMap::new(), None, Height(1), leaves).unwrap();
    let nodes: BTreeMap<_, _> = update.nodes.into_iter().collect();
    let (start, trust) = start(&event, author, root, update.root);

    let proofs = (0..TRIES).map(|i| {
        let index = i * (EVENTS / TRIES);
        let path = prove_inclusion(EVENTS, index, &stored).unwrap();
        Claim::Event { event: event.bytes().to_vec(), index, path }
    });
    measure("event in 10 M", &start, trust, proofs);
    let begin = Instant::now();
    for _ in 0..TRIES {
        black_box(ParsedEvent::decode(event.bytes()).unwrap().verify().unwrap());
    }
    println!("of that, the event's signature {:.1?}", begin.elapsed() / 10_000);

    let write = ProvedWrite { event: event.bytes().to_vec(), opening: opened };
    let proofs = (0..TRIES).map(|number| {
        let key = ProvedKey::Key(if number == 0 { name.clone() } else { numbered(number) });
        let entry = |kind: LeafKind| {
            let is_register = number == 0 && kind == LeafKind::Register;
            let is_counter = number != 0 && kind == LeafKind::Counter;
            let counter = || Leaf::counter(&numbered(number), &number).value;
            KeyEntry {
                kind,
                value: if is_register {
                    Some(register.value.clone())
                } else {
                    is_counter.then(counter)
                },
                path: prove_state(&nodes, Height(1), key.key_hash(kind)).unwrap(),
                writes: if is_register { vec![Some(write.clone())] } else { vec![] },
            }
        };
        Claim::Key {
            entries: key.kinds().iter().map(|&kind| entry(kind)).collect(),
            key: key.clone(),
        }
    });
    measure("key in 1 M, of four kinds", &start, trust, proofs);
}

fn measure(what: &str, start: &ProofStart, trust: Trust, claims: impl Iterator<Item = Claim>) {
    let (mut bytes, mut longest, mut time, mut slowest) = (0, 0, Duration::ZERO, Duration::ZERO);
    for claim in claims {
        let file = Proof { start: start.clone(), steps: vec![], claim }.encode().unwrap();
        let begin = Instant::now();
        black_box(Proof::decode(&file).unwrap().check(trust).unwrap());
        let taken = begin.elapsed();
        (time, slowest) = (time + taken, slowest.max(taken));
        (bytes, longest) = (bytes + file.len(), longest.max(file.len()));
    }
    let mean = bytes / 10_000;
    println!(
        "{what}: {mean} bytes, {longest} at most; read and checked in {:.1?}, {slowest:.1?} at most",
        time / 10_000
    );
}

fn event(key: &SigningKey, author: AuthorKey) -> SignedEvent {
    let (seq, prev, parents, time) = (Seq::FIRST, None, vec![], Micros(1_790_000_000_000_000));
    Event { author, seq, prev, parents, time, body: BodyId([1; 32]), size: 100 }.sign(key).unwrap()
}

fn start(
    event: &SignedEvent,
    author: AuthorKey,
    root: LogHash,
    state: [u8; 32],
) -> (ProofStart, Trust) {
    let validators = ValidatorsBlock::new(vec![author]).unwrap();
    let checkpoint = Checkpoint {
        ledger: event.id(),
        height: Height(1),
        prev: None,
        cut: CutBlock::new(vec![event.id()]).unwrap().seal().0,
        size: EVENTS,
        root,
        state,
        validators: validators.seal().0,
        time: event.event().time,
    };
    let (id, _) = checkpoint.seal().unwrap();
    (ProofStart::Checkpoint { checkpoint, validators }, Trust::Checkpoint(id))
}

fn numbered(number: u64) -> Key {
    Key::new(&format!("counter/{number}")).unwrap()
}

/// A log in which every leaf is the same: the hash of each level's perfect subtrees.
struct Uniform(Vec<LogHash>);

impl Uniform {
    fn of(leaf: LogHash) -> Self {
        let join = |hash: &LogHash| {
            let hash = tlog_tiles::Hash(*hash);
            Some(tlog_tiles::node_hash(hash, hash).0)
        };
        Self(std::iter::successors(Some(leaf), join).take(64).collect())
    }
}

impl StoredHashes for Uniform {
    type Error = std::convert::Infallible;

    fn read(&self, index: u64) -> Result<Option<LogHash>, Self::Error> {
        let (level, _) = tlog_tiles::tlog::split_stored_hash_index(index);
        Ok(self.0.get(usize::from(level)).copied())
    }
}
