//! How long proofs are in large ledgers, whose trees are made up around one leaf.

use quipu_merge::{
    Claim, KeyEntry, Leaf, LeafKind, LogHash, Proof, ProvedWrite, StateProof, Trust,
    check_inclusion, event_leaf_hash, prove_inclusion,
};
use sha2::{Digest, Sha256};

use super::world::World;
use super::{SETS, key};

const EVENTS: u64 = 10_000_000;
const LEAVES_LOG2: usize = 20;
/// How far two of a million key hashes share their bits at most, seen from one of them, in all but
/// one of ten thousand cases.
const DEPTH: usize = LEAVES_LOG2 + 14;

/// A log in which every leaf is the same event.
struct Uniform(LogHash);

impl quipu_merge::StoredHashes for Uniform {
    type Error = std::convert::Infallible;

    fn read(&self, index: u64) -> Result<Option<LogHash>, Self::Error> {
        let (level, _) = tlog_tiles::tlog::split_stored_hash_index(index);
        Ok(Some((0..level).fold(self.0, |hash, _| node(hash, hash))))
    }
}

fn node(left: LogHash, right: LogHash) -> LogHash {
    tlog_tiles::node_hash(tlog_tiles::Hash(left), tlog_tiles::Hash(right)).0
}

/// What stands in the checkpoint of a world's height 2 for `claim` to hold, and the proof.
fn certified(claim: Claim, root: Option<LogHash>, state: Option<[u8; 32]>) -> (Proof, Trust) {
    let mut world = World::new(SETS);
    let link = &mut world.chain[1];
    link.checkpoint.root = root.unwrap_or(link.checkpoint.root);
    link.checkpoint.state = state.unwrap_or(link.checkpoint.state);
    link.checkpoint.size = EVENTS;
    let checkpoint = link.checkpoint.clone();
    world.chain[1].certificate = world.sign(&checkpoint, &[0, 1, 2, 3]);
    world.proof(0, 2, &[], claim)
}

/// Everything but the blocks that certify.
fn beside_certificates(proof: &Proof) -> usize {
    let certificate = |step: &quipu_merge::ProofStep| step.certificate.encode().unwrap().len();
    proof.encode().unwrap().len() - proof.steps.iter().map(certificate).sum::<usize>()
}

#[test]
fn of_an_event_in_ten_million() {
    let world = World::new(SETS);
    let event = world.events[1].clone();
    let leaf = event_leaf_hash(event.id());
    let stored = Uniform(leaf);
    let root = quipu_merge::LogTree::resume(EVENTS, &stored).unwrap().root();
    let path = prove_inclusion(EVENTS, 6_543_210, &stored).unwrap();
    check_inclusion(&path, (EVENTS, root), (6_543_210, leaf)).unwrap();
    let claim = Claim::Event { event: event.bytes().to_vec(), index: 6_543_210, path };
    let (proof, trust) = certified(claim, Some(root), None);
    proof.check(trust).unwrap();
    let bytes = beside_certificates(&proof);
    println!("an event in {EVENTS}: {bytes} bytes beside the certificates");
    assert!(bytes < 4096);
}

#[test]
fn of_a_key_in_a_million() {
    let world = World::new(SETS);
    let (event, opening) = world.write_of(1, 0);
    let leaf = Leaf::register(&quipu_merge::Key::new("k").unwrap(), &[(event, opening)]);
    let block = world.events.iter().find(|known| known.id() == event).unwrap();
    let write =
        ProvedWrite { event: block.bytes().to_vec(), opening: world.openings[&opening].clone() };
    let ways = key("k").kinds().iter().map(|&kind| key("k").key_hash(kind)).collect::<Vec<_>>();
    // The other kinds are absent, each at the end of a way of its own as long as the register's.
    let end = |key_hash: [u8; 32]| {
        if key_hash == leaf.key_hash {
            leaf_hash(key_hash, Sha256::digest(&leaf.value).into())
        } else {
            leaf_hash(neighbour(key_hash), [2; 32])
        }
    };
    let entry = |&kind: &LeafKind| {
        let key_hash = key("k").key_hash(kind);
        let beside = |depth| subtree(&turned(&ways, key_hash, depth), depth + 1, &end);
        let siblings = (0..DEPTH).map(beside).collect();
        match kind {
            LeafKind::Register => KeyEntry {
                kind,
                value: Some(leaf.value.clone()),
                path: StateProof { siblings, other: None },
                writes: vec![Some(write.clone())],
            },
            _ => {
                let path = StateProof { siblings, other: Some((neighbour(key_hash), [2; 32])) };
                KeyEntry { kind, value: None, path, writes: vec![] }
            }
        }
    };
    let entries = key("k").kinds().iter().map(entry).collect();
    let claim = Claim::Key { key: key("k"), entries };
    let (whole, trust) = certified(claim, None, Some(subtree(&ways, 0, &end)));
    whole.check(trust).unwrap();
    let bytes = beside_certificates(&whole);
    println!("a key in 2^{LEAVES_LOG2}, ways of {DEPTH}: {bytes} bytes beside the certificates");
    assert!(bytes < 6 * 1024);
}

/// What the tree comes to, in which the ways to these key hashes are `DEPTH` long and end at `end`,
/// and nobody knows what is beside them.
fn subtree(ways: &[[u8; 32]], depth: usize, end: &dyn Fn([u8; 32]) -> [u8; 32]) -> [u8; 32] {
    match ways {
        [] => Sha256::digest([u8::try_from(depth).unwrap()]).into(),
        [key_hash] if depth == DEPTH => end(*key_hash),
        _ => {
            let (right, left): (Vec<[u8; 32]>, _) = ways.iter().partition(|way| bit(way, depth));
            let (left, right) = (subtree(&left, depth + 1, end), subtree(&right, depth + 1, end));
            Sha256::digest([b"JMT::IntrnalNode".as_slice(), &left, &right].concat()).into()
        }
    }
}

/// The ways that go the other way than `key_hash` at `depth`, and with it until there.
fn turned(ways: &[[u8; 32]], key_hash: [u8; 32], depth: usize) -> Vec<[u8; 32]> {
    let same = |way: &[u8; 32], at| bit(way, at) == bit(&key_hash, at);
    let turned = |way: &&[u8; 32]| !same(way, depth) && (0..depth).all(|at| same(way, at));
    ways.iter().filter(turned).copied().collect()
}

fn bit(key_hash: &[u8; 32], at: usize) -> bool {
    key_hash[at / 8] >> (7 - at % 8) & 1 == 1
}

/// Another key hash at the end of the same way.
fn neighbour(mut key_hash: [u8; 32]) -> [u8; 32] {
    key_hash[31] ^= 1;
    key_hash
}

fn leaf_hash(key_hash: [u8; 32], value_hash: [u8; 32]) -> [u8; 32] {
    Sha256::digest([b"JMT::LeafNode".as_slice(), &key_hash, &value_hash].concat()).into()
}
